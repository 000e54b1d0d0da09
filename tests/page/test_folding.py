"""A folded row stands for exactly the rows that its pattern expands to, and says of them what is true of each."""

from __future__ import annotations

import math
import shutil
import statistics
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import replace

import pytest
from hypothesis import given, strategies as st

from paraminspect.page import columns, page
from paraminspect.page.folding import Arrangement, fold
from paraminspect.page.parts import QUIET, Code, Paragraph, Table
from paraminspect.page.repeated_blocks import FEWEST_ROWS
from paraminspect.page.several import Several, at_depth, members_of, sum_up
from paraminspect.page.signal_layers import signal_tables
from paraminspect.report import Gradient, Init, Model, Parameter, Report, Signal, SignalLayer, SignalMoments, Values
from paraminspect.text.braces import braces
from paraminspect.text.escape import View
from tests.cases import each
from tests.render.expansion import expand

PATTERNS = [
    ((5,), "5"),
    ((0, 1), "{0,1}"),
    ((0, 1, 2), "{0..2}"),
    (tuple(range(32)), "{0..31}"),
    ((0, 2, 4), "{0,2,4}"),
    (tuple(range(0, 64, 2)), "{0..62..2}"),
    ((*range(7), *range(8, 32)), "{{0..6},{8..31}}"),
    ((0, *range(2, 12)), "{0,{2..11}}"),
    ((1, 2, 3, 10, 20, 30, 40, 99), "{1,2,3,10,20,30,40,99}"),
    ((0, 1, 3, 4, 6, 7), "{0,1,3,4,6,7}"),
    ((0, 2, 4, 6), "{0,2,4,6}"),
    ((0, 2, 4, 6, 8), "{0..8..2}"),
    ((1, 2, 3, 4, 10, 20, 30, 40, 50), "{{1..4},{10..50..10}}"),
    ((1, 2, 3, 4, 6, 8, 10, 12), "{{1..4},6,8,10,12}"),
    ((9, 10, 999999999999999), "{9,10,999999999999999}"),
]


@each(("numbers", "pattern"), PATTERNS, ids=lambda one: one if isinstance(one, str) else "")
def test_numbers_as_bash_writes_them(numbers: tuple[int, ...], pattern: str) -> None:
    assert braces(numbers) == pattern
    assert expand(pattern) == list(map(str, numbers))


@given(st.sets(st.integers(0, 60) | st.integers(0, 10**15 - 1), min_size=1))
def test_any_set_of_numbers_expands_to_itself(numbers: set[int]) -> None:
    ascending = tuple(sorted(numbers))
    assert expand(braces(ascending)) == list(map(str, ascending))


@pytest.mark.skipif(shutil.which("bash") is None, reason="there is no bash")
def test_bash_expands_the_patterns_likewise() -> None:
    patterns = [f"h.{pattern}.attn.{other}.w" for _, pattern in PATTERNS for _, other in PATTERNS[:3]]
    program = "\n".join(f"echo {pattern}" for pattern in patterns)
    printed = subprocess.run(["bash", "-c", program], capture_output=True, text=True, check=True).stdout
    assert [line.split() for line in printed.splitlines()] == list(map(expand, patterns))


# --- which rows fold ---------------------------------------------------------------------------------------


def row(name: str, size: int = 4, **changes: object) -> Parameter:
    told: dict[str, object] = {"aliases": (), "module": name.rpartition(".")[0], "module_type": "Linear"}
    told |= {"kind": "parameter", "shape": (size,), "dtype": "float32", "numel": size, "bytes": 4 * size}
    told |= {"device": "cpu", "requires_grad": True, "identity": 1, "storage": 1}
    return Parameter(name=name, **(told | changes))


def folded(rows: Sequence[Parameter], judged: Callable[[Parameter], object] = lambda _: None) -> list[str]:
    return [found.name for found in fold(rows, judged, lambda _: ())]


