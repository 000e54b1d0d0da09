"""Files that are written whole or not at all."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from paraminspect.errors import UserError
from paraminspect.files import checked, whole


def held(folder: Path) -> dict[str, str]:
    """Return every file of a folder with what is in it."""
    return {path.name: path.read_text() for path in folder.iterdir()}


def test_what_was_written_takes_the_place_of_what_was_there(tmp_path: Path) -> None:
    path = tmp_path / "a.svg"
    path.write_text("old")
    with whole(path) as temporary:
        assert (temporary.parent, temporary.suffix) == (tmp_path.resolve(), ".svg")
        temporary.write_text("new")
        assert path.read_text() == "old"
    assert held(tmp_path) == {"a.svg": "new"}


@pytest.mark.parametrize("error", [ValueError, KeyboardInterrupt, SystemExit])
def test_nothing_is_left_behind_and_what_was_there_stays(tmp_path: Path, error: type[BaseException]) -> None:
    path = tmp_path / "a.svg"
    path.write_text("old")

    def interrupted() -> None:
        with whole(path) as temporary:
            temporary.write_text("half")
            raise error

    with pytest.raises(error):
        interrupted()
    assert held(tmp_path) == {"a.svg": "old"}


def test_a_full_disk_is_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(UserError) as raised, whole(tmp_path / "a.png") as temporary:
        temporary.write_text("half")
    message = f"cannot write {str(tmp_path / 'a.png')!r}: no space left on device"
    assert (raised.value.message, raised.value.code) == (message, "cannot-write")
    assert held(tmp_path) == {}


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="the system has no /dev/full")
def test_a_write_that_fails_is_one_message(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no space left on device"), whole(tmp_path / "a.png") as temporary:
        temporary.unlink()
        temporary.symlink_to("/dev/full")
        temporary.write_text("half")
    assert held(tmp_path) == {}


@pytest.mark.parametrize(("mode", "umask"), [(0o640, 0o022), (0o600, 0o000)])
def test_a_file_that_is_replaced_keeps_its_permissions(tmp_path: Path, mode: int, umask: int) -> None:
    path = tmp_path / "a.png"
    path.write_text("old")
    path.chmod(mode)
    before = os.umask(umask)
    try:
        with whole(path) as temporary:
            temporary.write_text("new")
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == mode


@pytest.mark.parametrize("umask", [0o022, 0o077])
def test_a_new_file_has_those_of_any_new_file_whoever_wrote_it(tmp_path: Path, umask: int) -> None:
    path, before = tmp_path / "a.png", os.umask(umask)
    try:
        with whole(path) as temporary:
            temporary.unlink()
            temporary.touch(mode=0o600)
    finally:
        os.umask(before)
    assert path.stat().st_mode & 0o777 == 0o666 & ~umask


def test_nothing_is_written_through_a_link(tmp_path: Path) -> None:
    folder = tmp_path / "elsewhere"
    folder.mkdir()
    (folder / "b.png").write_text("old")
    link = tmp_path / "a.png"
    link.symlink_to(folder / "b.png")
    with pytest.raises(UserError, match="it is a link"), whole(link):
        raise AssertionError("nothing is to be written")
    assert link.is_symlink()
    assert held(folder) == {"b.png": "old"}


def test_a_thread_may_write_one_too(tmp_path: Path) -> None:
    """Only the main thread may set handlers of signals."""

    def write() -> None:
        with whole(tmp_path / "a.png") as temporary:
            temporary.write_text("new")

    thread = threading.Thread(target=write)
    thread.start()
    thread.join()
    assert held(tmp_path) == {"a.png": "new"}


def test_the_handlers_are_as_before(tmp_path: Path) -> None:
    numbers = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    before = [signal.getsignal(number) for number in numbers]
    with whole(tmp_path / "a.png"):
        assert [signal.getsignal(number) for number in numbers] != before
    assert [signal.getsignal(number) for number in numbers] == before


PROGRAM = """
import os, signal, sys
from pathlib import Path
from paraminspect.files import whole

number = getattr(signal, sys.argv[1])
if sys.argv[2] == "leave":
    signal.signal(number, lambda number, frame: os._exit(128 + number))
with whole(Path("a.png")) as temporary:
    temporary.write_text("half")
    signal.raise_signal(number)
    print("survived")
"""


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(
    ("name", "how", "code"),
    [
        ("SIGINT", "leave", 130),
        ("SIGTERM", "leave", 143),
        ("SIGTERM", "default", -15),
        ("SIGHUP", "default", -1),
    ],
)
def test_a_signal_that_ends_the_process_leaves_nothing_behind(tmp_path: Path, name: str, how: str, code: int) -> None:
    (tmp_path / "a.png").write_text("old")
    root = str(Path(__file__).resolve().parents[1])
    ran = subprocess.run(
        [sys.executable, "-c", PROGRAM, name, how],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": root},
        capture_output=True,
        timeout=60,
        check=False,
    )
    assert (ran.returncode, ran.stdout) == (code, b"")
    assert held(tmp_path) == {"a.png": "old"}


def test_what_can_be_written_passes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    assert checked("a.PNG", (".png", ".svg"), "--plot") == Path("a.PNG")
    assert checked("./b.svg", (".png", ".svg"), "--plot") == Path("b.svg")


REFUSED = {
    "a.pdf": ("'a.pdf' does not end in .png or .svg", "for example: --plot a.png", "bad-suffix"),
    "a": ("'a' does not end in .png or .svg", "for example: --plot a.png", "bad-suffix"),
    ".png": ("'.png' does not end in .png or .svg", "for example: --plot png.png", "bad-suffix"),
    "no/a.png": ("cannot write 'no/a.png': there is no folder 'no'", "", "cannot-write"),
    "folder.png": ("cannot write 'folder.png': it is no regular file", "", "cannot-write"),
    "pipe.png": ("cannot write 'pipe.png': it is no regular file", "", "cannot-write"),
    "loop.png": ("cannot write 'loop.png': it is a link; name the file itself", "", "cannot-write"),
    f"{'x' * 300}.png": (f"cannot write '{'x' * 300}.png': file name too long", "", "cannot-write"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_is_refused_before_the_work_begins(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.png").mkdir()
    (tmp_path / "loop.png").symlink_to("loop.png")
    os.mkfifo(tmp_path / "pipe.png")
    with pytest.raises(UserError) as raised:
        checked(name, (".png", ".svg"), "--plot")
    found = raised.value
    assert (found.message, found.hint, found.code) == REFUSED[name]
    assert found.where == "--plot"


def test_a_folder_that_may_not_be_written_to(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As root every folder may be: the answer of the system stands in."""
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(UserError, match="its folder cannot be written to"):
        checked(str(tmp_path / "a.png"), (".png",), "--plot")
