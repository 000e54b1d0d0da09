"""The file: PNG or SVG by its name, the same bytes each time, whole or not at all, and nothing else changed."""

from __future__ import annotations

import importlib.util
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from xml.etree import ElementTree

import matplotlib
import pytest

from paraminspect import plot
from paraminspect.errors import UserError
from paraminspect.plot import report as drawing
from paraminspect.report import Report
from tests.cases import each
from tests.plot.comparisons import compared
from tests.render.signals import grad_signal
from tests.render.trees import summary

REPORTS: dict[str, Callable[[Path], None]] = {
    "signal": lambda path: plot.draw(grad_signal(), path),
    "both": lambda path: plot.draw(grad_signal(), path, histograms=True),
    "histograms": lambda path: plot.histograms(grad_signal(), path),
    "comparison": lambda path: plot.draw(compared("default", "kaiming_normal"), path),
    "layers": lambda path: plot.draw(summary(), path),
}


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Draw every report as a PNG and as an SVG, in a folder each."""
    folder = tmp_path_factory.mktemp("drawn")
    for name, draw in REPORTS.items():
        for suffix in ("png", "SVG"):
            (folder / name / suffix).mkdir(parents=True)
            draw(folder / name / suffix / f"a.{suffix}")
    return folder


@each("name", REPORTS)
def test_a_png_is_one_and_of_its_size(name: str, drawn: Path) -> None:
    (path,) = (drawn / name / "png").iterdir()
    data = path.read_bytes()
    width, height = struct.unpack(">II", data[16:24])
    assert path.name == "a.png"
    assert data.startswith(b"\x89PNG\r\n\x1a\n") and width == 1440 and height >= 600


@each("name", REPORTS)
def test_an_svg_is_well_formed_and_needs_no_font(name: str, drawn: Path) -> None:
    root = ElementTree.parse(drawn / name / "SVG" / "a.SVG").getroot()
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    assert not [element for element in root.iter() if element.tag.endswith(("}text", "}image", "}script"))]


@each("name, suffix", [*zip(REPORTS, ("png", "SVG", "png", "SVG", "png"), strict=True)])
def test_the_same_report_gives_the_same_bytes(name: str, suffix: str, drawn: Path, tmp_path: Path) -> None:
    """Also with other settings of the user's, which are not used and not changed."""
    with matplotlib.rc_context({"font.size": 30, "axes.facecolor": "red", "svg.hashsalt": None, "text.usetex": True}):
        before = dict(matplotlib.rcParams)
        REPORTS[name](tmp_path / f"b.{suffix}")
        assert dict(matplotlib.rcParams) == before
    data = (drawn / name / suffix / f"a.{suffix}").read_bytes()
    assert data == (tmp_path / f"b.{suffix}").read_bytes()
    assert str(drawn).encode() not in data


@pytest.mark.parametrize("name", ["a.pdf", "a.jpg", "a", "png", ".png", "a.png.txt", ""])
def test_any_other_name_is_refused_before_anything_is_drawn(name: str, tmp_path: Path) -> None:
    with pytest.raises(UserError) as caught:
        plot.draw(grad_signal(), tmp_path / name)
    assert caught.value.where == "--plot" and "does not end in .png or .svg" in caught.value.message
    assert list(tmp_path.iterdir()) == []


def test_check_returns_where_to_draw(tmp_path: Path) -> None:
    assert plot.check(str(tmp_path / "a.svg")) == tmp_path / "a.svg"
    with pytest.raises(UserError):
        plot.check(str(tmp_path / "missing" / "a.svg"))


def test_without_matplotlib_the_way_to_get_it_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        plot.check(str(tmp_path / "a.png"))
    assert caught.value.hint == "install it: pip install 'paraminspect[plot]'"
    assert (caught.value.where, caught.value.code) == ("--plot", "no-matplotlib")


def test_a_broken_matplotlib_is_no_traceback(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setitem(sys.modules, "matplotlib.style", None)
    monkeypatch.delattr(matplotlib, "style", raising=False)
    with pytest.raises(UserError, match="matplotlib cannot be imported"):
        plot.draw(grad_signal(), tmp_path / "a.png")


def test_a_picture_that_fails_leaves_the_old_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")

    def fail(*_: object) -> None:
        raise RuntimeError("half way")

    monkeypatch.setattr(drawing, "draw_signal", fail)
    with pytest.raises(RuntimeError, match="half way"):
        plot.draw(grad_signal(), path)
    assert path.read_text() == "old" and [one.name for one in tmp_path.iterdir()] == ["a.png"]


@pytest.mark.parametrize(
    ("report", "draw"),
    [
        (Report("grad", grad_signal().source, grad_signal().environment), plot.draw),
        (Report("grad", grad_signal().source, grad_signal().environment), plot.histograms),
        (compared(), plot.draw),
        (compared("default", failed=True), plot.draw),
        (grad_signal(), plot.comparison),
    ],
)
def test_where_there_is_nothing_to_draw_it_is_said(report: Report, draw: Callable[..., None], tmp_path: Path) -> None:
    with pytest.raises(UserError, match="nothing to draw") as caught:
        draw(report, tmp_path / "a.png")
    assert (caught.value.where, caught.value.code) == ("--plot", "nothing-to-draw")
    assert list(tmp_path.iterdir()) == []


def test_drawing_imports_neither_pyplot_nor_torch_and_importing_draws_nothing(tmp_path: Path) -> None:
    program = (
        "import sys; from pathlib import Path; from paraminspect import plot; assert 'matplotlib' not in sys.modules;"
        "from tests.render.signals import grad_signal; plot.draw(grad_signal(), Path(sys.argv[1]));"
        "print(*{'torch', 'matplotlib.pyplot'} & set(sys.modules))"
    )
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", program, str(tmp_path / "a.png")],
        capture_output=True, text=True, check=True, cwd=Path(__file__).parents[2],
    )  # fmt: skip
    assert (done.stdout.strip(), done.stderr) == ("", "")