def blocks(pattern: str, **changes: object) -> list[Parameter]:
    return [row(name, **changes) for name in expand(pattern)]


FOLDED = {
    "a run": (blocks("h.{0..4}.w"), ["h.{0..4}.w"]),
    "at the top": (blocks("{0..8..2}.w"), ["{0..8..2}.w"]),
    "numbers alone": (blocks("{0..4}"), ["{0..4}"]),
    "two siblings": (blocks("h.{0,1}.w"), ["h.{0,1}.w"]),
    "one of two differs": ([row("h.0.w"), row("h.1.w", 9)], None),
    "nested": (blocks("h.{0..11}.attn.{0..3}.w"), ["h.{0..11}.attn.{0..3}.w"]),
    "two inside three": (blocks("h.{0..2}.{0,1}.w"), ["h.{0..2}.{0,1}.w"]),
    "three inside two": (blocks("h.{0,1}.{0..2}.w"), ["h.{0,1}.{0..2}.w"]),
    "several rows a block": (blocks("h.{0..2}.{w,b}"), ["h.{0..2}.w", "h.{0..2}.b"]),
    "the first is larger": ([row("h.0.w", 9), row("h.0.b"), *blocks("h.{1..4}.{w,b}")], None),
    "one row more in a block": ([*blocks("h.{0..4}.w"), row("h.2.extra")], ["h.{0,1,3,4}.w", "h.2.w", "h.2.extra"]),
    "one row differs": (
        [replace(one, requires_grad=one.name != "h.2.w") for one in blocks("h.{0..4}.{w,b}")],
        ["h.{0,1,3,4}.w", "h.{0..4}.b", "h.2.w"],
    ),
    "a gradient is not finite": (
        [replace(one, gradient=Gradient("nonfinite" if ".7." in one.name else "ok")) for one in blocks("h.{0..31}.w")],
        ["h.{{0..6},{8..31}}.w", "h.7.w"],
    ),
    "half of them frozen": (
        [replace(one, requires_grad=i < 3) for i, one in enumerate(blocks("h.{0..5}.w"))],
        ["h.{0..2}.w", "h.{3..5}.w"],
    ),
    "other schemes": (
        [replace(one, init=Init("normal" if i < 3 else "zeros")) for i, one in enumerate(blocks("h.{0..5}.w"))],
        ["h.{0..2}.w", "h.{3..5}.w"],
    ),
    "some not measured": (
        [replace(one, values=Values(0.0) if i < 3 else None) for i, one in enumerate(blocks("h.{0..5}.w"))],
        ["h.{0..2}.w", "h.{3..5}.w"],
    ),
    "one with NaN": (
        [replace(one, values=Values(0.0, nan=int(i == 3))) for i, one in enumerate(blocks("h.{0..4}.w"))],
        ["h.{0,1,2,4}.w", "h.3.w"],
    ),
    "another note": (
        [replace(one, note="pruned" if i == 0 else None) for i, one in enumerate(blocks("h.{0..3}.w"))],
        ["h.0.w", "h.{1..3}.w"],
    ),
    "one not persistent": (
        [replace(one, persistent=i != 3) for i, one in enumerate(blocks("h.{0..3}.w", kind="buffer"))],
        ["h.{0..2}.w", "h.3.w"],
    ),
    "another device": (
        [replace(one, device="cpu" if i < 3 else "meta") for i, one in enumerate(blocks("h.{0..3}.w"))],
        ["h.{0..2}.w", "h.3.w"],
    ),
    "aliases in step": ([row(f"h.{i}.w", aliases=(f"g.{i}.w",)) for i in range(4)], ["h.{0..3}.w"]),
    "aliases out of step": ([row(f"h.{i}.w", aliases=(f"g.{3 - i}.w",)) for i in range(4)], None),
    "one alias": ([row(f"h.{i}.w", aliases=("g.w",) if i == 3 else ()) for i in range(4)], ["h.{0..2}.w", "h.3.w"]),
    "leading zeros": (blocks("h.{00,01,02,03}.w"), None),
    "numbers beyond 64 bits": ([row(f"h.{10**20 + i}.w") for i in range(4)], None),
    "other digits": ([row(f"h.{digit}.w") for digit in "٠١٢٣"], None),
    "signs": ([row(f"h.{number}.w") for number in ("-1", "-2", "+3", "1e3")], None),
    "a word that ends in a number": (blocks("h{0..4}.w"), ["h{0..4}.w"]),
    "words that end in numbers, nested": (blocks("b{1..4}.h_{8..11}.w{0,1}"), ["b{1..4}.h_{8..11}.w{0,1}"]),
    "words that differ": (blocks("{a,b}1.w"), None),
    "a number inside a word": (blocks("h{0..4}x.w"), None),
    "a word and leading zeros": (blocks("h{00,01,02,03}.w"), None),
    "blocks that grow": (
        [row(f"b.h{at}.{name}.w", size) for at in range(4) for name, size in (("a1", 8 + at), ("a2", 8))],
        ["b.h{0..3}.a1.w", "b.h{0..3}.a2.w"],
    ),
    "two blocks that grow": ([row(f"h{at}.{n}.w", size) for at in (0, 1) for n, size in (("a", at), ("b", 8))], None),
    "blocks of which nothing stays": (
        [row(f"h{at}.{name}.w", size + at) for at in range(4) for name, size in (("a", 1), ("b", 8))],
        None,
    ),
    "blocks of which the first is larger": (
        [row(f"h{at}.{name}.w", size) for at in range(4) for name, size in (("a", 4 + (at == 0)), ("b", 8))],
        ["h0.a.w", "h0.b.w", "h{1..3}.a.w", "h{1..3}.b.w"],
    ),
    "layers that grow": ([row(f"h.{at}.{name}", 4 + at * (name == "w")) for at in range(4) for name in "wb"], None),
    "growing blocks, one trained otherwise": (
        [
            row(f"h{at}.{name}.w", size, requires_grad=at != 2)
            for at in range(4)
            for name, size in (("a", at), ("b", 8))
        ],
        ["h{0,1,3}.a.w", "h{0,1,3}.b.w", "h2.a.w", "h2.b.w"],
    ),
    "the same growing blocks twice": (
        [row(f"g.{i}.h{at}.{n}.w", size) for i in (0, 1) for at in range(3) for n, size in (("a", at), ("b", 8))],
        ["g.{0,1}.h{0..2}.a.w", "g.{0,1}.h{0..2}.b.w"],
    ),
    "names that a shell would change": ([row(f"h,{{x}}.{i}.$w ~*") for i in range(4)], None),
    "names that come twice": ([row("h.1.w") for _ in range(4)], None),
    "no names": ([row("") for _ in range(4)], None),
    "nothing": ([], None),
}
FOLDED["the first is larger"] = (FOLDED["the first is larger"][0], ["h.0.w", "h.0.b", "h.{1..4}.w", "h.{1..4}.b"])


