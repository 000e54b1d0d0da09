"""Imports go one way, torch and rich are imported where the design says: read from the source, not from a run."""

from __future__ import annotations

import ast
from functools import cache
from pathlib import Path

import pytest

PACKAGE = Path(__file__).resolve().parent.parent / "paraminspect"
MODULES = {
    ".".join(("paraminspect", *path.relative_to(PACKAGE).with_suffix("").parts)).removesuffix(".__init__"): path
    for path in sorted(PACKAGE.rglob("*.py"))
}

LEVELS = (
    ("__main__",),
    ("cli", "api"),
    ("experiment",),
    (
        "sources",
        "script",
        "init",
        "analysis",
        "rules",
        "render",
        "plot",
        "output",
        "files",
        "guard",
        "load",
        "collector",
    ),
    ("spec", "theory", "report_schema"),
    ("report", "errors", "interrupts"),
    ("__init__",),
)
"""A part may import parts of its own level and of the levels below. The package itself is only its version and API."""

NO_TORCH = (
    "cli",
    "render",
    "plot",
    "rules",
    "spec",
    "theory",
    "report",
    "errors",
    "output",
    "guard",
    "load",
    "collector",
    "interrupts",
    "sources.locate",
    "init",
)
TORCH_ALLOWED = ("paraminspect.init.recipes",)
NUMPY_ALLOWED = ("theory",)
"""What is made of arrays and no tensors."""


def part(module: str) -> str:
    """Return the folder or file right below the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def level(module: str) -> int:
    return next(number for number, parts in enumerate(LEVELS) if part(module) in parts)


def is_type_checking(node: ast.stmt) -> bool:
    return isinstance(node, ast.If) and ast.unparse(node.test) in ("TYPE_CHECKING", "typing.TYPE_CHECKING")


def statements(body: list[ast.stmt], inside: bool) -> list[ast.stmt]:
    """Return the statements that run when the module is imported; with `inside`, also those of function bodies."""
    found: list[ast.stmt] = []
    for node in body:
        found.append(node)
        is_function = isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)
        if is_type_checking(node):
            assert isinstance(node, ast.If)
            found += statements(node.orelse, inside)
        elif inside or not is_function:
            for name in ("body", "orelse", "finalbody", "handlers"):
                inner = getattr(node, name, [])
                bodies = [handler.body for handler in inner] if name == "handlers" else [inner]
                for each in bodies:
                    found += statements(each, inside)
    return found


@cache
def imports(module: str, inside: bool = False) -> frozenset[str]:
    """Return the absolute names of the modules that `module` imports; our own down to the file."""
    tree = ast.parse(MODULES[module].read_text(encoding="utf-8"))
    found: set[str] = set()
    for node in statements(tree.body, inside):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{module}:{node.lineno}: a relative import"
            base = node.module or ""
            inner = {f"{base}.{alias.name}" for alias in node.names}
            submodules = inner & set(MODULES)
            found |= submodules if submodules else {base}
            if submodules != inner:
                found.add(base)
    return frozenset(found)


def ours(module: str, inside: bool = False) -> list[str]:
    return sorted(name for name in imports(module, inside) if name.split(".")[0] == "paraminspect")


def top(module: str, inside: bool = False) -> set[str]:
    return {name.split(".")[0] for name in imports(module, inside)}


def test_the_reader_reads() -> None:
    """A test of the test: what it would find if something were wrong."""
    assert "paraminspect.cli.session" in ours("paraminspect.cli.show")
    assert "paraminspect.experiment.inspect" not in imports("paraminspect.cli.show")
    assert "paraminspect.experiment.inspect" in imports("paraminspect.cli.show", inside=True)
    assert "torch" in top("paraminspect.experiment.run")
    assert "torch" in top("paraminspect.init.recipes")
    assert "torch" in top("paraminspect.init.custom", inside=True)
    assert len(MODULES) > 80


@pytest.mark.parametrize("module", MODULES)
def test_imports_go_down(module: str) -> None:
    if module == "paraminspect":
        assert set(ours(module, inside=True)) <= {"paraminspect.errors", "paraminspect.report"}
        return
    upwards = [name for name in ours(module, inside=True) if level(name) < level(module)]
    assert upwards == []
    unknown = [name for name in ours(module, inside=True) if name not in MODULES]
    assert unknown == []


def test_peers_import_each_other_without_cycles() -> None:
    """At module level: a cycle is only possible among the files of one level."""
    graph = {module: [name for name in ours(module) if name != "paraminspect"] for module in MODULES}
    done: set[str] = set()

    def visit(module: str, trail: tuple[str, ...]) -> None:
        assert module not in trail, " -> ".join((*trail[trail.index(module) :], module))
        if module not in done:
            for name in graph[module]:
                visit(name, (*trail, module))
            done.add(module)

    for module in graph:
        visit(module, ())


def is_in(module: str, parts: tuple[str, ...]) -> bool:
    return any(module == f"paraminspect.{p}" or module.startswith(f"paraminspect.{p}.") for p in parts)


def torch_free() -> list[str]:
    named = [module for module in MODULES if is_in(module, NO_TORCH) and module not in TORCH_ALLOWED]
    return ["paraminspect", "paraminspect.__main__", *named]


@pytest.mark.parametrize("module", torch_free())
def test_what_must_start_fast_imports_no_torch(module: str) -> None:
    """Neither by itself nor through what it imports; numpy and pydantic come with torch's weight."""
    seen: set[str] = set()
    todo = [module]
    while todo:
        name = todo.pop()
        heavy = {"torch", "numpy", "pydantic"} & top(name) - ({"numpy"} if is_in(module, NUMPY_ALLOWED) else set())
        assert not heavy, f"{module} imports {name}, which imports {heavy}"
        seen.add(name)
        todo += [other for other in ours(name) if other not in seen]


@pytest.mark.parametrize(
    "module", [m for m in MODULES if is_in(m, ("render", "plot", "rules", "spec", "theory", "report"))]
)
def test_what_works_on_plain_values_never_imports_torch(module: str) -> None:
    barred = {"torch"} if is_in(module, NUMPY_ALLOWED) else {"torch", "numpy"}
    assert not barred & top(module, inside=True)


@pytest.mark.parametrize("module", [m for m in MODULES if not is_in(m, ("render.table",))])
def test_rich_is_for_tables_only(module: str) -> None:
    assert "rich" not in top(module, inside=True)


@pytest.mark.parametrize("module", MODULES)
def test_matplotlib_is_imported_only_to_draw(module: str) -> None:
    """By the functions of `plot` alone, and never pyplot, which would choose a backend for the whole process."""
    assert "matplotlib" not in top(module)
    found = {name for name in imports(module, inside=True) if name.startswith("matplotlib")}
    assert "matplotlib.pyplot" not in found and (not found or is_in(module, ("plot",)))


@pytest.mark.parametrize("module", MODULES)
def test_nothing_of_click_is_imported(module: str) -> None:
    """Typer carries click inside; both its name and its place have changed before."""
    found = {name for name in imports(module, inside=True) if name.startswith(("click", "typer._"))}
    assert not found


def test_every_folder_has_its_level() -> None:
    assert {part(module) for module in MODULES} <= {name for names in LEVELS for name in names}
