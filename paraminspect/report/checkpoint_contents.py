"""What the files of a checkpoint say: the header of each tensor, where its bytes lie, what is unsound about them."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import field
from functools import cached_property
from typing import Any, NamedTuple, overload

from paraminspect.frozen import dataclass
from paraminspect.report.tensors import Parameter, Values

Shape = tuple[int, ...]


class Chunk(NamedTuple):
    """A block of a tensor that is spread over files: its place and its shape in the tensor, the zip that holds it."""

    offsets: Shape
    shape: Shape
    file: int
    start: int
    bytes: int


class TensorHeader(NamedTuple):
    """Describe one tensor of a file, as the file declares it.

    `dtype` is torch's name for it without ``torch.``, or the file's own where torch has none; `shape` the logical one.
    `bytes` is what its elements take. It lies in the file number `file` from the byte `start`; both are None where its
    bytes cannot be read, and `why` then says so. A `stride` of None is that of a contiguous tensor; otherwise the
    elements are `stride` apart, in elements, from `start` on. Tensors with the same `storage` share that memory, which
    is `held` bytes long. What is spread over files has `pieces`, which tile it.
    `inside` is the mapping of the file, or the module saved whole, in which it stands, ``""`` for the file itself, None
    below a list or a number.
    """

    name: str
    dtype: str
    shape: Shape
    bytes: int | None
    file: int | None = None
    start: int | None = None
    stride: Shape | None = None
    storage: Any = None
    held: int | None = None
    why: str = ""
    pieces: tuple[Chunk, ...] = ()
    inside: str | None = ""

    @property
    def numel(self) -> int:
        """Return the number of elements."""
        return math.prod(self.shape)


class StoredRecord(NamedTuple):
    """The bytes of a file that have a checksum there: `name` is that of the first tensor in them."""

    name: str
    file: int
    start: int
    length: int
    crc: int


class Fault(NamedTuple):
    """Say what is unsound about a file: `code` is a stable word, `where` the file, the tensor, the shard.

    `severity` is ``error`` where some tensor cannot be trusted, ``warning`` where the file is not what it should be,
    ``note`` for what only costs.
    """

    code: str
    severity: str
    where: str
    message: str


class OptimizerGroups(NamedTuple):
    """The parameters of an optimizer as its state_dict has them: `path` is where it stands, `groups` their numbers,
    or their names as torch.distributed.checkpoint has them.

    `names` are what it calls them, where its groups say it.
    """

    path: str
    groups: tuple[tuple[int | str, ...], ...]
    names: tuple[str, ...] = ()


@dataclass(frozen=True)
class Part:
    """One file of a checkpoint: its name as shown, its size in bytes (None if it is missing)."""

    name: str
    bytes: int | None


@dataclass(frozen=True)
class Checkpoint:
    """Everything that the files say without their tensors being read.

    `format` is a word for people; `paths` are the names under which the `parts` are opened; `metadata` is what the
    files say of themselves; `other` the values beside the tensors of a training checkpoint, such as ``epoch``, by their
    path, as short texts. `ties` maps a name that was not written to the one that stands for it. `bytes_read` is what
    the listing cost. `versions` are those of the modules of a state_dict, by where it stands, `optimizers` the
    parameters that each optimizer has, `value_bytes` about what the other values take, by the first part of their path.
    `beside` are files of a training that lie in the same folder, as ``optimizer.pt`` does. `records` have a CRC-32.
    `unread` are the names that the index has in shards that could not be listed, and why. `modules` are the classes of
    nn.Modules that were saved whole, by where they stand, ``""`` for the file itself.
    """

    format: str
    path: str
    parts: tuple[Part, ...]
    tensors: tuple[TensorHeader, ...]
    paths: tuple[str, ...] = ()
    metadata: Mapping[str, str] = field(default_factory=dict)
    other: Mapping[str, str] = field(default_factory=dict)
    ties: Mapping[str, str] = field(default_factory=dict)
    faults: tuple[Fault, ...] = ()
    bytes_read: int = 0
    versions: Mapping[str, Any] = field(default_factory=dict)
    optimizers: tuple[OptimizerGroups, ...] = ()
    value_bytes: Mapping[str, int] = field(default_factory=dict)
    beside: tuple[Part, ...] = ()
    records: tuple[StoredRecord, ...] = ()
    unread: Mapping[str, str] = field(default_factory=dict)
    modules: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class StateOfParameter:
    """What an optimizer keeps of one parameter: the rows of its tensors by its own words, such as ``exp_avg``.

    `key` is the optimizer's number or name of it; `parameter` the row of the parameter, null where it cannot be told.
    `step` is how many steps it was given, `bytes` what its tensors take.
    """

    key: str
    parameter: str | None
    step: float | None
    bytes: int
    tensors: dict[str, str]


@dataclass(frozen=True)
class OptimizerContents:
    """The state of an optimizer of a training checkpoint, parameter by parameter, and those of which it keeps none."""

    path: str
    parameters: tuple[StateOfParameter, ...]
    without: tuple[str, ...] = ()


@dataclass(frozen=True)
class TrainingPart:
    """One part of a training checkpoint: all whose names begin with `name`.

    `holds` says what it is: weights, averaged weights, optimizer, scheduler, random state, gradient scaler, settings;
    else tensors, values, or one value, which is `text`. Its `tensors` have `numel` elements and take `bytes`, what
    several names have counted once; the `values` beside them take about `value_bytes` in the pickle.
    """

    name: str
    holds: str
    tensors: int
    numel: int
    bytes: int
    values: int
    value_bytes: int
    text: str | None = None


@dataclass(frozen=True)
class Portion:
    """How much of a checkpoint is of one dtype, in one file, or below one name: tensors, their elements and bytes."""

    name: str
    tensors: int
    numel: int
    bytes: int


@dataclass(frozen=True)
class CheckpointFiles:
    """Sum up a checkpoint: its `format`, its `files` and how long each is (null where it is missing).

    `dtypes` and `subtrees` divide its tensors by the type of their elements and by the first component of their names;
    `held_bytes` is what the storages take in which they lie. `metadata` is what the files say of themselves, `other`
    the values beside the tensors of a training checkpoint, by their path, as short texts, `ties` the names that were
    not written and those that stand for them. `bytes_read` is what the listing cost. `optimizers` are those of a
    training checkpoint, `parts` what it is made of; both are empty where it is none. `beside` are files of a training
    that lie in the same folder and were not listed, `unread` the names that the index has in shards that could not be
    listed, and why: nothing else counts them. `modules` are the classes of nn.Modules that were saved whole, in the
    place of their state_dict, by where they stand.
    """

    format: str
    files: tuple[Part, ...]
    dtypes: tuple[Portion, ...] = ()
    subtrees: tuple[Portion, ...] = ()
    held_bytes: int | None = None
    metadata: dict[str, str] = field(default_factory=dict)
    other: dict[str, str] = field(default_factory=dict)
    ties: dict[str, str] = field(default_factory=dict)
    bytes_read: int | None = None
    optimizers: tuple[OptimizerContents, ...] = ()
    parts: tuple[TrainingPart, ...] = ()
    beside: tuple[Part, ...] = ()
    unread: dict[str, str] = field(default_factory=dict)
    modules: dict[str, str] = field(default_factory=dict)


class TensorRows(Sequence[Parameter]):
    """The tensors of a checkpoint as the rows of a report, each made when it is asked for: there may be a million.

    `aliases` are further names of the very same elements, by the place of the tensor; they have no row of their own.
    """

    def __init__(
        self,
        tensors: Sequence[TensorHeader],
        values: Mapping[str, Values | None],
        aliases: Mapping[int, tuple[str, ...]] | None = None,
    ) -> None:
        self.tensors, self.values, self.aliases = tensors, values, aliases or {}

    @cached_property
    def _storages(self) -> dict[Any, int]:
        """Return the number of each storage, by first appearance."""
        found: dict[Any, int] = {}
        for tensor in self.tensors:
            if tensor.storage is not None:
                found.setdefault(tensor.storage, len(found) + 1)
        return found

    def __len__(self) -> int:
        return len(self.tensors)

    @overload
    def __getitem__(self, at: int) -> Parameter: ...

    @overload
    def __getitem__(self, at: slice) -> Sequence[Parameter]: ...

    def __getitem__(self, at: int | slice) -> Parameter | Sequence[Parameter]:
        if isinstance(at, slice):
            return [self._row(number) for number in range(*at.indices(len(self)))]
        return self._row(range(len(self))[at])

    def __iter__(self) -> Iterator[Parameter]:
        return map(self._row, range(len(self)))

    def _row(self, number: int) -> Parameter:
        tensor = self.tensors[number]
        return Parameter(
            name=tensor.name,
            aliases=self.aliases.get(number, ()),
            module=tensor.name.rpartition(".")[0],
            module_type="",
            kind="tensor",
            shape=tensor.shape,
            dtype=tensor.dtype,
            numel=tensor.numel,
            bytes=tensor.bytes,
            device="file",
            requires_grad=False,
            identity=number + 1,
            storage=self._storages.get(tensor.storage),
            values=self.values.get(tensor.name),
            note=tensor.why or None,
        )
