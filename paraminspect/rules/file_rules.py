"""PI6xx: what is unsound about the files of a checkpoint."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from paraminspect.report import Checkpoint, Fault, Finding, OptimizerContents, TensorHeader, Values
from paraminspect.rules.rule import CheckRule, Problem
from paraminspect.rules.rule_selection import EVERYTHING, Selection, wanted
from paraminspect.text.numbers import plural, size, some_of

_NOT_FINITE: Final = "not-finite"

RULES: Final = (
    CheckRule(
        "PI601",
        "truncated",
        "error",
        "A file that ends before what it declares.",
        "A download or a save that was cut off: loading fails, or the tensors behind the cut are not there.",
        "head -c 8000 model.safetensors > cut.safetensors",
        "Fetch it again, or save it again.",
    ),
    CheckRule(
        "PI602",
        "hole",
        "error",
        "Bytes of a file that belong to no tensor, or elements of a tensor that no file has.",
        "safetensors' own reader refuses such a file; what is missing of a tensor loads as whatever memory held.",
        "data_offsets of two neighbours: [0, 16] and [20, 36]",
        "Save it again with the safetensors library, or fetch the file that is missing.",
    ),
    CheckRule(
        "PI603",
        "overlap",
        "error",
        "Tensors or records of a file whose bytes overlap.",
        "One is read as part of the other: the values of at least one are wrong.",
        "data_offsets of two neighbours: [0, 16] and [12, 28]",
        "Save it again with the library of its format.",
    ),
    CheckRule(
        "PI604",
        "duplicate-name",
        "error",
        "Two tensors of one name.",
        "Which one is loaded depends on the reader.",
        '{"w": {...}, "w": {...}} in the header',
        "Rename one of them where it is written.",
    ),
    CheckRule(
        "PI605",
        "lying-size",
        "error",
        "A tensor whose shape and dtype do not take the bytes that the file gives it.",
        "The header does not fit the data: its values cannot be trusted.",
        '"shape": [4], "dtype": "F32", "data_offsets": [0, 8]',
        "Save it again.",
    ),
    CheckRule(
        "PI606",
        "missing-shard",
        "error",
        "A file that the index names and that is not there.",
        "Its tensors cannot be loaded.",
        "rm model-00002-of-00003.safetensors",
        "Fetch it into the same folder.",
    ),
    CheckRule(
        "PI607",
        "missing-tensor",
        "error",
        "A tensor that the index promises and that the shard it names does not hold.",
        "Index and shards are of different saves, or the shard is not whole.",
        '"weight_map": {"w": "a.safetensors"}, and no w in a.safetensors',
        "Fetch the shards and the index of one and the same version.",
    ),
    CheckRule(
        "PI608",
        "missing-record",
        "error",
        "A tensor whose record is not in the archive.",
        "torch.load raises, or the tensor has no values.",
        "zip -d model.pt model/data/3",
        "Fetch it again, or save it again.",
    ),
    CheckRule(
        "PI609",
        "stray-shard",
        "warning",
        "A file that lies beside the shards and that the index does not name.",
        "Of an older save it may be what a loader takes that goes by the names of the files.",
        "a model-00001-of-00002.safetensors beside model-00001-of-00003.safetensors",
        "Delete it, or make the index anew.",
    ),
    CheckRule(
        "PI610",
        "stray-tensor",
        "warning",
        "Tensors in a shard that the index does not name.",
        "Loaders that go by the index never see them.",
        'a tensor in a shard, and not in "weight_map"',
        "Make the index anew.",
    ),
    CheckRule(
        "PI611",
        "stray-record",
        "error",
        "Records of an archive that no tensor uses, or a storage that nothing names.",
        "They cost space; in a file of torch before 1.6 they tell that it is not what was saved.",
        "a record data/7 and no tensor that reads it",
        "Save it again with torch.save.",
    ),
    CheckRule(
        "PI612",
        "path-escape",
        "error",
        "A name of a file or a record that leads out of its folder or archive.",
        "It is how a file makes a reader open what it should not: here it is not opened.",
        '"weight_map": {"w": "../../secret.safetensors"}',
        "Do not load it.",
    ),
    CheckRule(
        "PI613",
        "foreign-shard",
        "error",
        "A shard that is no file of the format of its index.",
        "It is not opened: a pickle in the place of safetensors runs code.",
        '"weight_map": {"w": "a.pt"} in a safetensors index',
        "Name the shards as their format, or do not load it.",
    ),
    CheckRule(
        "PI614",
        "numbering-gap",
        "warning",
        "Numbers of shards with a gap in them.",
        "A file may be missing that the index does not name either.",
        "model-00001-of-00003 and model-00003-of-00003",
        "Fetch the missing files, or make the index anew.",
    ),
    CheckRule(
        "PI615",
        "wrong-total",
        "warning",
        "A total_size in the index that is not the size of the tensors.",
        "Index and shards may be of different saves.",
        '"metadata": {"total_size": 1}',
        "Fetch the shards and the index of one and the same version.",
    ),
    CheckRule(
        "PI616",
        "wrong-extension",
        "warning",
        "A file whose name says another format than its bytes.",
        "What goes by the name fails on it, or unpickles what should have been plain data.",
        "mv model.pt model.safetensors",
        "Rename it as its format.",
    ),
    CheckRule(
        "PI617",
        "deflated",
        "error",
        "An archive of torch.save whose records are compressed.",
        "torch.load(mmap=True) reads the compressed bytes as numbers: garbage, without an error.",
        "unzip model.pt && zip -r model.pt model",
        "Write it again with torch.save.",
    ),
    CheckRule(
        "PI618",
        "interrupted",
        "warning",
        "A distributed checkpoint with a .metadata.tmp in it: a later save was interrupted.",
        "Its files may be of two saves, under one name.",
        "a job that is killed while it saves over its last checkpoint",
        "Take the checkpoint before it.",
    ),
    CheckRule(
        "PI619",
        "ungathered",
        "error",
        "Most tensors have the shape (0,), as ZeRO stage 3 keeps what it has not gathered.",
        "The weights are not in the file.",
        "torch.save(model.state_dict()) under deepspeed, stage 3",
        "Run zero_to_fp32.py in its folder, or save with stage3_gather_16bit_weights_on_model_save.",
    ),
    CheckRule(
        "PI620",
        "unsafe-global",
        "warning",
        "A class or a function in a pickle that torch.load(weights_only=True) refuses.",
        "To load it is to run it, whatever it is.",
        "torch.save(model) in the place of its state_dict",
        "Load it only if you know who wrote it; torch.save(model.state_dict(), FILE) has none.",
    ),
    CheckRule(
        "PI621",
        "dragged-storage",
        "warning",
        "A storage of which the tensors of the file use a part.",
        "torch.save writes the whole storage that a slice lies in: the file is larger than its tensors.",
        "torch.save(x[:2], FILE)",
        "Save tensor.clone().",
    ),
    CheckRule(
        "PI622",
        "unknown-dtype",
        "warning",
        "A dtype that is not known here.",
        "Its values are not read: nothing is said of them.",
        '"dtype": "F6_E2M3"',
        "Nothing, if what loads the file knows it.",
    ),
    CheckRule(
        "PI623",
        "bad-entry",
        "error",
        "An entry of a header that is not what the format has there.",
        "The tensor cannot be loaded.",
        '"w": {"dtype": "F32"}',
        "Save it again.",
    ),
    CheckRule(
        "PI624",
        "bad-metadata",
        "error",
        "A __metadata__ that does not map texts to texts.",
        "safetensors' own reader refuses such a file.",
        '"__metadata__": {"step": 3}',
        "Turn the values into texts where it is written.",
    ),
    CheckRule(
        "PI625",
        "trailing-bytes",
        "error",
        "Bytes behind the last tensor.",
        "safetensors' own reader refuses such a file; two files may have been joined.",
        "cat a.safetensors b.safetensors > c.safetensors",
        "Fetch it again.",
    ),
    CheckRule(
        "PI626",
        "header-too-large",
        "warning",
        "A header larger than the safetensors library reads.",
        "Nothing else that uses the library loads the file.",
        "a million tensors in one file",
        "Divide it into shards.",
    ),
    CheckRule(
        "PI627",
        "no-values",
        "warning",
        "A tensor of which the file holds no values.",
        "It was saved from the meta device: there is nothing to load.",
        "torch.save(model.to('meta').state_dict(), FILE)",
        "Save it after its values are there.",
    ),
    CheckRule(
        "PI628",
        "big-endian",
        "warning",
        "A file that was written big-endian.",
        "Its values are not read here.",
        "torch.save on an s390x",
        "torch.load reads it: save it again on a little-endian machine.",
    ),
    CheckRule(
        "PI629",
        "too-deep",
        "warning",
        "Mappings that are nested deeper than is looked at.",
        "Tensors below are not listed.",
        "state = {'a': {'a': {'a': ...}}}",
        "Save the state_dict alone.",
    ),
    CheckRule(
        "PI630",
        "unreadable",
        "error",
        "A shard that cannot be read as its format.",
        "Its tensors are not listed, and cannot be loaded.",
        "a Git LFS pointer in the place of a shard",
        "Fetch it again.",
    ),
    CheckRule(
        "PI631",
        "lagging-step",
        "note",
        "Parameters that an optimizer has given fewer steps than the others.",
        "It skips a parameter whose grad is None: in those steps nothing reached it.",
        "an expert that no token was routed to",
        "Nothing, where a router or a schedule picks; else see PI301.",
    ),
    CheckRule(
        "PI632",
        "no-state",
        "note",
        "Parameters of an optimizer without a state.",
        "No step has ever reached them.",
        "optimizer = Adam(model.parameters()), with a layer that forward never calls",
        "Nothing, where they are frozen; else see PI301.",
    ),
    CheckRule(
        "PI633",
        "not-finite",
        "error",
        "A tensor with NaN or infinite values.",
        "One NaN in a weight makes the whole output NaN.",
        "a checkpoint that was saved after the loss became NaN",
        "Go back to the checkpoint before it.",
    ),
    CheckRule(
        "PI634",
        "all-zero",
        "note",
        "Weights that are 0 throughout.",
        "Such a layer adds nothing. A branch that starts at 0 begins so; after training it tells that no "
        "gradient came.",
        "nn.init.zeros_(block.out.weight)",
        "Nothing, before training; else see PI301 to PI303.",
    ),
    CheckRule(
        "PI635",
        "changed-bytes",
        "error",
        "A tensor of torch.save whose bytes are not those that were saved: their CRC-32 is another.",
        "torch.load does not look: the tensor loads, with other numbers.",
        "a bit that flipped on a disk, or an editor of bytes",
        "Fetch it again, or take the checkpoint before it.",
    ),
)

_HINTS: Final = {
    "truncated": "fetch it again, or save it again",
    "hole": "the writer left a gap: save it again with the safetensors library",
    "overlap": "the writer laid tensors over each other: save it again with the safetensors library",
    "duplicate-name": "rename one of them where it is written",
    "lying-size": "the header does not fit the data: save it again",
    "missing-shard": "fetch the missing files into the same folder",
    "missing-tensor": "fetch the shards and the index of one and the same version",
    "missing-record": "fetch it again, or save it again",
    "stray-shard": "a file of an older version may have stayed behind: delete it, or make the index anew",
    "stray-tensor": "make the index anew: loaders that go by it never see these tensors",
    "stray-record": "save it again with torch.save",
    "path-escape": "do not load it: such a name is how a file reads what it should not",
    "foreign-shard": "name the shards as their format",
    "numbering-gap": "fetch the missing files, or make the index anew",
    "wrong-total": "fetch the shards and the index of one and the same version",
    "wrong-extension": "rename it as its format",
    "deflated": "write it again with torch.save; an archive tool has packed it",
    "interrupted": "its tensors may be of two saves: take the checkpoint before it",
    "ungathered": "run zero_to_fp32.py in its folder, or save with stage3_gather_16bit_weights_on_model_save",
    "unsafe-global": "load it only if you know who wrote it; torch.save(model.state_dict(), FILE) has none",
    "dragged-storage": "save tensor.clone(): a slice is saved with the whole storage that it lies in",
    "bad-entry": "fetch it again, or save it again",
    "bad-metadata": "turn the values into texts where it is written",
    "trailing-bytes": "the file is longer than it says: fetch it again",
    "header-too-large": "divide it into shards",
    "no-values": "save it after its values are there",
    "big-endian": "torch.load reads it: save it again on a little-endian machine",
    "too-deep": "save the state_dict alone",
    "unreadable": "fetch it again",
    "changed-bytes": "fetch it again, or take the checkpoint before it",
    "not-finite": "go back to the checkpoint before it",
}
"""What to try, by the name of the rule."""

_RULE_OF: Final = {rule.name: rule for rule in RULES}
_BY_ID: Final = {rule.id: rule for rule in RULES}

NOT_FINITE_ID: Final = _RULE_OF[_NOT_FINITE].id
"""What is wrong with the values alone: the files are sound."""

_DRAGS: Final = 1024
"""How many bytes more a storage must have than its tensors use, to be worth a word."""


def findings_of(
    checkpoint: Checkpoint,
    optimizers: Sequence[OptimizerContents] = (),
    values: Mapping[str, Values | None] | None = None,
    selection: Selection = EVERYTHING,
) -> tuple[Finding, ...]:
    """Return what is unsound: what the reader saw, then what headers, optimizers and values tell.

    `selection` says by which rules, and of which names.
    """
    faults = [*checkpoint.faults, *_ungathered(checkpoint), *_dragged(checkpoint)]
    faults += [fault for one in optimizers for fault in _uneven(one)]
    problems = [*map(_problem, faults), *_values(checkpoint, values or {})]
    return tuple(map(_finding, wanted(problems, _BY_ID, selection)))


def _finding(problem: Problem) -> Finding:
    where = problem.where or problem.names[0]
    return Finding(problem.rule, problem.severity, where, problem.text, problem.names, problem.hint)


def _problem(fault: Fault) -> Problem:
    """Return the problem that a fault of a reader is; a code that is no rule's is that of a file nothing can read."""
    rule = _RULE_OF.get(fault.code, _RULE_OF["unreadable"])
    hint = _HINTS.get(rule.name, "")
    return Problem(rule.id, fault.severity, rule.name, (fault.where,), lambda _: fault.message, hint)


