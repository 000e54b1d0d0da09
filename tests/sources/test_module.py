"""``file.py:attr`` and ``pkg.mod:attr``: what they build, and what is refused, in one message each."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from paraminspect.errors import UserError
from paraminspect.modules.subject import Loss
from paraminspect.sources.locate import Reference, find
from paraminspect.sources.module import load
from tests.conftest import Ran

Run = Callable[..., Ran]
Code = Callable[..., str]

NET = """\
class Net(nn.Module):
    def __init__(self, dim: int, depth: int, dropout=0.1, *, act: str = "relu"):
        super().__init__()
        self.layers = nn.ModuleList(nn.Linear(dim, dim) for _ in range(depth))
    def forward(self, x):
        for layer in self.layers:
            x = layer(x)
        return x
    @classmethod
    def tiny(cls):
        return cls(4, 2)
    @staticmethod
    def small(width: int = 3):
        return Net(width, 1)
"""


# --- what is built ---------------------------------------------------------------------------------------------

GIVES: dict[str, tuple[str, dict[str, Any], list[tuple[int, ...]]]] = {
    "a class": ("m.py:Net", {"dim": 3, "depth": 1}, [(3, 3), (3,)]),
    "a keyword-only argument": ("m.py:Net", {"dim": 3, "depth": 1, "act": "tanh"}, [(3, 3), (3,)]),
    "an instance": ("m.py:net", {}, [(2, 2), (2,)]),
    "a part of an instance": ("m.py:net.layers", {}, [(2, 2), (2,)]),
    "a class method": ("m.py:Net.tiny", {}, [(4, 4), (4,), (4, 4), (4,)]),
    "a static method": ("m.py:Net.small", {"width": 5}, [(5, 5), (5,)]),
    "a partial": ("m.py:part", {}, [(4, 4), (4,)]),
    "a partial, overridden": ("m.py:part", {"depth": 2}, [(4, 4), (4,), (4, 4), (4,)]),
    "a lambda": ("m.py:make", {}, [(4, 4), (4,), (4, 4), (4,)]),
    "arguments by position only": ("m.py:positional", {"b": 1, "a": 3}, [(3, 3), (3,)]),
    "any arguments": ("m.py:anything", {"dim": 3, "depth": 1}, [(3, 3), (3,)]),
    "a callable object": ("m.py:factory", {"n": 2}, [(2, 2), (2,)]),
    "a nested class": ("m.py:Outer.Inner", {}, [(1, 1), (1,)]),
    "a class of torch's": ("torch.nn:Linear", {"in_features": 2, "out_features": 3, "bias": False}, [(3, 2)]),
    "no parameters at all": ("torch.nn:ReLU", {}, []),
}
MORE = """
import functools
net = Net(2, 1)
part = functools.partial(Net, 4, depth=1)
make = lambda: Net.tiny()
def positional(a, b, /): return Net(a, b)
def anything(**kw): return Net(**kw)
class Factory:
    def __call__(self, n): return Net(n, 1)
factory = Factory()
class Outer:
    class Inner(nn.Linear):
        def __init__(self): super().__init__(1, 1)