@each(("rows", "wanted"), FOLDED.values(), ids=FOLDED)
def test_what_folds(rows: list[Parameter], wanted: list[str] | None) -> None:
    """None: every row is shown."""
    assert folded(rows) == ([one.name for one in rows] if wanted is None else wanted)


def test_rows_judged_differently_do_not_fold() -> None:
    assert folded(blocks("h.{0..4}.w"), lambda one: one.name == "h.1.w") == ["h.{0,2,3,4}.w", "h.1.w"]


def test_aliases_fold_to_a_pattern_of_their_own() -> None:
    (found,) = fold([row(f"h.{i}.w", aliases=(f"g.{i}.w",)) for i in range(4)], lambda _: None, lambda _: ())
    assert found.aliases == ("g.{0..3}.w",)


def test_the_modules_of_uses_fold_with_the_outer_numbers() -> None:
    rows = [row(f"h.{i}.{j}.w") for i in range(3) for j in range(3)]
    (found,) = fold(rows, lambda _: None, lambda one: (one.module.rpartition(".")[0], "head.7"))
    assert isinstance(found, Several)
    assert (found.name, found.places) == ("h.{0..2}.{0..2}.w", ("h.{0..2}", "head.7"))


parts = st.sampled_from(["0", "1", "2", "3", "10", "a", "b", "01", "a1", "a2", "a01", "b3"])
names = st.lists(st.lists(parts, min_size=1, max_size=4).map(".".join), unique=True, max_size=60)