def _ungathered(checkpoint: Checkpoint) -> Iterator[Fault]:
    """Yield a fault where most weights are empty, as DeepSpeed's ZeRO stage 3 leaves them that were not gathered."""
    empty = [tensor.name for tensor in checkpoint.tensors if tensor.shape == (0,)]
    if len(empty) > 1 and 2 * len(empty) > len(checkpoint.tensors):
        message = (
            f"{plural(len(empty), 'tensor')} of {len(checkpoint.tensors):,} have the shape (0,): they were saved "
            "without being gathered, as ZeRO stage 3 keeps them; zero_to_fp32.py gathers their values"
        )
        yield Fault("ungathered", "error", checkpoint.path, message)


def _dragged(checkpoint: Checkpoint) -> Iterator[Fault]:
    """Yield a fault for storages of which the tensors in them use a part alone: a slice was saved with its base."""
    if not any((tensor.bytes or 0) < (tensor.held or 0) for tensor in checkpoint.tensors):
        return
    used: dict[object, int] = {}
    first: dict[object, TensorHeader] = {}
    for tensor in checkpoint.tensors:
        if tensor.storage is not None and tensor.held is not None and tensor.bytes is not None:
            used[tensor.storage] = used.get(tensor.storage, 0) + tensor.bytes
            first.setdefault(tensor.storage, tensor)
    wasted = {key: (first[key].held or 0) - count for key, count in used.items()}
    wasted = {key: waste for key, waste in wasted.items() if waste >= _DRAGS}
    if wasted:
        names = some_of([repr(first[key].name) for key in wasted])
        lie = "lies" if len(wasted) == 1 else "lie"
        message = (
            f"drags {size(sum(wasted.values()))} along that no tensor uses: {names} {lie} in a larger storage, "
            "which is saved whole; save a clone()"
        )
        yield Fault("dragged-storage", "warning", checkpoint.path, message)


