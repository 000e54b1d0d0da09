"""The tensors of a checkpoint by their names; where a training checkpoint nests them, every place that has some."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from torch import Tensor

from paraminspect.sources.checkpoint.file_kinds import kind_of, refusal
from paraminspect.sources.checkpoint.safetensors_file import read_safetensors
from paraminspect.sources.checkpoint.torch_file import read_pickle, read_zip
from paraminspect.text.escape import some_names

_DEEPEST = 4


@dataclass(frozen=True)
class StoredTensors:
    """What a file holds: `trees` are its mappings of tensors by where they stand, ``""`` for the file itself.

    `aliases` are names that the file has under another one, as ``safetensors.torch.save_model`` writes a tie.
    """

    path: str
    trees: Mapping[str, Mapping[str, Any]]
    beside: tuple[str, ...] = ()
    aliases: Mapping[str, str] = field(default_factory=dict)


def read_tensors(path: str) -> StoredTensors:
    """Read a checkpoint as data, onto the CPU. Raises UserError for whatever is none, or holds no tensors by name."""
    kind = kind_of(path)
    if kind == "safetensors":
        tensors, metadata = read_safetensors(path)
        aliases = {name: kept for name, kept in metadata.items() if name not in tensors and kept in tensors}
        return StoredTensors(path, {"": tensors}, aliases=aliases)
    content = read_zip(path) if kind == "zip" else read_pickle(path)
    if not isinstance(content, Mapping):
        what = "one tensor without a name" if isinstance(content, Tensor) else f"a {type(content).__name__}"
        raise refusal(path, f"holds {what}, not a state_dict", "save it as torch.save(model.state_dict(), FILE)")
    every = dict(_mappings(content))
    trees = {key: tree for key, tree in every.items() if _is_state_dict(tree)} or {
        key: tree for key, tree in every.items() if any(isinstance(value, Tensor) for value in tree.values())
    }
    keys = [str(key) for key in content]
    if not trees:
        what = f"holds no tensors by name: {some_names(keys)}" if keys else "holds nothing"
        raise refusal(path, what, "save it as torch.save(model.state_dict(), FILE)")
    return StoredTensors(path, trees, tuple(keys))


def _mappings(content: Mapping[Any, Any], path: str = "", depth: int = 0) -> Iterator[tuple[str, Mapping[str, Any]]]:
    """Yield the mappings with text keys alone, each with the keys that lead to it; an optimizer's state has numbers."""
    if depth > _DEEPEST or not all(isinstance(key, str) for key in content):
        return
    yield path, content
    for key, value in content.items():
        if isinstance(value, Mapping):
            yield from _mappings(value, f"{path}.{key}" if path else key, depth + 1)


def _is_state_dict(tree: Mapping[str, Any]) -> bool:
    """Tell whether all there is are tensors, and what a module keeps beside them."""
    names = [name for name in tree if not name.endswith("_extra_state")]
    return bool(names) and all(isinstance(tree[name], Tensor) for name in names)