@given(names=names, data=st.data())
def test_no_name_is_lost_and_none_is_added(names: list[str], data: st.DataObject) -> None:
    sizes = data.draw(st.lists(st.integers(1, 2), min_size=len(names), max_size=len(names)))
    rows = [row(name, size) for name, size in zip(names, sizes, strict=True)]
    found = fold(rows, lambda _: None, lambda _: ())
    for one in found:
        assert expand(one.name) == [member.name for member in members_of(one)]
        sizes = [member.shape[0] for member in members_of(one)]
        spelled = f"({min(sizes)},)" if len(set(sizes)) == 1 else f"({min(sizes)}..{max(sizes)},)"
        assert columns.shape_of(one) == spelled
        assert one.numel == sum(member.numel for member in members_of(one))
    assert sorted(member.name for one in found for member in members_of(one)) == sorted(names)
    assert [rows.index(min(members_of(one), key=rows.index)) for one in found] == sorted(
        min(map(rows.index, members_of(one))) for one in found
    )


@pytest.mark.parametrize("count", [FEWEST_ROWS - 1, FEWEST_ROWS])
def test_a_small_table_stays_as_it_is(count: int, sample_named: Callable[[str], Report]) -> None:
    report = replace(sample_named("show"), parameters=tuple(blocks(f"h.{{0..{count - 1}}}.w")))
    shown = Arrangement(report, View()).rows("parameter")
    assert len(shown) == (count if count < FEWEST_ROWS else 1)
    assert Arrangement(report, View(fold=False)).rows("parameter") == list(report.parameters)


# --- buffers -------------------------------------------------------------------------------------------------


def test_buffers_are_one_line_a_kind(sample_named: Callable[[str], Report]) -> None:
    rows = [
        row(f"{at}.norm.{name}", size, kind="buffer", dtype=dtype, values=Values(0.0))
        for at, size in enumerate((4, 8, 16))
        for name, dtype in (("running_mean", "float32"), ("running_var", "float32"), ("num_batches_tracked", "int64"))
    ]
    report = replace(sample_named("show"), parameters=(*rows, row("mask", 5, kind="buffer")))
    found = Arrangement(report, View()).buffers()
    assert [(one.name, columns.shape_of(one), one.numel, one.bytes) for one in found] == [
        ("running_mean", "3 tensors", 28, 112),
        ("running_var", "3 tensors", 28, 112),
        ("num_batches_tracked", "3 tensors", 28, 112),
        ("mask", "(5,)", 5, 20),
    ]
    assert columns.count(found, 1).foot == "89"
    for view in (View(fold=False), View(buffers=True)):
        assert Arrangement(report, view).buffers() == list(report.parameters)
    table = next(
        part for part in page(report, View()).parts if isinstance(part, Table) and part.rows[0].kind == "buffer"
    )
    assert (table.note, table.option) == ("10 buffers in 4 lines, one a kind", "--buffers")


LONG = "Net(\n" + "  (0): Linear()\n" * 30 + ")"


