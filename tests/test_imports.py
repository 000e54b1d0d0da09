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

ORDER = (
    "__main__",
    "cli",
    "pytest_plugin",
    "api",
    "experiments",
    "script",
    "plot",
    "render",
    "output",
    "files",
    "page",
    "rules",
    "sources",
    "init",
    "analysis",
    "isolation",
    "modules",
    "theory",
    "spec",
    "report",
    "text",
    "errors",
    "frozen",
    "__init__",
)
"""The rooms from top to bottom: one imports only those below it. The package itself is only its version and API."""

WITHIN = {
    "analysis": ("layers", "signal", "sharing", "passes", "statistics", "inventory"),
    "init": ("apply", "rules", "schemes"),
}
"""The order of the rooms within a room, those that have one."""

NO_TORCH = (
    "cli",
    "pytest_plugin",
    "render",
    "page",
    "plot",
    "rules",
    "spec",
    "theory",
    "report",
    "text",
    "errors",
    "frozen",
    "output",
    "files",
    "isolation.user_code",
    "isolation.importing",
    "isolation.process",
    "sources.locate",
    "sources.setup",
    "experiments.contenders",
    "init.schemes",
    "init.rules",
)
HEAVY_ALLOWED = ("paraminspect.init.schemes.recipes", "paraminspect.report.report_schema")
NUMPY_ALLOWED = ("theory",)
"""What is made of arrays and no tensors."""


def part(module: str) -> str:
    """Return the folder or file right below the package that a module belongs to."""
    return module.split(".")[1] if "." in module else "__init__"


def level(module: str) -> int:
    return ORDER.index(part(module))


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
def parsed(module: str) -> ast.Module:
    return ast.parse(MODULES[module].read_text(encoding="utf-8"))


@cache
def imports(module: str, inside: bool = False) -> frozenset[str]:
    """Return the absolute names of the modules that `module` imports; our own down to the file."""
    tree = parsed(module)
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
    assert "paraminspect.experiments.show" not in imports("paraminspect.cli.show")
    assert "paraminspect.experiments.show" in imports("paraminspect.cli.show", inside=True)
    assert "torch" in top("paraminspect.experiments.measured")
    assert "torch" in top("paraminspect.init.schemes.recipes")
    assert "torch" in top("paraminspect.init.custom_scheme", inside=True)
    assert len(MODULES) > 80


def test_imports_go_down() -> None:
    """Also those inside functions: a room that reaches up when it runs has its place wrong all the same."""
    assert set(ours("paraminspect", inside=True)) <= {"paraminspect.errors", "paraminspect.report"}
    wrong, unknown = set(), set()
    for module in set(MODULES) - {"paraminspect"}:
        for name in ours(module, inside=True):
            if part(name) != part(module) and level(name) <= level(module):
                wrong.add((module, name))
            if name not in MODULES:
                unknown.add((module, name))
    assert (wrong, unknown) == (set(), set())


@pytest.mark.parametrize("room", WITHIN)
def test_imports_go_down_within_a_room(room: str) -> None:
    order = WITHIN[room]

    def inner(module: str) -> int | None:
        words = module.split(".")
        return order.index(words[2]) if len(words) > 2 and words[1] == room and words[2] in order else None

    for module in MODULES:
        here = inner(module)
        for name in ours(module, inside=True):
            there = inner(name)
            assert here is None or there is None or there >= here, f"{module} imports {name}"


def test_no_files_import_each_other_in_a_circle() -> None:
    """Also not through a function's body."""
    graph = {module: [name for name in ours(module, inside=True) if name != "paraminspect"] for module in MODULES}
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
    named = [module for module in MODULES if is_in(module, NO_TORCH) and module not in HEAVY_ALLOWED]
    return ["paraminspect", "paraminspect.__main__", *named]


def test_what_must_start_fast_imports_no_torch() -> None:
    """Neither by itself nor through what it imports; numpy and pydantic come with torch's weight."""
    for module in torch_free():
        seen: set[str] = set()
        todo = [module]
        while todo:
            name = todo.pop()
            heavy = {"torch", "numpy", "pydantic"} & top(name) - ({"numpy"} if is_in(module, NUMPY_ALLOWED) else set())
            assert not heavy, f"{module} imports {name}, which imports {heavy}"
            seen.add(name)
            todo += [other for other in ours(name) if other not in seen]


def test_what_works_on_plain_values_never_imports_torch() -> None:
    for module in MODULES:
        if is_in(module, ("render", "page", "plot", "rules", "spec", "theory", "report", "text")):
            barred = {"torch"} if is_in(module, NUMPY_ALLOWED) else {"torch", "numpy"}
            assert not barred & top(module, inside=True), module


def test_rich_is_for_tables_only() -> None:
    others = [module for module in MODULES if not is_in(module, ("render.table",))]
    assert [module for module in others if "rich" in top(module, inside=True)] == []


def test_matplotlib_is_imported_only_to_draw() -> None:
    """By the functions of `plot` alone, and never pyplot, which would choose a backend for the whole process."""
    for module in MODULES:
        assert "matplotlib" not in top(module), module
        found = {name for name in imports(module, inside=True) if name.startswith("matplotlib")}
        assert "matplotlib.pyplot" not in found and (not found or is_in(module, ("plot",))), module


def test_nothing_of_click_is_imported() -> None:
    """Typer carries click inside; both its name and its place have changed before."""
    for module in MODULES:
        found = {name for name in imports(module, inside=True) if name.startswith(("click", "typer._"))}
        assert not found, module


def test_every_room_has_its_place() -> None:
    assert {part(module) for module in MODULES} <= set(ORDER)


COMMANDS = (
    "check",
    "code",
    "compare",
    "diff",
    "edit",
    "grad",
    "help",
    "init",
    "rules",
    "schema",
    "schemes",
    "share",
    "show",
    "summary",
    "theory",
)
OF_A_COMMAND = ("cli", "experiments", "page")
"""The rooms that may have a file of the name of a command each."""


def test_no_file_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for module, path in MODULES.items():
        if path.stem != "__init__" and not (path.stem in COMMANDS and part(module) in OF_A_COMMAND):
            places.setdefault(path.stem, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
    commands = [(part(module), path.stem) for module, path in MODULES.items() if path.stem in COMMANDS]
    assert sorted({one for one in commands if commands.count(one) > 1}) == []


def test_no_class_name_stands_twice() -> None:
    places: dict[str, list[str]] = {}
    for module in MODULES:
        for node in statements(parsed(module).body, inside=True):
            if isinstance(node, ast.ClassDef):
                places.setdefault(node.name, []).append(module)
    assert {name: found for name, found in places.items() if len(found) > 1} == {}