"""


@pytest.mark.parametrize("name", GIVES)
def test_what_is_built(name: str, code: Code) -> None:
    code(NET + MORE)
    reference, args, shapes = GIVES[name]
    subject = load(Reference(reference, args))
    assert [tuple(p.shape) for p in subject.module.parameters()] == shapes
    assert (subject.source.kind, subject.source.name, subject.foreign) == ("module", reference, True)
    assert subject.source.path == ("m.py" if reference.startswith("m.py") else None)


def test_the_seed_is_set_before_the_import_and_before_the_call(code: Code) -> None:
    code(
        "first = torch.rand(3)\ndef make():\n    net = nn.Linear(2, 1); net.register_buffer('first', first)\n    return net\n"
    )
    for _ in range(2):  # the second time nothing is imported
        module = load(Reference("m.py:make"), seed=7).module
        torch.manual_seed(7)
        assert torch.equal(module.weight, nn.Linear(2, 1).weight)
        torch.manual_seed(7)
        assert torch.equal(module.first, torch.rand(3))


def test_the_default_dtype_of_the_file_is_that_of_its_module_and_its_forward(run: Run, code: Code) -> None:
    code(
        "torch.set_default_dtype(torch.float64)\nclass N(nn.Module):\n    def __init__(self):\n"
        "        super().__init__(); self.l = nn.Linear(2, 2)\n"
        "    def forward(self, x): return self.l(x) @ torch.ones(2, 2)\n"
    )
    ran = run("show", "m.py:N", "--json")
    assert (ran.code, ran.err) == (0, "")
    assert [row["dtype"] for row in ran.report["parameters"]] == ["float64", "float64"]
    assert ran.report["forward"]["input"][0]["dtype"] == "float64"
    assert torch.get_default_dtype() is torch.float32
    code("def make(): return nn.Linear(2, 2)\n", "other.py")
    assert run("show", "other.py:make", "--json").report["parameters"][0]["dtype"] == "float32"


def test_what_lies_beside_the_file_can_be_imported(code: Code) -> None:
    Path("deep").mkdir()
    code("WIDTH = 3\n", "deep/beside_of_module_test.py")
    code("def make():\n    from beside_of_module_test import WIDTH\n    return nn.Linear(WIDTH, 1)\n", "deep/m.py")
    before = list(sys.path)
    assert load(Reference("deep/m.py:make")).module.in_features == 3
    assert sys.path == before


def test_a_module_of_the_working_directory(code: Code) -> None:
    Path("a_package_of_module_test").mkdir()
    code("", "a_package_of_module_test/__init__.py")
    code("from . import other\ndef make(): return nn.Linear(other.WIDTH, 1)\n", "a_package_of_module_test/net.py")
    code("WIDTH = 5\n", "a_package_of_module_test/other.py")
    assert load(Reference("a_package_of_module_test.net:make")).module.in_features == 5
    with pytest.raises(UserError) as caught:
        load(Reference("a_package_of_module_test/net.py:make"))
    assert caught.value.message == (
        "a_package_of_module_test/net.py, while it was imported, raised ImportError: "
        "attempted relative import with no known parent package"
    )
    assert caught.value.hint == (
        "the file belongs to a package: name it as pkg.mod:attr, in the folder that holds the package"
    )


# --- the device ------------------------------------------------------------------------------------------------

TIED = """\
class Tied(nn.Module):
    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(3, 3), nn.Linear(3, 3)
        self.b.weight = self.a.weight
        self.register_buffer("k", torch.zeros(2)); self.b.register_buffer("k", self.k)
        self.a.weight.requires_grad_(False)
    def forward(self, x): return self.b(self.a(x))