@pytest.mark.parametrize(
    ("text", "view", "wanted"),
    [
        ("Net()", View(), [Code("Net()")]),
        (LONG, View(), [Paragraph("the module's repr has 32 lines, more than the tables (--repr prints it)", QUIET)]),
        (LONG, View(whole_repr=True), [Code(LONG, True)]),
        (LONG, View(on_paper=True), []),
    ],
)
def test_the_repr_gives_way_to_a_shorter_table(
    text: str, view: View, wanted: list[object], sample_named: Callable[[str], Report]
) -> None:
    parts = page(replace(sample_named("show"), model=Model("Net", text)), view).parts
    assert [part for part in parts if isinstance(part, (Code, Paragraph))] == wanted


# --- what the one row says ---------------------------------------------------------------------------------


def measured(numbers: Sequence[float]) -> Values:
    finite = [number for number in numbers if math.isfinite(number)]
    return Values(
        mean=statistics.fmean(finite),
        std=statistics.pstdev(finite),
        rms=math.sqrt(statistics.fmean(number**2 for number in finite)),
        min=min(finite),
        max=max(finite),
        l2=math.sqrt(sum(number**2 for number in finite)),
        zeros=numbers.count(0.0),
        nan=sum(map(math.isnan, numbers)),
        inf=sum(map(math.isinf, numbers)),
    )


figure = st.floats(-1e3, 1e3).map(lambda number: round(number, 3))
tensor = st.tuples(figure, st.lists(figure | st.sampled_from([math.nan, math.inf, 0.0]), max_size=8)).map(
    lambda drawn: [drawn[0], *drawn[1]]
)


@given(st.lists(tensor, min_size=1, max_size=6))
def test_pooled_figures_are_those_of_all_the_elements(tensors: list[list[float]]) -> None:
    rows = [
        row(f"h.{i}.w", len(one), values=measured(one), gradient=Gradient("ok", **figures_of(measured(one))))
        for i, one in enumerate(tensors)
    ]
    found, wanted = sum_up(rows, "all"), measured([number for one in tensors for number in one])
    assert found.numel == sum(map(len, tensors)) and found.bytes == 4 * found.numel
    for pooled in (found.values, found.gradient):
        assert figures_of(pooled) == pytest.approx(figures_of(wanted), rel=1e-9, abs=1e-9)


def figures_of(found: Values | Gradient | None) -> dict[str, float]:
    keys = ("mean", "std", "rms", "min", "max", "l2", "zeros", "nan", "inf")
    return {key: getattr(found, key) for key in keys}


def test_equal_figures_stay_exact() -> None:
    values = Values(0.3, 0.4, 0.5, -1, 1, 0.5 * math.sqrt(3), 0, 0, 0, (1, 0, 2))
    found = sum_up([row(f"h.{i}.w", 3, values=values) for i in range(7)], "all").values
    assert found == replace(values, l2=pytest.approx(0.5 * math.sqrt(21)), histogram=(7, 0, 14))


def test_histograms_of_other_bins_are_one_of_all_elements() -> None:
    numbers = [[(i + 0.5) / 1600 * width + shift for i in range(1600)] for width, shift in ((1, 0), (2, 1), (0, 3))]
    parts = [
        row(
            f"h.{i}.w",
            1600,
            values=replace(measured(one), min=low, max=high, histogram=counted(one, low, high)),
        )
        for i, (one, low, high) in enumerate(zip(numbers, (0.0, 1.0, 3.0), (1.0, 3.0, 3.0), strict=True))
    ]
    found = sum_up(parts, "all").values
    assert found is not None
    assert found.histogram == pytest.approx(counted([n for one in numbers for n in one], 0.0, 3.0), rel=0.02, abs=2)
    assert sum(found.histogram or ()) == pytest.approx(4800, abs=16)


def test_histograms_no_wider_than_the_smallest_number_are_pooled() -> None:
    parts = [
        row(f"h.{i}.w", 3, values=Values(0.0, 0.0, 0.0, 0.0, high, 0.0, histogram=(1, 2)))
        for i, high in enumerate((5e-324, 0.0))
    ]
    found = sum_up(parts, "all").values
    assert found is not None and sum(found.histogram or ()) == 6


