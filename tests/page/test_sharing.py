"""Every kind of sharing and every verdict, in every format that people read."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from paraminspect.page import page
from paraminspect.page.gradient_uses import UsesByParameter
from paraminspect.page.module_sharing import shared_modules
from paraminspect.page.parts import Table
from paraminspect.page.sharing import MEANING, constants, summary_lines
from paraminspect.render import render
from paraminspect.report import Environment, Gradient, Parameter, Report, Sharing, Source, Totals, Use
from paraminspect.text.escape import ASCII, View

TIE = {"declared": True, "origin": "_tied_weights_keys"}
GROUPS = (
    Sharing("same-parameter", ("emb.weight", "head.weight"), 24, 96, ("emb", "head"), False, True, "intact"),
    Sharing("same-parameter", ("a.weight", "b.weight"), 4, 16, ("a", "b"), False, False, "undeclared"),
    Sharing("same-buffer", ("0.mask", "1.mask"), 3, 24, ("0", "1")),
    Sharing("same-view", ("c", "d"), 24, 96, ("", ""), True, repair="model.d = model.c", storage_bytes=96),
    Sharing("same-bytes-other-view", ("c", "e"), 24, 96, ("", ""), True, storage_bytes=96),
    Sharing("nested", ("qkv", "q", "k", "v"), 4096, 16_384, ("",) * 4, True, storage_bytes=16_384),
    Sharing("partial-overlap", ("f", "g"), None, 10, ("", ""), True, storage_bytes=40),
    Sharing("foreign-alias", ("h", "i"), 60, 240, ("", ""), True),
    Sharing("may-overlap", ("j", "k"), None, None, ("", ""), True, storage_bytes=2**40),
    Sharing("self-overlap", ("wide",), 3000, 12, ("",), True, storage_bytes=12),
    Sharing("same-storage-disjoint", ("l", "m"), 0, 0, ("", ""), True, storage_bytes=96),
    Sharing("same-view", ("n", "o"), 1, 4, ("", ""), True, verdict="broken", repair="model.o = model.n", **TIE),
    Sharing("not-shared", ("p", "r"), 0, 0, ("", ""), True, verdict="broken", **TIE),
    Sharing("not-shared", ("gone", "p"), 0, 0, verdict="missing", missing=("gone",), **TIE),
    Sharing("equal-not-shared", tuple(f"copies.{i}" for i in range(9)), 4, 16, ("copies",) * 9),
    Sharing("equal-constant", ("s", "t"), 3, 12, ("", ""), True, verdict="broken", repair="model.t = model.s", **TIE),
    Sharing("equal-constant", ("norm.0.weight", "norm.1.weight"), 3, 12, ("norm.0", "norm.1")),
    Sharing("equal-constant", ("norm.0.bias", "norm.1.bias", "norm.2.bias"), 3, 12),
    Sharing("same-parameter", ("c.weight", "d.weight"), 4, 16, ("c", "d"), verdict="undeclared", origin=TIE["origin"]),
    Sharing("equal-buffers", ("rope.0.inv_freq", "rope.1.inv_freq"), 8, 32, ("rope.0", "rope.1")),
    Sharing("unheard-of", ("u", "w"), 1, 4),
)
ROW = Parameter(
    "emb.weight", ("head.weight",), "emb", "Embedding", "parameter", (6, 4), "float32", 24, 96, "cpu", True, 1, 1
)
GRADIENT = Gradient("ok", 0.0, 1.0, 1.5, -1.0, 1.0, 1.0, 0, 0, 0)


def report(*groups: Sharing, command: str = "share") -> Report:
    return Report(
        command,
        Source("module", "file.py:model"),
        Environment("0.1.0", "2.13.0", "3.11.7", "cpu", "float32", 0),
        parameters=(replace(ROW, gradient=GRADIENT),),
        totals=Totals(parameters=24, trainable=24, as_named=48, bytes=96, shown=24),
        sharing=groups,
        uses=tuple(Use("emb.weight", name, op, i, GRADIENT) for i, (name, op) in enumerate(USES)),
    )


USES = (("emb", "embedding"), ("head", "linear"))
VIEWS = {
    "table.80": View(width=80),
    "table.200": View(width=200),
    "table.ascii": View(glyphs=ASCII),
    "plain": View(),
    "markdown": View(),
    "json": View(),
}


@pytest.mark.parametrize("form", VIEWS)
def test_share_of_every_kind(form: str, golden: Callable[[str, str], None]) -> None:
    golden(f"sharing.{form}.txt", "".join(render(report(*GROUPS), form.partition(".")[0], VIEWS[form])))


def test_every_kind_of_the_glossary_is_shown_here() -> None:
    assert {shared.kind for shared in GROUPS} == {*MEANING, "unheard-of"}


def lines(*groups: Sharing) -> list[tuple[str, str]]:
    found = report(*groups, command="show")
    return [(term, View().sentence(text)) for term, text in summary_lines(found, UsesByParameter(found))]


def test_the_summary_says_shared_of_one_object_only() -> None:
    assert lines(*GROUPS) == [
        (
            "shared",
            "emb.weight = head.weight: one Parameter, used 2 times: gradient rms 1.500, 1.500; of their sum 1.500",
        ),
        ("shared", "a.weight = b.weight: one Parameter"),
        ("shared", "0.mask = 1.mask: one buffer"),
        ("shared", "c.weight = d.weight: one Parameter"),
        ("alias", "c, d: same-view, 96 bytes in common, not one Parameter; repair: model.d = model.c"),
        ("alias", "c, e: same-bytes-other-view, 96 bytes in common, not one Parameter"),
        ("alias", "qkv, q, k, v: nested, 16,384 bytes (16.0 KiB) in common, not one Parameter"),
        ("alias", "f, g: partial-overlap, 10 bytes in common, not one Parameter"),
        ("alias", "h, i: foreign-alias, 240 bytes in common, not one Parameter"),
        ("alias", "j, k: may-overlap, not one Parameter"),
        ("alias", "wide: self-overlap, 3,000 elements in 12 bytes"),
        ("storage", "l, m: one storage, no byte in common"),
        ("tie", "n, o: declared, but same-view; repair: model.o = model.n"),
        ("tie", "p, r: declared, but not-shared"),
        ("tie", "gone, p: declared, but nothing is called gone"),
        ("equal", "copies.{0..8}: equal bit for bit, not shared"),
        ("tie", "s, t: declared, but equal-constant; repair: model.t = model.s"),
        ("alias", "u, w: unheard-of, 4 bytes in common, not one Parameter"),
    ]


NOTHING = ("shared", "nothing: every name is a Parameter of its own")


def test_the_summary_of_nothing() -> None:
    assert lines() == [NOTHING]
    assert lines(GROUPS[-2]) == [NOTHING]
    half = "c, d: same-view, 96 bytes in common, not one Parameter; repair: model.d = model.c"
    assert lines(GROUPS[3]) == [("alias", half)]


@pytest.mark.parametrize("form", ["table", "plain", "markdown"])
def test_equal_values_are_not_sharing(form: str) -> None:
    nothing = "nothing is shared: 1 parameter tensor, each an object and a storage of its own"
    equal = [one for one in GROUPS if one.kind.startswith("equal-") and not one.verdict]
    assert nothing in "".join(render(report(*equal), form, View()))
    assert nothing not in "".join(render(report(GROUPS[3]), form, View()))


def test_constants_are_counted_never_listed() -> None:
    assert list(constants(report(*GROUPS))) == [
        ("equal", f"5 tensors in 2 groups: {MEANING['equal-constant'].kind}"),
        ("equal", f"2 tensors in 1 group: {MEANING['equal-buffers'].kind}"),
    ]
    assert list(constants(report(*GROUPS[:5]))) == []
    for form in ("table", "markdown"):
        out = "".join(render(report(*GROUPS), form, View()))
        assert "norm." not in out and "rope." not in out and "5 tensors in 2 groups" in out


def tensor_of(names: tuple[str, ...], suffix: str, numel: int = 4, kind: str = "Mlp") -> Sharing:
    whole = tuple(f"{name}.{suffix}" for name in names)
    owners = tuple(name.rpartition(".")[0] for name in whole)
    return Sharing("same-parameter", whole, numel, 4 * numel, owners, True, module_names=names, module_type=kind)


MODULES = [
    *(tensor_of((f"b.{i}.mlp2", f"b.{i}.mlp3"), name) for i in range(3) for name in ("fc.weight", "fc.bias")),
    *(
        tensor_of((f"pos{i}", f"s{i}.0.pos", f"s{i}.1.pos", f"x.crpe{i}"), name, i, "Pos")
        for i in (1, 2)
        for name in ("w", "b")
    ),
    *(tensor_of(("enc", "dec"), name) for name in ("w", "b")),
    tensor_of(("one", "same"), "weight"),
    Sharing("same-parameter", ("tied.weight", "other.weight"), 4, 16, ("tied", "other")),
]


def test_a_module_under_several_names_is_one_fact() -> None:
    """However many tensors it holds, and facts that one number tells apart are one line; a tie of two tensors stays."""
    found = report(*MODULES, command="show")
    modules = shared_modules(found, View())
    told = summary_lines(found, UsesByParameter(found), False, modules)
    assert [(term, View().sentence(text)) for term, text in told] == [
        ("shared", "b.{0..2}.mlp2 = b.{0..2}.mlp3: one Mlp each (3 in all) with 2 tensors"),
        ("shared", "pos1 = s1.{0,1}.pos = x.crpe1: one Pos with 2 tensors"),
        ("shared", "pos2 = s2.{0,1}.pos = x.crpe2: one Pos with 2 tensors"),
        ("shared", "enc = dec: one Mlp with 2 tensors"),
        ("shared", "one.weight = same.weight: one Parameter"),
        ("shared", "tied.weight = other.weight: one Parameter"),
    ]
    out = "".join(render(replace(found, command="share"), "table", View(width=100)))
    assert "tensors   fc.weight, fc.bias: 24 elements, 96 bytes, counted once" in out
    assert out.count("a true tie") == 6
    assert shared_modules(found, View(fold=False)) == shared_modules(found, View(on_paper=True)) == []
    plain = "".join(render(replace(found, command="share"), "plain", View()))
    assert all(name in plain for group in MODULES for name in group.names)


def test_a_long_table_leaves_other_names_to_the_modules() -> None:
    rows = [replace(ROW, name=group.names[0], aliases=group.names[1:], numel=4) for group in MODULES]
    found = replace(report(*MODULES, command="show"), parameters=tuple(rows))
    (table,) = [part for part in page(found, View()).parts if isinstance(part, Table)]
    names = table.columns[0]
    assert names.below is not None
    shown = [(View().sentence(names.cell(row)), [*map(View().sentence, names.below(row))]) for row in table.rows]
    assert shown == [
        ("b.{0..2}.mlp2.fc.weight ×3 = …", []),
        ("b.{0..2}.mlp2.fc.bias ×3 = …", []),
        ("pos{1,2}.w ×2 = …", []),
        ("pos{1,2}.b ×2 = …", []),
        ("enc.w = …", []),
        ("enc.b = …", []),
        ("one.weight", ["  = same.weight"]),
        ("tied.weight", ["  = other.weight"]),
    ]
    assert table.legend == ["the other names of 12 tensors are those of their modules: see shared"]
    assert table.columns[2].foot == f"{4 * len(rows)}"


def test_names_and_repairs_are_harmless() -> None:
    bad = "a\x1b[31m|`b"
    group = Sharing("same-view", (bad, "c"), 1, 4, repair=f"model.c = {bad}", missing=(bad,))
    for form in ("table", "plain", "markdown"):
        for shared in (group, replace(group, verdict="broken", origin=bad), replace(group, verdict="missing")):
            assert "\x1b" not in "".join(render(report(shared), form, View()))
