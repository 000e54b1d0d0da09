"""Literal reports of `summary`: trees of modules, whole, folded, failed half-way, of a batch that fits."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace

from paraminspect.report import (
    Environment,
    Failure,
    Fits,
    Forward,
    ForwardError,
    LayerGrad,
    LayerOut,
    LayerTensor,
    MemoryPeak,
    Model,
    OwnedElsewhere,
    Parameter,
    Report,
    Source,
    StepMemory,
    TensorInfo,
    Totals,
    TreeLayer,
    Uncounted,
)

CPU = Environment("0.1.0", "2.13.0", "3.11.7", "cpu", "float32", 0, mode="train")
_SUMS = ("parameters", "trainable", "bytes", "buffers", "buffer_bytes", "macs", "flops", "flops_backward")
_STEP = MemoryPeak("backward", "head", "mm", 1_000, 40_000, 2_000, 66_000)
MEMORY = StepMemory(10_000, 64, 1_024, 0, "adamw", 20_008, None, 10_000, 50_000, 0, (_STEP,), _STEP, _STEP)


def layer(
    module: str,
    kind: str,
    parameters: int = 0,
    macs: int = 0,
    saved: int = 0,
    shape: tuple[int, ...] = (8, 4),
    **more: object,
) -> TreeLayer:
    """Return a module by itself; `tree` adds what is below it."""
    parent = None if not module else module.rpartition(".")[0]
    tensors = (LayerTensor("", shape, "float32"),)
    told: dict[str, object] = {
        "parent": parent,
        "depth": module.count(".") + 1 if module else 0,
        "calls": 1,
        "inputs": tensors,
        "outputs": tensors,
        "own_parameters": parameters,
        "own_trainable": parameters,
        "own_bytes": 4 * parameters,
        "own_macs": macs,
        "own_flops": 2 * macs,
        "own_flops_backward": 4 * macs,
        "own_saved_bytes": saved,
    }
    return TreeLayer(0, module, kind, LayerOut(), LayerGrad(), **(told | more))


def tree(name: str, layers: Sequence[TreeLayer], **more: object) -> Report:
    """Return the report of modules whose figures are added up here, each with all that are below it."""
    rows = []
    for index, row in enumerate(layers):
        inside = [one for one in layers if one is row or not row.module or one.module.startswith(f"{row.module}.")]
        sums = {field: _sum([getattr(one, f"own_{field}") for one in inside]) for field in (*_SUMS, "saved_bytes")}
        rows.append(replace(row, index=index, **sums))
    root = rows[0]
    totals = Totals(
        parameters=root.parameters,
        as_named=root.parameters + sum(one.numel for row in rows for one in row.elsewhere),
        shown=root.parameters,
        trainable=root.trainable,
        bytes=root.bytes,
        macs=root.macs,
        flops=root.flops,
        flops_backward=root.flops_backward,
        saved_bytes=root.saved_bytes,
        unregistered=sum(row.unregistered for row in rows),
        buffers=root.buffers,
        buffer_bytes=root.buffer_bytes,
    )
    given = (TensorInfo("", (8, 4), "float32", "cpu", sample="normal"),)
    told: dict[str, object] = {
        "parameters": tuple(_weights(rows)),
        "model": Model(root.type, f"{root.type}()"),
        "totals": totals,
        "forward": Forward(given, given, 1.5, "sum", backward=True, loss_finite=True),
    }
    return Report("summary", Source("module", name, f"{name}.py"), CPU, layers=tuple(rows), **(told | more))


def _weights(rows: Sequence[TreeLayer]) -> Iterator[Parameter]:
    """Yield a parameter for each module that has some, under the names of all that share it."""
    aliases = {one.owner: one.name for row in rows for one in row.elsewhere}
    for at, row in enumerate(rows):
        numel, kind = row.own_parameters or row.unregistered, "unregistered" if row.forgotten else "parameter"
        if numel:
            name = f"{row.module}.weight".removeprefix(".")
            others = (aliases[name],) if name in aliases else ()
            where = (row.module, row.type, kind, (numel,), "float32", numel, 4 * numel, "cpu", True, at, at)
            yield Parameter(name, others, *where, note=row.forgotten)


def _sum(counts: Sequence[int | None]) -> int | None:
    return None if None in counts else sum(count or 0 for count in counts)


def summary() -> Report:
    """Blocks that fold, a tie, several outputs, a module that is called often, one that nobody called, a forgotten one."""
    pair = tuple(LayerTensor(name, (8, 4), "float32") for name in ("logits", "hidden[0]"))
    blocks = [
        row
        for at in range(3)
        for row in (
            layer(f"blocks.{at}", "Block", uncounted=2),
            layer(f"blocks.{at}.up", "Linear", 20, 128, 64, extra_repr="in_features=4, out_features=4, bias=True"),
            layer(f"blocks.{at}.act", "GELU", saved=128),
        )
    ]
    return tree(
        "decoder",
        [
            layer("", "Decoder", outputs=pair),
            layer("embedding", "Embedding", 40, extra_repr="10, 4"),
            layer("blocks", "ModuleList", calls=0, inputs=None, outputs=None, called_below=True),
            *blocks,
            layer(
                "norm", "BatchNorm1d", 8, saved=96, aliases=("tail.norm",), calls=3, own_buffers=9, own_buffer_bytes=40
            ),
            layer("spare", "Linear", 20, calls=0, inputs=None, outputs=None, own_macs=0),
            layer("lost[0]", "Linear", parent="", forgotten="an item of the list lost", unregistered=20, macs=32),
            layer(
                "head",
                "Linear",
                0,
                320,
                64,
                (8, 10),
                elsewhere=(OwnedElsewhere("head.weight", "embedding.weight", 40),),
            ),
        ],
        uncounted=(Uncounted("fft_rfft", 6, ("blocks.0", "blocks.1", "blocks.2")),),
        memory=MEMORY,
    )


def summary_failed() -> Report:
    """A forward that fails in the middle: what is known up to there, and what is not."""
    unknown = dict.fromkeys(("own_macs", "own_flops", "own_flops_backward", "own_saved_bytes", "outputs"))
    message = "mat1 and mat2 shapes cannot be multiplied (8x4 and 5x4)"
    return tree(
        "broken",
        [
            layer("", "Sequential", **unknown),
            layer("0", "Linear", 20, 128, own_flops_backward=None, own_saved_bytes=None),
            layer("1", "Linear", 24, failed=True, **unknown),
            layer("2", "Linear", 20, calls=0, inputs=None, **unknown),
        ],
        forward=Forward((TensorInfo("", (8, 4), "float32", "cpu", sample="normal"),), error=ForwardError("1", message)),
        errors=(Failure("forward-failed", message, "1"),),
    )


def summary_fits() -> Report:
    """The largest batch that fits."""
    return replace(summary(), fits=Fits(70_000, 8, 66_000, 9, 74_000))


TREES = (summary, summary_failed, summary_fits)
