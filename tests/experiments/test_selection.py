"""Which rows are shown, and in which order; the totals stay those of the whole model."""

from __future__ import annotations

from collections.abc import Callable

from paraminspect.experiments.selection import SORTS, in_order
from paraminspect.report import Gradient, Parameter, Values
from tests.cases import each
from tests.conftest import Ran


def row(name: str, numel: int | None, mean: float | None = None, rms: float | None = None) -> Parameter:
    values = None if mean is None else Values(mean=mean, std=mean, rms=mean)
    shape, gradient = () if numel is None else (numel,), Gradient("ok", rms=rms)
    size = None if numel is None else 4 * numel
    return Parameter(name, (), "", "M", "parameter", shape, "float32", numel, size, "cpu", True, 1, 1, values, gradient)


ROWS = (row("b", 2, 0.5, 1.0), row("a", None), row("d", 8, -3.0, None), row("c", 2, 2.0, 7.0))


@each(
    ("sort", "names"),
    [
        (None, "badc"),
        ("name", "abcd"),
        ("numel", "dbca"),
        ("bytes", "dbca"),
        ("mean", "cbda"),
        ("std", "cbda"),
        ("rms", "cbda"),
        ("gradient", "cbad"),
    ],
)
def test_the_largest_first_and_the_unknown_last(sort: str | None, names: str) -> None:
    assert "".join(one.name for one in in_order(ROWS, sort, None)) == names
    assert sort in (None, "name", *SORTS)


def test_top_takes_the_rows_with_most_elements() -> None:
    assert [one.name for one in in_order(ROWS, None, 2)] == ["d", "b"]
    assert [one.name for one in in_order(ROWS, "gradient", 1)] == ["c"]
    assert in_order(ROWS, "name", 9) == in_order(ROWS, "name", None)


def test_the_totals_are_of_the_whole_model(run: Callable[..., Ran]) -> None:
    report = run("show", "mlp", "--sort", "numel", "--top", "1", "--json").report
    assert [one["name"] for one in report["parameters"]] == ["0.weight"]
    assert (report["totals"]["parameters"], report["totals"]["shown"]) == (19, 12)
