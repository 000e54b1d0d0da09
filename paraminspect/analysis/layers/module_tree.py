"""The tree of modules with what each holds itself: every parameter on one of them, so that the rows add up."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import dropwhile

from torch import nn

from paraminspect.analysis.inventory import Inventory, TensorEntry
from paraminspect.modules.walk import Walk, join


@dataclass
class TreeNode:
    """One module under its first path, and the further `aliases` it goes by.

    `parameters` and `buffers` are those that it holds under their first name, `elsewhere` pairs the other names of a
    parameter that it holds with the parameter. `forgotten` says why nothing registers the module; `unregistered` are
    then its tensors, and those that any module forgot to register. `extra_repr` is what the module says of itself on a
    line, see `say_themselves`.
    """

    path: str
    module: nn.Module
    parent: str | None
    depth: int
    aliases: list[str] = field(default_factory=list)
    parameters: list[TensorEntry] = field(default_factory=list)
    buffers: list[TensorEntry] = field(default_factory=list)
    elsewhere: list[tuple[str, TensorEntry]] = field(default_factory=list)
    unregistered: list[TensorEntry] = field(default_factory=list)
    forgotten: str | None = None
    extra_repr: str = ""


def modules_of(inventory: Inventory) -> Walk:
    """Return every path to a module, those that lead to modules which nothing registers among them."""
    return Walk(tuple(inventory.modules.items()))


def module_tree(inventory: Inventory) -> tuple[TreeNode, ...]:
    """Return every module once, a parent before its children: one that nothing registers below the one it hangs on.

    The root is what is at ``""``: wrappers whose prefix is left out of names stand before it, and in no tree.
    """
    nodes: dict[int, TreeNode] = {}
    by_path: dict[str, TreeNode] = {}
    for path, module in dropwhile(lambda item: item[0], inventory.modules.items()):
        node = nodes.get(id(module))
        if node is None:
            above = _parent(path, by_path)
            parent, depth = (above.path, above.depth + 1) if above else (None, 0)
            node = nodes[id(module)] = TreeNode(path, module, parent, depth)
        else:
            node.aliases.append(path)
        by_path[path] = node
    _put_tensors(inventory, by_path)
    return tuple(_in_order(nodes.values()))


def _parent(path: str, above: dict[str, TreeNode]) -> TreeNode | None:
    """Return the module that a path hangs on: ``blocks[0]`` on the root, ``blocks[0].norm`` on ``blocks[0]``."""
    end = len(path)
    while end > 0:
        end = max(path.rfind(".", 0, end), path.rfind("[", 0, end), path.rfind("{", 0, end), 0)
        if path[:end] in above:
            return above[path[:end]]
    return None


def _put_tensors(inventory: Inventory, by_path: dict[str, TreeNode]) -> None:
    for entry in inventory.entries:
        node = by_path.get(entry.owner_names[0]) if entry.owner_names else None
        if node is None:
            continue
        if entry.kind == "parameter":
            node.parameters.append(entry)
            for name, owner in zip(entry.names[1:], entry.owner_names[1:], strict=True):
                other = by_path.get(owner)
                if other is not None and (
                    other is not node or name.rpartition(".")[2] != entry.name.rpartition(".")[2]
                ):
                    _add_once(other, name, entry)
        elif entry.kind == "buffer":
            node.buffers.append(entry)
        elif entry.kind == "unregistered":
            node.unregistered.append(entry)
            node.forgotten = entry.note if node.path not in ("",) and _hangs(node, entry) else node.forgotten


def _add_once(node: TreeNode, name: str, entry: TensorEntry) -> None:
    """Note a further name, once where the module itself has several."""
    leaf = name.rpartition(".")[2]
    if all(found is not entry or one.rpartition(".")[2] != leaf for one, found in node.elsewhere):
        node.elsewhere.append((join(node.path, leaf), entry))


def _hangs(node: TreeNode, entry: TensorEntry) -> bool:
    """Tell whether it is the module that nothing registers, or the tensor alone."""
    return entry.note is not None and entry.note.startswith("its module")


def _in_order(nodes: Iterable[TreeNode]) -> Iterator[TreeNode]:
    """Yield the nodes depth first: one that nothing registers comes after the registered children."""
    children: dict[str | None, list[TreeNode]] = {}
    for node in nodes:
        children.setdefault(node.parent, []).append(node)
    todo = children.get(None, [])[::-1]
    while todo:
        node = todo.pop()
        yield node
        todo += children.get(node.path, [])[::-1]


def say_themselves(nodes: Iterable[TreeNode]) -> None:
    """Ask every module for its ``extra_repr``, which may be code of the user's; one that raises says nothing."""
    for node in nodes:
        try:
            said = node.module.extra_repr()
            node.extra_repr = " ".join(str.__str__(said).split()) if isinstance(said, str) else ""
        except (Exception, SystemExit):
            node.extra_repr = ""