def counted(numbers: Sequence[float], low: float, high: float) -> tuple[int, ...]:
    """Count by hand in sixteen bins; equal numbers are in the ninth."""
    places = [8 if low == high else min(15, int((number - low) / (high - low) * 16)) for number in numbers]
    return tuple(places.count(at) for at in range(16))


def test_a_large_tensor_weighs_more_than_its_sample() -> None:
    values = [Values(0.0, 0.0, 0.0, 0.0, 1.0, 0.0, histogram=counts) for counts in ((4, 0), (0, 4))]
    rows = [row("h.0.w", 4, values=values[0]), row("h.1.w", 4000, values=values[1])]
    found = sum_up(rows, "all")
    assert found.values is not None and found.values.histogram == (4, 4000)
    none = sum_up([rows[0], row("h.2.w", 4, values=Values(0.0))], "all")
    cells = [columns.histogram(View(), 1).cell(one) for one in (found, none)]
    assert (cells, len(columns.why_no_histogram([none])), columns.why_no_histogram([found])) == (["▁█", "–"], 1, [])


def test_the_largest_figures_do_not_overflow() -> None:
    huge = 1.7e308
    rows = [row(f"h.{i}.w", values=Values(sign * huge, 0.0, huge, 0.0, huge)) for i, sign in enumerate((1, 1, -1))]
    found = sum_up(rows, "all").values
    assert found is not None
    assert (found.mean, found.rms) == (pytest.approx(huge / 3), huge)
    assert found.std == pytest.approx(huge * (math.sqrt(8) / 3))


UNKNOWN = [
    (Values(None, None, None, None, None, None), Values(None, None, None, None, None, None)),
    (None, None),
]


@pytest.mark.parametrize(("values", "wanted"), UNKNOWN)
def test_unknown_stays_unknown(values: Values | None, wanted: Values | None) -> None:
    assert sum_up([row(f"h.{i}.w", values=values) for i in range(3)], "all").values == wanted


def test_a_sum_of_which_a_part_is_unknown() -> None:
    rows = [row("a.w"), row("a.b", values=Values(0.0)), row("a.lazy", numel=None, bytes=None, shape=())]
    (found,) = at_depth(rows, 1)
    assert (found.numel, found.values) == (None, None)
    assert [column([found], 1).cell(found) for column in (columns.count, columns.nbytes)] == [
        "at least 8",
        "at least 32",
    ]


# --- summed up by module -----------------------------------------------------------------------------------


def test_a_module_is_the_sum_of_what_it_holds() -> None:
    rows = [
        row("scale", gradient=Gradient("ok", rms=1.0)),
        row("a.x.w", 6, gradient=Gradient("ok", rms=1.0), init=Init("normal", {}, 0.0, 1.0)),
        row("a.y.w", 2, gradient=Gradient("unused"), dtype="float16", init=Init("zeros", {}, 0.0, 0.0)),
        row("b.w", gradient=Gradient("frozen"), init=Init("zeros", {}, 0.0, 0.0)),
        row("b.running_mean", kind="buffer"),
    ]
    shown = [
        (
            found.name,
            columns.shape_of(found),
            found.numel,
            found.dtype,
            View().sentence(columns.scheme("init", 1).cell(found)),
            columns.expected("std", 1).cell(found),
            View().sentence(columns.status_of(found)),
        )
        for found in at_depth(rows, 1)
    ]
    assert shown == [
        ("scale", "(4,)", 4, "float32", "", "", "ok"),
        ("a", "2 tensors", 8, "2 dtypes", "2 schemes", "", "1 of 2 unused"),
        ("b", "1 tensor", 4, "float32", "zeros", "", "frozen"),
        ("b", "1 tensor", 4, "float32", "", "", ""),
    ]