def _uneven(optimizer: OptimizerContents) -> Iterator[Fault]:
    """Yield a fault for parameters that were given fewer steps than the others, and for those that have no state."""
    steps = Counter(one.step for one in optimizer.parameters if one.step is not None)
    most = max(steps, default=0.0)
    behind = [one for one in optimizer.parameters if one.step is not None and one.step < most]
    if behind:
        names = some_of([f"{one.parameter or one.key} ({one.step:,.0f})" for one in behind])
        message = (
            f"has given {plural(len(behind), 'parameter')} fewer than the {most:,.0f} steps of the others: {names}; "
            "it skips a parameter whose grad is None"
        )
        yield Fault("lagging-step", "note", optimizer.path or "the optimizer", message)
    if optimizer.without and optimizer.parameters:
        names = some_of(list(optimizer.without))
        message = (
            f"has no state for {plural(len(optimizer.without), 'parameter')} of its param_groups: {names}; "
            "no step has ever reached them"
        )
        yield Fault("no-state", "note", optimizer.path or "the optimizer", message)


def _values(checkpoint: Checkpoint, values: Mapping[str, Values | None]) -> Iterator[Problem]:
    """Yield a problem for each tensor with NaN or Inf, and one for weights that are zero throughout."""
    zero: list[str] = []
    for tensor in checkpoint.tensors:
        found = values.get(tensor.name)
        if found is None:
            continue
        if found.nan or found.inf:
            parts = [f"{count:,} {word}" for count, word in ((found.nan, "NaN"), (found.inf, "Inf")) if count]
            message = f"has {' and '.join(parts)} among {plural(tensor.numel, 'element')}"
            yield _problem(Fault(_NOT_FINITE, "error", tensor.name, message))
        if tensor.numel > 1 and found.zeros == tensor.numel and _is_weight(tensor):
            zero.append(tensor.name)
    if zero:
        rule = _RULE_OF["all-zero"]
        yield Problem(rule.id, rule.severity, rule.name, tuple(zero), _nothing_but_zeros, "", checkpoint.path)


def _nothing_but_zeros(names: Sequence[str]) -> str:
    return f"has nothing but zeros in {plural(len(names), 'weight')}: {some_of(names)}"


def _is_weight(tensor: TensorHeader) -> bool:
    """Tell whether a tensor of nothing but zeros is worth a word: a bias starts so, and LoRA's B does too."""
    floating = tensor.dtype.startswith(("float", "bfloat", "F"))
    return floating and len(tensor.shape) > 1 and tensor.name.endswith("weight") and "lora_" not in tensor.name
