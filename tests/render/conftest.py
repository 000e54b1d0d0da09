"""Literal Reports, and golden files: PARAMINSPECT_ACCEPT=1 writes what the renderers say now."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import replace
from itertools import chain
from pathlib import Path

import pytest

from paraminspect.report import (
    Cause,
    Edit,
    Environment,
    Failure,
    Forward,
    ForwardError,
    Gradient,
    Init,
    Initialisation,
    Layer,
    LayerGrad,
    LayerOut,
    Model,
    Parameter,
    Report,
    RuleApplied,
    Sharing,
    Source,
    TensorInfo,
    Totals,
    Use,
    Values,
    Verdict,
)
from tests.render.signals import grad_signal, grad_signal_long, grad_signal_mixed

GOLDEN = Path(__file__).parent / "golden"
MLP = """Sequential(
  (0): Linear(in_features=4, out_features=3, bias=True)
  (1): ReLU()
  (2): Linear(in_features=3, out_features=1, bias=True)
)"""
BELL = (1, 2, 5, 9, 14, 22, 29, 33, 32, 28, 21, 15, 8, 4, 2, 1)
FLAT = (0,) * 8 + (3,) + (0,) * 7
CPU = Environment("0.1.0", "2.13.0", "3.11.7", "cpu", "float32", 0)


def row(
    name: str,
    shape: tuple[int, ...],
    values: Values | None = None,
    gradient: Gradient | None = None,
    init: Init | None = None,
    **changes: object,
) -> Parameter:
    numel = 1
    for size in shape:
        numel *= size
    module = name.rpartition(".")[0]
    told: dict[str, object] = {
        "aliases": (),
        "module_type": "Linear",
        "kind": "parameter",
        "dtype": "float32",
        "numel": numel,
        "bytes": 4 * numel,
        "device": "cpu",
        "requires_grad": True,
        "identity": 1,
        "storage": 1,
    }
    return Parameter(
        name=name, module=module, shape=shape, values=values, gradient=gradient, init=init, **(told | changes)
    )


def figures(mean: float, std: float, low: float, high: float, histogram: tuple[int, ...] = BELL) -> Values:
    return Values(mean, std, (mean**2 + std**2) ** 0.5, low, high, 1.5, 0, 0, 0, histogram)


def grad(rms: float, status: str = "ok", text: str | None = None) -> Gradient:
    return Gradient(status, rms, 0.0, rms, rms, rms, rms, 0, 0, 0, None, text)


def totals(rows: tuple[Parameter, ...], **changes: int) -> Totals:
    own = [one for one in rows if one.kind == "parameter"]
    buffers = [one for one in rows if one.kind == "buffer"]
    numel = sum(one.numel or 0 for one in own)
    frozen = sum(one.numel or 0 for one in own if not one.requires_grad)
    counted = {
        "parameters": numel,
        "trainable": numel - frozen,
        "frozen": frozen,
        "as_named": sum((one.numel or 0) * (1 + len(one.aliases)) for one in own),
        "bytes": sum(one.bytes or 0 for one in own),
        "buffers": sum(one.numel or 0 for one in buffers),
        "buffer_bytes": sum(one.bytes or 0 for one in buffers),
        "unregistered": sum(one.numel or 0 for one in rows if one.kind == "unregistered"),
        "unknown": sum(one.numel is None for one in rows),
        "shown": numel,
    }
    return Totals(**(counted | changes))


def report(command: str, rows: tuple[Parameter, ...], name: str = "mlp", **changes: object) -> Report:
    told: dict[str, object] = {"model": Model("Sequential", MLP), "parameters": rows, "totals": totals(rows)}
    told["source"] = Source("spec", name)
    return Report(command=command, environment=CPU, **(told | changes))


DRAWN = TensorInfo(None, (2, 4), "float32", "cpu", "uniform")
PASS = Forward((DRAWN,), (TensorInfo(None, (2, 1), "float32", "cpu"),), 0.973963, "sum", True)
LAYER = Init("default", {}, 0.0, 0.2886751345948129)
MLP_ROWS = (
    row("0.weight", (3, 4), figures(0.027248, 0.22095, -0.47072, 0.29986), grad(0.0273098), LAYER),
    row("0.bias", (3,), figures(-0.01623, 0.154761, -0.19485, 0.182614), grad(0.0600773), LAYER),
    row("2.weight", (1, 3), figures(0.0098, 0.056041, -0.051977, 0.083683), grad(0.394406), LAYER),
    row("2.bias", (1,), figures(0.5047, 0.0, 0.5047, 0.5047, FLAT), grad(2.0), LAYER),
)


def verdict(name: str, figure: str, word: str = "as expected") -> Verdict:
    return Verdict("scheme", f"{figure} {word}", 0.22095, 0.288675, 0.125, name, figure)


def judged(*off: tuple[str, str]) -> tuple[Verdict, ...]:
    """Judge every mean of the MLP and the one std that has elements enough."""
    figures = [(one.name, "mean") for one in MLP_ROWS] + [("0.weight", "std")]
    return tuple(verdict(*both, "off" if both in off else "as expected") for both in figures)


def show() -> Report:
    return report("show", MLP_ROWS, forward=PASS, verdicts=judged())


def mixed() -> Report:
    """Everything at once: shared, frozen, unused, zero, non-finite, off, buffers, forgotten, no shape yet."""
    lazy = {"numel": None, "bytes": None, "dtype": "float32", "storage": None}
    rows = (
        row(
            "embed.weight",
            (1000, 16),
            figures(-0.0083, 1.005, -4.343, 4.101),
            grad(0.01676),
            LAYER,
            aliases=("head.weight", "decoder.out.weight"),
        ),
        row("norm.weight", (16,), figures(1.0, 0.0, 1.0, 1.0, FLAT), Gradient("frozen"), LAYER, requires_grad=False),
        row(
            "spare.weight",
            (4, 16),
            figures(0.001, 0.31, -0.5, 0.5),
            Gradient("unused"),
            Init("normal", {"std": 0.01}, 0.0, 0.01, 16, 4, "*weight*=normal:std=0.01"),
        ),
        row("dead.weight", (4,), figures(0.25, 1e-12, 0.25, 0.25), grad(0.0, "zero"), LAYER),
        row("wild.weight", (4,), Values(nan=3, inf=1), grad(1.0, "nonfinite")),
        row("lazy.weight", (), None, Gradient("unknown"), **lazy),
        row("norm.running_mean", (16,), figures(0.0, 0.0, 0.0, 0.0, FLAT), kind="buffer"),
        row(
            "norm.num_batches_tracked",
            (),
            Values(0.0, 0.0, 0.0, 0, 0, 0.0, 1, 0, 0, FLAT),
            kind="buffer",
            dtype="int64",
            bytes=8,
        ),
        row(
            "plain.bias",
            (3,),
            figures(0.0, 0.0, 0.0, 0.0, FLAT),
            kind="unregistered",
            note="a plain tensor attribute: not in parameters(), not in state_dict",
        ),
    )
    names = (rows[0].name, *rows[0].aliases)
    return report(
        "show",
        rows,
        name="mixed",
        model=None,
        forward=Forward(
            (DRAWN, TensorInfo("mask", (2, 8), "int64", "cpu", "0..999")), (), 15.0375, "cross_entropy", True
        ),
        sharing=(Sharing("same-parameter", names, 16_000, 64_000, ("embed", "head", "decoder.out"), False, True),),
        uses=(
            Use("embed.weight", "embed", "embedding", 0, grad(0.0103)),
            Use("embed.weight", "head", "linear", 1, grad(0.009917)),
        ),
        verdicts=(
            Verdict("scheme", "mean as expected", 0.0, 0.0, 0.1, "embed.weight", "mean"),
            Verdict("scheme", "std as expected", 1.0, 1.0, 0.1, "embed.weight", "std"),
            Verdict("scheme", "mean as expected", 0.0, 0.0, 0.1, "spare.weight", "mean"),
            Verdict("scheme", "std off", 0.31, 0.01, 0.0044, "spare.weight", "std"),
        ),
    )


def long_names() -> Report:
    """Names longer than a terminal, wide characters, forty names for one."""
    deep = "transformer.encoder.layers.11.attention.self.query_key_value.projection"
    rows = (
        row(f"{deep}.weight", (3072, 768), figures(0.0, 0.02, -0.09, 0.09), grad(1.25e-7), LAYER),
        row("模型.编码器.层.权重", (4, 4), figures(0.0, 0.5, -1.0, 1.0), grad(12345.678), LAYER),
        row(
            "shared.weight",
            (1,),
            figures(3.0, 0.0, 3.0, 3.0, FLAT),
            grad(6.0),
            LAYER,
            aliases=tuple(f"shared.{i}.weight" for i in range(39)),
        ),
    )
    names = ("shared.weight", *rows[-1].aliases)
    uses = tuple(Use("shared.weight", f"shared.{i}", "linear", i, grad(3.0)) for i in range(40))
    return report(
        "show",
        rows,
        name="long",
        model=None,
        forward=PASS,
        uses=uses,
        sharing=(Sharing("same-parameter", names, 1, 4),),
    )


def huge() -> Report:
    """A count of sixty digits."""
    rows = (row("huge.weight", (10**30, 10**30), None, Gradient("unknown"), LAYER), MLP_ROWS[0])
    return report("show", rows, name="huge", model=None)


def before_backward() -> Report:
    rows = tuple(
        row(one.name, one.shape, one.values, Gradient("not-run"), one.init, text="tensor([1.])") for one in MLP_ROWS
    )
    return report("show", rows, forward=Forward(PASS.input, PASS.output, 0.973963, "sum", False))


def no_forward() -> Report:
    return report("show", tuple(row(one.name, one.shape, one.values, Gradient("not-run")) for one in MLP_ROWS))


def failed() -> Report:
    message = "Linear expects (…, 5) of float32, got (2, 3) float32 (mat1 and mat2 shapes cannot be multiplied)"
    return report(
        "show",
        tuple(row(one.name, one.shape, one.values, Gradient("not-run")) for one in MLP_ROWS),
        forward=Forward((DRAWN,), error=ForwardError("2", message)),
        errors=(Failure("forward-failed", f"the forward failed: {message}", "layer '2'"),),
    )


def failed_loss() -> Report:
    error = ForwardError("", "cross_entropy got (2, 1) float32 and no targets", "loss")
    return replace(
        failed(), forward=Forward(PASS.input, PASS.output, None, "cross_entropy", False, error), errors=_error(error)
    )


def failed_backward() -> Report:
    error = ForwardError("", "element 0 of tensors does not require grad", "backward")
    return replace(
        failed(), forward=Forward(PASS.input, PASS.output, 0.973963, "sum", False, error), errors=_error(error)
    )


def _error(error: ForwardError) -> tuple[Failure, ...]:
    return (Failure(f"{error.phase}-failed", f"the {error.phase} failed: {error.message}", error.phase),)


def _lazy(name: str, kind: str = "parameter", **changes: object) -> Parameter:
    unknown = {"numel": None, "bytes": None, "storage": None}
    return row(name, (), None, Gradient("not-run") if kind == "parameter" else None, kind=kind, **(unknown | changes))


def lazy() -> Report:
    """Nothing is known before the first forward."""
    rows = (_lazy("0.weight"), _lazy("0.bias"), _lazy("1.running_mean", "buffer"))
    return report("show", rows, name="lazy", model=None)


def lazy_in_part() -> Report:
    """Some is known: one layer of three, one of its parameters frozen."""
    rows = (
        *(
            row(one.name, one.shape, one.values, Gradient("not-run"), requires_grad=i > 0)
            for i, one in enumerate(MLP_ROWS)
        ),
        _lazy("4.weight", aliases=("6.weight",)),
        row("5.running_mean", (3,), figures(0.0, 0.0, 0.0, 0.0, FLAT), kind="buffer"),
        _lazy("7.running_mean", "buffer"),
    )
    return report("show", rows, name="lazy_in_part", model=None)


def share_lazy() -> Report:
    rows = (_lazy("0.weight", aliases=("1.weight",)),)
    shared = Sharing("same-parameter", ("0.weight", "1.weight"), None, None, ("0", "1"), True, True)
    return report("share", rows, name="lazy", sharing=(shared,))


def bare() -> Report:
    """What the least a source can tell looks like."""
    return Report("show", Source("spec", ""), Environment("1", None, "3", "", "", None))


def empty() -> Report:
    return report("show", (), name="empty", model=Model("Sequential", "Sequential()"))


def values() -> Report:
    weight = "tensor([[ 0.2576, -0.2207, -0.0969,  0.2347, -0.0969,  0.2347, -0.0969,  0.2347],\n        [ 0.5, 1.]])"
    rows = (
        row(
            "0.weight", (2, 8), figures(0.03, 0.2, -0.5, 0.3), grad(0.03, text="tensor([[0., 1.]])"), LAYER, text=weight
        ),
        row("0.bias", (3,), figures(0.0, 0.0, 0.0, 0.0, FLAT), Gradient("frozen"), LAYER, text="tensor([0., 0., 0.])"),
        row("1.weight", (99, 99), figures(0.0, 1.0, -3.0, 3.0), grad(0.5), LAYER),
    )
    return report(
        "show",
        rows,
        forward=Forward(
            (TensorInfo(None, (1,), "float32", "cpu", "ones", [1.0], "tensor([1.])"),), PASS.output, 9.0, "sum", True
        ),
    )


def init() -> Report:
    normal = Init(
        "kaiming_normal",
        {},
        0.0,
        0.7071,
        4,
        3,
        "*weight*=kaiming_normal:nonlinearity=relu",
        ("*.weight=normal:std=0.01",),
    )
    bounded = replace(LAYER, expected_low=-0.5, expected_high=0.5)
    rows = tuple(
        row(
            one.name,
            one.shape,
            figures(0.3, 0.4, -0.6, 0.9),
            Gradient("not-run"),
            normal if "weight" in one.name else bounded,
            before=one.values,
            digest="0123456789abcdef",
        )
        for one in MLP_ROWS
    )
    done = Initialisation(
        (
            RuleApplied("*.weight=normal:std=0.01", "spec.yaml:9:34", 2, 0),
            RuleApplied("*weight*=kaiming_normal:nonlinearity=relu", "--scheme", 2, 2),
        ),
        digest="fedcba9876543210",
    )
    bounds = Verdict("scheme", "bounds off", 0.9, 0.5, 1e-7, "0.bias", "bounds")
    verdicts = (*judged(("0.weight", "std"), ("2.weight", "mean")), bounds)
    return report("init", rows, verdicts=verdicts, initialisation=done)


def init_noted() -> Report:
    """All there is to say of an initialisation: notes, a computed weight, a file, a stream for each parameter."""
    scheme = Init("normal", {}, 0.0, 1.0, None, None, "*=normal")
    through = replace(scheme, expected_mean=None, expected_std=None, notes=("set through '0.weight'",))
    padded = replace(
        Init("kaiming_uniform", {}, 0.0, 0.5, 4, 6, "1.*=kaiming_uniform", (), -0.87, 0.87),
        notes=("padding row 0 set to zero again", "a lookup: torch counts fan_in 4 and fan_out 6"),
    )
    stored = "0.parametrizations.weight.original"
    rows = (
        row("0.weight", (3, 4), figures(0.1, 0.9, -2.0, 2.0), None, scheme, kind="computed", note="computed by `x`"),
        *(row(f"{stored}{at}", (3, 4), figures(0.1, 0.9, -2.0, 2.0), None, through) for at in range(2)),
        row("1.weight", (6, 4), figures(0.0, 0.5, -0.8, 0.8), None, padded, digest="0123456789abcdef"),
        row("2.weight", (6, 4), figures(0.0, 0.5, -0.8, 0.8), before=figures(0.0, 0.5, -0.8, 0.8)),
    )
    done = Initialisation((RuleApplied("*=normal", "--rule", 2, 1),), True, "fedcba9876543210", "out.safetensors")
    return report("init", rows, model=None, initialisation=done)


def share() -> Report:
    rows = (
        row("0.weight", (1, 1), figures(3.0, 0.0, 3.0, 3.0, FLAT), grad(6.0), LAYER, aliases=("1.weight",)),
        MLP_ROWS[1],
    )
    shared = Sharing("same-parameter", ("0.weight", "1.weight"), 1, 4, ("0", "1"), True, True)
    uses = tuple(Use("0.weight", str(i), "linear", i, grad(3.0)) for i in range(2))
    return report("share", rows, name="shared", forward=PASS, sharing=(shared,), uses=uses)


def share_nothing() -> Report:
    return report("share", MLP_ROWS, forward=PASS)


def edit() -> Report:
    rows = tuple(
        row(one.name, one.shape, figures(0.9838, 0.154761, 0.8, 1.2), one.gradient, one.init, before=one.values)
        for one in MLP_ROWS
        if "bias" in one.name
    )
    before, after = (
        TensorInfo(None, (2, 1), "float32", "cpu", None, None, f"tensor([[{x}],\n        [0.4881]])")
        for x in (0.4859, 1.4882)
    )
    proof = Edit("add", 1.0, ("0.bias", "2.bias"), True, True, before, after, 0.973963, 2.99916)
    return report("edit", rows, forward=PASS, edit=proof, totals=totals(MLP_ROWS, shown=4))


def block(at: int, *, wide: int = 4, status: str = "ok", tie: bool = False) -> tuple[Parameter, ...]:
    """Return the rows of one of many blocks, each with figures of its own; a tie goes by its number in both names."""
    name = f"layers.{at}"
    gradient = grad(0.5 + at) if status == "ok" else Gradient(status)
    aliases = (f"tied.{at}.up",) if tie else ()
    return (
        row(f"{name}.up.weight", (3, wide), figures(0.01 * at, 0.2, -0.5, 0.5 + at), gradient, LAYER, aliases=aliases),
        row(f"{name}.up.bias", (3,), figures(0.0, 0.0, 0.0, 0.0, FLAT), grad(2.0), LAYER),
    )


def _blocks(*blocks: tuple[Parameter, ...]) -> tuple[Parameter, ...]:
    return (row("embed.weight", (5, 4), figures(0.0, 1.0, -3.0, 3.0), grad(0.1), LAYER), *chain(*blocks))


def folded() -> Report:
    """Eight blocks that agree, tied by number, and their buffers."""
    buffers = (row(f"layers.{at}.seen", (), figures(at, 0.0, at, at), kind="buffer") for at in range(16))
    rows = (*_blocks(*(block(at, tie=True) for at in range(8))), *buffers)
    sharing = tuple(Sharing("same-parameter", (f"layers.{at}.up.weight", f"tied.{at}.up"), 12, 48) for at in range(8))
    return report("show", rows, name="folded", model=None, forward=PASS, sharing=sharing)


def partly_folded() -> Report:
    """The first block is wider; in one a gradient is not finite, in one the std is off, one is frozen."""
    status = {4: "nonfinite", 8: "frozen"}
    blocks = _blocks(block(0, wide=8), *(block(at, status=status.get(at, "ok")) for at in range(1, 10)))
    judged = (f"layers.{at}.up.weight" for at in range(1, 10))
    verdicts = tuple(verdict(name, "std", "off" if ".6." in name else "as expected") for name in judged)
    return report("show", blocks, name="partly", model=None, forward=PASS, verdicts=verdicts)


def recognised() -> Report:
    """A module: what its values tell of its initialisation, in blocks, in doubt, and not at all."""

    def told(words: str, confidence: float, scheme: str = "default", *also: str) -> Init:
        return Init(
            scheme, {}, 0.0, 0.25, recognised=True, distribution=words, confidence=confidence, p_value=0.4, also=also
        )

    def untold(why: str) -> Init:
        return Init("unrecognised", notes=(why,), recognised=False, distribution="unrecognised")

    default, refused = (
        told("uniform ±1/√fan_in (Linear's default)", 0.9998),
        untold("normal std 0.3 fits best, with p = 1e-07"),
    )
    kaiming = "kaiming_normal fan_out, relu"
    inits = [
        told(kaiming, 1.0, "kaiming_normal"),
        told(f"{kaiming} or xavier_normal", 0.63, "kaiming_normal", "xavier_normal"),
        *(refused if at == 3 else default for at in range(6)),
        untold("too few elements"),
    ]
    shapes = [
        ("stem.weight", (8, 5)),
        ("side.weight", (4, 5)),
        *((f"layers.{at}.weight", (4, 4)) for at in range(6)),
        ("bias", (3,)),
    ]
    rows = tuple(
        row(*both, figures(0.0, 0.25, -0.5, 0.5), grad(0.1), init) for both, init in zip(shapes, inits, strict=True)
    )
    return report("show", rows, name="recognised", model=None, forward=PASS, source=Source("module", "net:build"))


def folded_init() -> Report:
    rows = tuple(replace(one, before=one.values) for one in _blocks(*map(block, range(8))))
    return report("init", rows, name="folded", verdicts=(verdict("layers.3.up.weight", "std", "off"),))


def _use(parameter: str, module: str, op: str, index: int, rms: float) -> Use:
    return Use(parameter, module, op, index, grad(rms))


def _call(index: int, module: str, kind: str, rms: float | None, **wild: int) -> Layer:
    out = LayerOut(rms, rms, rms, rms, wild.get("nan", 0), wild.get("inf", 0))
    return Layer(index, module, kind, out, LayerGrad(rms))


def _reconciles(*names: str) -> tuple[Verdict, ...]:
    return tuple(Verdict("ledger", "reconciles", 0.0, None, None, name) for name in names)


def grad_shared() -> Report:
    """The smallest ledger: 3 + 3 = 6."""
    return replace(
        share(),
        command="grad",
        parameters=share().parameters[:1],
        totals=totals(share().parameters[:1]),
        layers=(_call(0, "0", "Linear", 3.0), _call(1, "1", "Linear", 9.0)),
        verdicts=_reconciles("0.weight"),
    )


def grad_mixed() -> Report:
    """Tied, unattributed, folded away, frozen, not finite; one parameter read sixteen times."""
    rows = (
        *mixed().parameters[:6],
        row("cell.weight", (2, 2), figures(0.0, 0.5, -1.0, 1.0), grad(4.0), LAYER),
        row("odd.weight", (2, 2), figures(0.0, 0.5, -1.0, 1.0), replace(grad(1.5), zeros=3), LAYER),
        row("scale", (1,), figures(0.0, 0.0, 0.0, 0.0), replace(grad(1.0), status="nonfinite", nan=2, inf=1), LAYER),
    )
    return report(
        "grad",
        rows,
        name="mixed",
        model=None,
        forward=replace(PASS, origin="dummy_inputs"),
        uses=(
            _use("embed.weight", "embed", "embedding", 0, 0.01),
            _use("embed.weight", "head", "linear", 1, 0.00676),
            *(_use("cell.weight", f"cell.{i}", "linear", i, 0.25) for i in range(16)),
            _use("odd.weight", "odd", "mul", 16, 1.0),
            _use("odd.weight", "", "(not attributed)", 17, 0.5),
            _use("dead.weight", "dead", "add", 18, 0.0),
            _use("scale", "", "mul", 19, 1.0),
        ),
        layers=(
            _call(0, "embed", "Embedding", 1.0),
            _call(1, "", "Odd", None),
            _call(2, "head", "Linear", 12.5, nan=3, inf=1),
        ),
        verdicts=(
            *_reconciles("embed.weight", "cell.weight"),
            Verdict("ledger", "not attributed", 0.5, 0.0, 1e-6, "odd.weight"),
        ),
    )


def grad_folded() -> Report:
    """Eight blocks, each with a weight that is used twice; more layers than a terminal shows."""
    rows = _blocks(*map(block, range(8)))
    uses = [
        _use(f"layers.{at}.up.weight", module, "linear", 2 * at + i, 0.5 * (at + i))
        for at in range(8)
        for i, module in enumerate((f"layers.{at}.up", "head"))
    ]
    calls = tuple(_call(i, f"layers.{i}.up", "Linear", 0.5**i) for i in range(42))
    return report("grad", rows, name="folded", model=None, forward=PASS, uses=tuple(uses), layers=calls)


def forgotten() -> Report:
    """Stored tensors, buffers outside state_dict, more forgotten tensors than are listed."""
    pruned = row("0.weight_orig", (3, 4), figures(0.0, 0.3, -0.5, 0.5), grad(0.1), note="with its mask it is 0.weight")
    buffers = (
        row("0.weight_mask", (3, 4), figures(0.5, 0.5, 0.0, 1.0), kind="buffer", persistent=True),
        row("cache", (2,), figures(0.0, 0.0, 0.0, 0.0, FLAT), kind="buffer", persistent=False),
    )
    plain = (
        row(
            f"plain.{i}", (1,), figures(0.0, 0.0, 0.0, 0.0, FLAT), kind="unregistered", note="an item of the list plain"
        )
        for i in range(10)
    )
    return report("show", (pruned, *buffers, *plain), name="forgotten", model=None, forward=PASS)


def lost_graph() -> Report:
    """Gradients that got lost, and where; a buffer and a computed tensor that no optimizer sees."""
    at_argmax = Cause("router.pick", "argmax", "its result is int64, which has no gradient")
    at_root = Cause("", "detach", "it detaches its result from the graph")
    plain, nobody = figures(0.0, 0.3, -0.5, 0.5), "requires grad, but is a buffer: no optimizer sees it"
    rows = (
        row("router.weight", (2, 2), plain, Gradient("disconnected", cause=at_argmax)),
        row("router.bias", (2,), plain, Gradient("disconnected", cause=at_argmax)),
        row("body.weight", (2, 2), plain, replace(grad(0.0, "zero"), cause=at_root)),
        row("spare.weight", (2, 2), plain, Gradient("disconnected")),
        row("head.weight", (2, 2), plain, grad(0.5)),
        row("scale", (2,), plain, kind="buffer", persistent=True, note=nobody),
        row("w", (1, 2), plain, kind="unregistered", note="computed by mul from a tensor that nothing registers"),
    )
    note = "the forward wrote to 'head.weight': 4 of 4 elements changed, by an rms of 0.5"
    return report("show", rows, name="lost", model=None, forward=PASS, notes=(note,))


SAMPLES: dict[str, Callable[[], Report]] = {
    made.__name__: made
    for made in (
        show,
        mixed,
        long_names,
        huge,
        before_backward,
        no_forward,
        failed,
        failed_loss,
        failed_backward,
        lazy,
        lazy_in_part,
        share_lazy,
        bare,
        empty,
        values,
        init,
        init_noted,
        share,
        share_nothing,
        edit,
        folded,
        partly_folded,
        folded_init,
        recognised,
        grad_shared,
        grad_mixed,
        grad_folded,
        grad_signal,
        grad_signal_mixed,
        grad_signal_long,
        forgotten,
        lost_graph,
    )
}


@pytest.fixture(params=sorted(SAMPLES))
def sample(request: pytest.FixtureRequest) -> tuple[str, Report]:
    """A name and a literal Report, one after the other."""
    return request.param, SAMPLES[request.param]()


@pytest.fixture
def sample_named() -> Callable[[str], Report]:
    return lambda name: SAMPLES[name]()


@pytest.fixture
def golden() -> Callable[[str, str], None]:
    """Compare a text with the file of that name; with PARAMINSPECT_ACCEPT=1 write the file instead."""

    def check(name: str, text: str) -> None:
        path = GOLDEN / name
        if os.environ.get("PARAMINSPECT_ACCEPT") == "1":
            path.write_text(text, encoding="utf-8", newline="")
        assert path.exists(), f"no {path}: accept it with PARAMINSPECT_ACCEPT=1"
        assert path.read_bytes().decode() == text

    return check