@given(names=names, depth=st.integers(1, 5))
def test_every_row_is_in_one_sum(names: list[str], depth: int) -> None:
    rows = [row(name) for name in names]
    found = at_depth(rows, depth)
    assert sorted(member.name for one in found for member in members_of(one)) == sorted(names)
    for one in found:
        assert len(one.name.split(".")) <= depth
        assert all(f"{member.name}.".startswith(f"{one.name}.") for member in members_of(one))


def test_sums_fold_too() -> None:
    summed = at_depth([*blocks("h.{0..3}.{a,b}.w"), row("h.4.a.w"), row("h.4.b.w", 9)], 2)
    (found, last) = fold(summed, lambda _: None, lambda _: ())
    assert isinstance(found, Several)
    assert (found.name, found.times, found.tensors, found.numel) == ("h.{0..3}", 4, 2, 32)
    assert (last.name, last.numel) == ("h.4", 13)


SHARES = [
    ((1, 3), "33.3"),
    ((0, 3), "0.0"),
    ((3, 3), "100.0"),
    ((1, 1000), "0.1"),
    ((1, 1001), "<0.1"),
    ((1, 10**40), "<0.1"),
    ((10**60, 3 * 10**60), "33.3"),
    ((None, 3), ""),
    ((3, None), ""),
    ((0, 0), ""),
]


@each(("share", "wanted"), SHARES)
def test_percent(share: tuple[int | None, int | None], wanted: str) -> None:
    assert columns.percent_of(*share) == wanted


# --- layers of the signal ----------------------------------------------------------------------------------------


def signal_layer(name: str, rms: float, depth: int | None = None, nonfinite: int = 0) -> SignalLayer:
    return SignalLayer(0, name, "Linear", depth, pre=SignalMoments(0.0, rms), grad_norm=1 / rms, nonfinite=nonfinite)


def signal(rms: Sequence[float], wrong: int | None = None) -> list[SignalLayer]:
    """Return two layers and a sum in each block, as those of a transformer are."""
    found = [signal_layer("emb", 1.0)]
    for at, value in enumerate(rms):
        found += [signal_layer(f"h.{at}.{name}", value) for name in ("a", "b")]
        found.append(signal_layer(f"h.{at}", 2 * value, at + 1, 7 if at == wrong else 0))
    return found


EMB = ("       emb", "1")
SIGNALS = {
    "growing": (
        signal((1, 2, 4, 8)),
        [EMB, ("       h.{0..3}.a ×4", "1→8"), ("       h.{0..3}.b ×4", "1→8"), (" 1..4  h.{0..3} ×4", "2→16")],
    ),
    "one is not finite": (
        signal((1, 1, 1, 1), wrong=2),
        [
            EMB,
            ("       h.{0..3}.a ×4", "1"),
            ("       h.{0..3}.b ×4", "1"),
            (" 1..4  h.{0,1,3} ×3", "2"),
            ("    3  h.2", "2"),
        ],
    ),
    "a spike in between": (signal((1, 100, 1, 1)), None),
    "layers one after another": ([signal_layer(f"{at}", 1.0, at) for at in range(0, 40, 2)], None),
    "few": (signal((1, 2)), None),
}


@pytest.mark.parametrize("name", SIGNALS)
def test_blocks_of_the_signal_are_one_row_from_the_first_to_the_last(name: str) -> None:
    """None: every layer has its row."""
    layers, wanted = SIGNALS[name]
    (table,) = signal_tables(Signal(1, layers=tuple(layers)), View())
    rms = next(column for column in table.columns if column.full_head == "pre-activation rms")
    shown = [(View().sentence(table.columns[0].cell(row)), rms.cell(row)) for row in table.rows]
    if wanted is None:
        assert (len(shown), table.note) == (len(layers), "")
    else:
        count = len(layers) - sum("×" not in text for text, _ in wanted)
        assert shown == wanted
        assert table.note == f"{count} layers of repeated blocks in 3 rows, from the first to the last"
    (whole,) = signal_tables(Signal(1, layers=tuple(layers)), View(fold=False))
    assert list(whole.rows) == layers