net = Tied()
cpu = lambda: net
"""


@pytest.mark.parametrize("attribute", ["net", "Tied", "cpu"])
def test_on_meta_what_was_one_object_still_is(attribute: str, code: Code) -> None:
    code(TIED, f"{attribute}.py")
    module = load(Reference(f"{attribute}.py:{attribute}"), device="meta").module
    assert {str(t.device) for t in (*module.parameters(), *module.buffers())} == {"meta"}
    assert module.b.weight is module.a.weight
    assert isinstance(module.a.weight, nn.Parameter)
    assert module.a.weight.requires_grad is False
    assert module.b.k is module.k
    assert module.a.bias is not module.b.bias
    assert [name for name, _ in module.named_parameters()] == ["a.weight", "a.bias", "b.bias"]
    assert [name for name, _ in module.named_buffers()] == ["k"]


def test_a_class_is_built_on_meta_without_memory(code: Code) -> None:
    code("def make(): return nn.Linear(10**6, 10**6)\n")
    subject = load(Reference("m.py:make"), device="meta").settled()
    assert subject.module.weight.is_meta
    assert subject.make_input is not None
    assert subject.make_input().args[0].is_meta


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a CUDA device here")
def test_a_device_that_is_not_there(run: Run, code: Code) -> None:
    code("raise SystemExit('never run')\n")
    ran = run("show", "m.py:net", "--device", "cuda")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err.startswith("error: --device: cannot use 'cuda': ")
    assert ran.err.endswith("\n  --device cpu needs no accelerator, --device meta no memory\n")


# --- what is refused -------------------------------------------------------------------------------------------

MODULE = "not a torch.nn.Module"
WANTED = "name a torch.nn.Module, a Module class, or a function that returns one"
REFUSED: dict[str, tuple[str, str, str]] = {
    "a number": ("x = 3", "m.py:x: is an object of type int, not a torch.nn.Module", WANTED),
    "a text": ("x = 'x'", "m.py:x: is an object of type str, not a torch.nn.Module", WANTED),
    "none": ("x = None", "m.py:x: is None, not a torch.nn.Module", "the function has to return the module"),
    "a tensor": (
        "x = torch.ones(3, 4)",
        "m.py:x: is a tensor of shape (3, 4), not a torch.nn.Module",
        "name the module that holds it",
    ),
    "a state_dict": (
        "x = nn.Linear(2, 1).state_dict()",
        "m.py:x: is a state_dict of 2 tensors, not a torch.nn.Module",
        "name the module that it is loaded into: a state_dict has no forward",
    ),
    "a configuration": (
        "class NetConfig: ...\nx = NetConfig()",
        "m.py:x: is a configuration (NetConfig), not a torch.nn.Module",
        "name a function that builds the module from it",
    ),
    "an empty dict": ("x = {}", "m.py:x: is an object of type dict, not a torch.nn.Module", WANTED),
    "a list": (
        "x = [nn.ReLU(), 3]",
        "m.py:x: is a list (ReLU, int), not a torch.nn.Module",
        "name a function that returns the module alone",
    ),
    "a Python module": (
        "import json as x",
        "m.py:x: is the Python module json, not a torch.nn.Module",
        "name what is in it, as json:JSONDecoder",
    ),
    "returns none": (
        "def x(): ...",
        "m.py:x: returned None, not a torch.nn.Module",
        "the function has to return the module",
    ),
    "returns several": (
        "def x(): return nn.ReLU(), {}",
        "m.py:x: returned a tuple (ReLU, dict), not a torch.nn.Module",
        "name a function that returns the module alone",
    ),
    "returns a class": (
        "def x(): return nn.ReLU",
        "m.py:x: returned the class ReLU, not a torch.nn.Module",
        "return an instance of it",
    ),
    "makes something else": (
        "class x: ...",
        "m.py:x: returned an object of type x, not a torch.nn.Module",
        WANTED,
    ),
    "async": (
        "async def x(): return nn.ReLU()",
        "m.py:x: returned a coroutine, not a torch.nn.Module",
        "name a function that is not async",
    ),
    "a generator": (
        "def x(): yield nn.ReLU()",
        "m.py:x: returned a generator, not a torch.nn.Module",
        "name a function that returns the module and yields nothing",
    ),
    "an async generator": (
        "async def x(): yield nn.ReLU()",
        "m.py:x: returned an async_generator, not a torch.nn.Module".replace("async_generator", "async generator"),
        "name a function that returns the module and yields nothing",
    ),
    "no super, nothing assigned": (
        "class x(nn.Module):\n    def __init__(self): self.n = 3",
        "m.py:x: x.__init__ never calls super().__init__()",
        "call it first: super().__init__()",
    ),
    "no super, a layer assigned": (
        "class x(nn.Module):\n    def __init__(self): self.n = nn.ReLU()",
        "{path}:3: m.py:x raised AttributeError: cannot assign module before Module.__init__() call",
        "call super().__init__() before anything is assigned",
    ),
    "raises": (
        "def x():\n    raise ValueError('no\\nway')",
        "{path}:3: m.py:x raised ValueError: no way",
        "",
    ),
    "exits": ("import sys\ndef x(): sys.exit(0)", "{path}:3: m.py:x called exit(0)", ""),
    "exits at once": ("import os\ndef x(): os._exit(0)", "{path}:3: m.py:x called exit(0)", ""),
    "asks": (
        "def x(): return input()",
        "{path}:2: m.py:x raised EOFError: EOF when reading a line",
        "its standard input is empty: whatever it asks for has to be an argument",
    ),
    "downloads": (
        "from urllib.error import URLError\ndef x():\n    try:\n        raise ConnectionRefusedError(111, 'refused')\n"
        "    except OSError as error:\n        raise RuntimeError('no weights') from error",
        "{path}:7: m.py:x raised RuntimeError: no weights",
        "it needs the network: name a function that downloads nothing",
    ),
    "a property that raises": (
        "class P:\n    @property\n    def q(self): raise RuntimeError('bad')\nx = P()",
        "{path}:4: m.py:x.q, while it was looked up, raised RuntimeError: bad",
        "",
    ),
    "a property that has no attribute": (
        "class P:\n    @property\n    def q(self): return self.nothing\nx = P()",
        "{path}:4: m.py:x.q, while it was looked up, raised AttributeError: 'P' object has no attribute 'nothing'",
        "",
    ),
    "a __getattr__ that raises": (
        "def __getattr__(name): raise RuntimeError(name)",
        "{path}:2: m.py:x, while it was looked up, raised RuntimeError: x",
        "",
    ),
    "the import fails": (
        "x = 1 / 0",
        "{path}:2: m.py, while it was imported, raised ZeroDivisionError: division by zero",
        "",
    ),
    "the import needs what is not installed": (
        "import nosuchlibrary",
        "{path}:2: m.py, while it was imported, raised ModuleNotFoundError: No module named 'nosuchlibrary'",
        "install what provides 'nosuchlibrary' in the environment of paraminspect",
    ),
    "no such attribute": (
        "from math import sqrt\ny = 3\nclass Network(nn.Module): ...\ndef make(): ...",
        "m.py:x: m.py has no attribute 'x'",
        "it has: Network, make, sqrt, y",
    ),
    "nearly": ("class X1(nn.Module): ...", "m.py:x: m.py has no attribute 'x'", "did you mean 'X1'?"),
    "nothing in it": ("", "m.py:x: m.py has no attribute 'x'", "it has: torch, nn"),
    "arguments are needed": (
        NET + "x = Net",
        "m.py:x: needs dim and depth",
        "it takes (dim: int, depth: int, dropout=0.1, act: str = 'relu')\n  for example: --arg dim=4 --arg depth=4",
    ),
    "an argument of any type": (
        "def x(*sizes, width, act='relu', **more): ...",
        "m.py:x: needs width",
        "it takes (*sizes, width, act='relu', **more)\n  for example: --arg width=VALUE",
    ),
    "an argument that is an object": (
        "class Config: ...\nclass x(nn.Module):\n    def __init__(self, config: Config, dtype=torch.float32): ...",
        "m.py:x: needs config",
        "it takes (config: Config, dtype=…)\n  write a function that builds it, and name that instead",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_is_refused(name: str, run: Run, code: Code, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", os.fdopen(os.dup(0)))  # pytest's own refuses to be read
    body, message, hint = REFUSED[name]
    path = Path(code(body + "\n")).resolve()
    source = "m.py:x.q" if "m.py:x.q" in message else "m.py:x"
    ran = run("show", source)
    wanted = f"error: {message.format(path=path)}\n" + (f"  {hint}\n" if hint else "")
    assert (ran.code, ran.out, ran.err) == (2, "", wanted)
    failed = run("show", source, "--json")
    assert (failed.code, failed.err) == (2, wanted)
    (error,) = failed.report["errors"]
    assert f"{error['where']}: {error['message']}" == message.format(path=path)
    sys.stdin.close()


ARGUMENTS = {
    ("m.py:Net", "dim=3", "depht=2"): "--arg: m.py:Net takes no 'depht'\n  did you mean 'depth'?",
    ("m.py:Net", "zz=3"): (
        "--arg: m.py:Net takes no 'zz'\n  it takes (dim: int, depth: int, dropout=0.1, act: str = 'relu')"
    ),
    ("m.py:net", "dim=3"): (
        "--arg: a module that is built already takes no arguments\n  name its class, or leave --arg out"
    ),
    ("mlp", "dim=3"): ("--arg: a spec takes no arguments\n  it is for a model in Python: file.py:attr or pkg.mod:attr"),
    ("m.py:Net", "dim=3", "dim=4"): "--arg: 'dim' is given twice\n  keep one of them",
    ("m.py:Net", "dim"): (
        "--arg: 'dim' is not an argument\n  write NAME=VALUE, e.g. --arg depth=2 or --arg sizes=[4,8] or --arg name=small"
    ),
    ("m.py:Net", "dim="): ("--arg dim: the value is missing\n  null is the value None, '' in quotes is an empty text"),
    ("m.py:Net", "dim=[3"): ("--arg dim:1:3: not valid YAML: expected ',' or ']', but got '<stream end>'"),
    ("m.py:Net", "dim=010"): "--arg dim:1:1: 010 means different numbers in YAML 1.1 and 1.2\n  write 8 or 10",
    ("m.py:Net", "dim=" + "[" * 70): "--arg dim:1:65: nested more than 64 deep",
    ("m.py:Net", "dim=" + "1" * 10_001): (
        "--arg dim: the value has 10,001 characters, 10,000 are the most\n  name a function that takes it from a file"
    ),
}


@pytest.mark.parametrize("words", ARGUMENTS, ids=lambda words: " ".join(words)[:40])
def test_arguments_that_are_refused(words: tuple[str, ...], run: Run, code: Code) -> None:
    code(NET + "net = Net.tiny()\n")
    source, *given = words
    ran = run("show", source, *(word for one in given for word in ("--arg", one)))
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {ARGUMENTS[words]}\n")


def test_the_values_of_arguments_are_yaml(run: Run, code: Code) -> None:
    code("def make(**given):\n    net = nn.ReLU(); net.extra_repr = lambda: repr(given); return net\n")
    values = ["a=1", "b=1e-2", "c=true", "d=no", "e=[1, two]", "f={g: 0x10}", "h=null", "i='3'", "j=x=y"]
    ran = run("show", "m.py:make", "--no-forward", "--json", *(word for one in values for word in ("--arg", one)))
    wanted = {"a": 1, "b": 0.01, "c": True, "d": "no", "e": [1, "two"], "f": {"g": 16}, "h": None, "i": "3", "j": "x=y"}
    assert ran.report["model"]["repr"] == f"ReLU({wanted!r})"


def test_an_argument_is_refused_before_torch_is_needed(code: Code) -> None:
    """A reference is looked for, its code is not run."""
    code("raise SystemExit\n")
    assert find("m.py:net") == Reference("m.py:net")


# --- names without an attribute, and what does not exist -------------------------------------------------------

NAMED = {
    "m.py": ("m.py: Python code: name what is in it, as m.py:NAME\n  for example: m.py:Net; it has: Net, make, net"),
    "one.py": "one.py: Python code: name what is in it, as one.py:NAME\n  for example: one.py:only",
    "empty.py": "empty.py: Python code: name what is in it, as empty.py:NAME\n  for example: empty.py:NAME",
    "broken.py": "broken.py: Python code: name what is in it, as broken.py:NAME\n  for example: broken.py:NAME",
    "m": "m: Python code: name what is in it, as m:NAME\n  for example: m:Net; it has: Net, make, net",
    "package.inner": (
        "package.inner: Python code: name what is in it, as package.inner:NAME\n  for example: package.inner:only"
    ),
    "mm.py": ("mm.py: no such file, and no built-in spec has this name\n  did you mean 'm.py'?"),
    "m.py:": ("m.py: Python code: name what is in it, as m.py:NAME\n  for example: m.py:Net; it has: Net, make, net"),
    "m.py:Net(3)": "m.py:Net(3): 'Net(3)' is not a name\n  did you mean m.py:Net --arg NAME=VALUE?",
    "mm.py:Net": "mm.py:Net: no such file: mm.py\n  did you mean 'm.py'?",
    "package:Net": "package:Net: package has no attribute 'Net'\n  it has no names of its own",
    "packag:Net": "packag:Net: no module named 'packag'\n  did you mean 'package'?",
    "package.inne:Net": "package.inne:Net: no module named 'package.inne'\n  did you mean 'inner'?",
    "nosuchmodule:Net": (
        "nosuchmodule:Net: no module named 'nosuchmodule'\n"
        "  the name is a module's, as in an import statement, or a path that ends in .py"
    ),
}


@pytest.mark.parametrize("source", NAMED)
def test_names_that_name_nothing_to_build(source: str, run: Run, code: Code) -> None:
    code("import os\nraise SystemExit\ndef make(): ...\nclass Net: ...\nnet = other.attribute = Net()\n_hidden = 1\n")
    Path("one.py").write_text("def only(): ...\n")
    Path("empty.py").write_text("")
    Path("broken.py").write_text("def (\n")
    Path("package").mkdir()
    Path("package/__init__.py").write_text("")
    Path("package/inner.py").write_text("def only(): ...\n")
    for name in [name for name in sys.modules if name.partition(".")[0] == "package"]:
        del sys.modules[name]
    ran = run("show", source)
    assert (ran.code, ran.out, ran.err) == (2, "", f"error: {NAMED[source]}\n")


def test_a_folder_and_a_pipe_are_no_code(run: Run, code: Code, tmp_path: Path) -> None:
    (tmp_path / "d.py").mkdir()
    assert run("show", "d.py:Net").err == "error: d.py:Net: d.py is a folder, not a file\n"
    assert run("show", "d.py").err == "error: d.py: is a folder, not a file\n"


def test_a_loss_of_the_users(code: Code) -> None:
    code("def make(): return nn.Linear(2, 1)\ndef loss(y): return y.sum()\n")
    loss = Loss("m.py:loss", torch.sum)
    assert load(Reference("m.py:make"), loss=loss).loss is loss
    assert load(Reference("m.py:make")).loss == Loss("sum")
