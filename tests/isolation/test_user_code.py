"""The user's code may do what it likes; it is never a wrong answer on stdout, and never exit code 0."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch

from paraminspect.errors import UserError
from paraminspect.isolation import user_code
from paraminspect.isolation.importing import load_attribute
from tests.cli.conftest import environment
from tests.conftest import Ran

Run = Callable[..., Ran]
Write = Callable[[str], Path]


@pytest.fixture
def user_file(tmp_path: Path) -> Write:
    """Write the user's file and return its path."""

    def write(body: str, name: str = "user.py") -> Path:
        path = tmp_path / name
        path.write_text(body, encoding="utf-8")
        return path

    return write


def refused(function: Callable[..., Any], *args: Any) -> UserError:
    with pytest.raises(UserError) as caught:
        function(*args)
    return caught.value


def message(path: Path, body: str) -> tuple[str, str, str]:
    """Return message, place and code of what importing a file with this body is refused with."""
    path.write_text(body, encoding="utf-8")
    error = refused(load_attribute, f"{path}:f")
    return error.message, error.where, error.code


# --- what it raises --------------------------------------------------------------------------------------------

RAISED = {
    "raise ValueError('bad  \\n value')": "raised ValueError: bad value",
    "raise ValueError": "raised ValueError",
    "raise BaseException('b')": "raised BaseException: b",
    "raise GeneratorExit": "raised GeneratorExit",
    "raise StopIteration": "raised StopIteration",
    "1 / 0": "raised ZeroDivisionError: division by zero",
    "import nosuchmodule": "raised ModuleNotFoundError: No module named 'nosuchmodule'",
    "import json; json.loads('{')": (
        "raised JSONDecodeError: Expecting property name enclosed in double quotes: line 1 column 2 (char 1)"
    ),
    "f = lambda: f(); f()": "never stopped calling itself",
    "raise MemoryError": "ran out of memory",
    "input()": "raised EOFError: EOF when reading a line",
    "raise ExceptionGroup('g', [ValueError()])": "raised ExceptionGroup: g (1 sub-exception)",
}
EXITED = {
    "import sys; sys.exit(0)": "called exit(0)",
    "import sys; sys.exit('bye')": "called exit('bye')",
    "exit()": "called exit(None)",
    "raise SystemExit(3)": "called exit(3)",
    "import os; os._exit(0)": "called exit(0)",
    "import os; os.execv('/bin/true', ['true'])": "called exit('os.execv')",
    "import os; os.execlp('true', 'true')": "called exit('os.execv')",
    "import argparse; p = argparse.ArgumentParser(); p.add_argument('x'); p.parse_args()": "called exit(2)",
}


@pytest.mark.parametrize("body", RAISED | EXITED)
def test_a_file_that_fails_while_it_is_imported(body: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", os.fdopen(os.dup(0)))
    path = tmp_path / "user.py"
    said, where, code = message(path, f"'''first line'''\n{body}\n")
    sys.stdin.close()
    assert said == f"{path}, while it was imported, {(RAISED | EXITED)[body]}"
    assert where == f"{path}:2"
    memory = "out-of-memory" if "MemoryError" in body else "user-code-failed"
    assert code == ("user-code-exited" if body in EXITED else memory)


def test_ctrl_c_passes_through() -> None:
    def interrupted() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        user_code.call("f", interrupted)


@pytest.mark.parametrize(
    ("body", "said", "place"),
    [
        ("x = 1\ndef f(:\n", "invalid syntax", "2:7"),
        ("if True:\npass\n", "expected an indented block after 'if' statement on line 1", "2:1"),
        ("x = 'a\n", "unterminated string literal (detected at line 1)", "1:5"),
    ],
)
def test_a_syntax_error_names_its_place(body: str, said: str, place: str, tmp_path: Path) -> None:
    path = tmp_path / "user.py"
    wanted = (f"{path}, while it was imported, has a syntax error: {said}", f"{path}:{place}", "user-code-failed")
    assert message(path, body) == wanted


def test_the_place_is_the_innermost_line_of_the_user(user_file: Write) -> None:
    user_file("def g(t):\n    t.normal_(std=-1)\n", "helper.py")
    path = user_file("import helper\n\ndef f(t):\n    helper.g(t)\n")
    sys.path.insert(0, str(path.parent))
    try:
        function = load_attribute(f"{path}:f")
    finally:
        sys.path.remove(str(path.parent))
    error = refused(user_code.call, "f", function, torch.zeros(2))
    assert error.where == f"{path.parent / 'helper.py'}:2"
    assert error.message == "f raised RuntimeError: normal expects std >= 0.0, but found std -1"


def test_a_text_that_cannot_be_shown_and_one_of_100_kb(user_file: Write) -> None:
    path = user_file("class E(Exception):\n    def __str__(self): raise ValueError\ndef f(): raise E\n")
    error = refused(user_code.call, "f", load_attribute(f"{path}:f"))
    assert error.message == "f raised E: (a E that cannot be shown)"

    def long() -> None:
        raise ValueError("x" * 100_000)

    error = refused(user_code.call, "f", long)
    assert error.message == f"f raised ValueError: {'x' * 1000}… (100,000 characters)"


# --- what is not there -----------------------------------------------------------------------------------------


def test_what_is_missing_is_told_apart_from_what_fails(user_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    path = user_file("import nosuchmodule\n")
    user_file("def initialise_(t): ...\nclass A:\n    b = 1\n", "good.py")
    monkeypatch.chdir(path.parent)
    name = "the name is a module's, as in an import statement, or a path that ends in .py"
    cases = {
        "usr.py:f": ("no such file: usr.py", "did you mean 'user.py'?", "no-such-file"),
        "no/user.py:f": ("no such file: no/user.py", "", "no-such-file"),
        "usr:f": ("no module named 'usr'", "did you mean 'user'?", "no-such-module"),
        "good.sub:f": ("no module named 'good.sub'", name, "no-such-module"),
        "a/b:f": ("'a/b' is not a module's name", name, "no-such-module"),
        "good.py:initialize_": (
            "good.py has no attribute 'initialize_'",
            "did you mean 'initialise_'?",
            "no-such-attribute",
        ),
        "good:A.c": ("good has no attribute 'c'", "it has: b", "no-such-attribute"),
        "good:A.b.c": ("good has no attribute 'c'", "it has no names of its own", "no-such-attribute"),
        "good:zzz": ("good has no attribute 'zzz'", "it has: initialise_, A", "no-such-attribute"),
    }
    for reference, wanted in cases.items():
        error = refused(load_attribute, reference)
        assert (error.message, error.hint, error.code) == wanted
        assert error.where == reference
    failed = refused(load_attribute, "user:f")
    assert failed.message == "user, while it was imported, raised ModuleNotFoundError: No module named 'nosuchmodule'"
    assert (failed.where, failed.code) == (f"{path}:1", "user-code-failed")
    os.mkdir("folder.py")  # noqa: PTH102
    assert refused(load_attribute, "folder.py:f").message == "folder.py is a folder, not a file"


def test_looking_an_attribute_up_is_contained_too(user_file: Write) -> None:
    path = user_file("import sys\ndef __getattr__(name):\n    print(name)\n    sys.exit(0)\n")
    error = refused(load_attribute, f"{path}:f")
    assert error.message == f"{path}:f, while it was looked up, called exit(0)"


# --- loading ---------------------------------------------------------------------------------------------------


def test_a_file_is_run_once_and_leaves_nothing_beside_it(user_file: Write, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also one that makes dataclasses, whose module has to be found by name, and one called like a module of ours."""
    body = (
        "from __future__ import annotations\nfrom dataclasses import dataclass, field\nimport beside\n"
        "COUNT = []\nCOUNT.append(1)\n@dataclass\nclass D:\n    x: list[int] = field(default_factory=list)\n"
        "def f(): return COUNT\ndef g(): COUNT.append(2); return COUNT\n"
    )
    monkeypatch.setattr(sys, "dont_write_bytecode", False)
    monkeypatch.setattr(sys, "pycache_prefix", None)
    path = user_file(body, "torch.py")
    user_file("", "beside.py")
    sys.path.insert(0, str(path.parent))
    try:
        f, g = load_attribute(f"{path}:f"), load_attribute(f"{path}:g")
    finally:
        sys.path.remove(str(path.parent))
    g()
    assert f() == [1, 2]
    assert sys.modules["torch"] is torch
    assert sorted(entry.name for entry in path.parent.iterdir()) == ["beside.py", "torch.py"]


def test_a_file_that_changed_is_run_again(user_file: Write) -> None:
    path = user_file("def f(): return 1\n")
    assert load_attribute(f"{path}:f")() == 1
    user_file("def f(): return 1000\n")
    assert load_attribute(f"{path}:f")() == 1000


# --- what it changes -------------------------------------------------------------------------------------------


def state() -> dict[str, Any]:
    """Return what the user's code must not change for us."""
    return {
        "folder": Path.cwd(),
        "path": list(sys.path),
        "argv": list(sys.argv),
        "bytecode": sys.dont_write_bytecode,
        "filters": list(warnings.filters),
        "showwarning": warnings.showwarning,
        "signals": [signal.getsignal(n) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)],
        "dtype": torch.get_default_dtype(),
        "device": torch.get_default_device(),
        "gradients": torch.is_grad_enabled(),
        "endings": [os._exit, os.execv, os.execve],
        "stdout": sys.stdout,
        "stdin": os.fstat(0).st_ino,
        "one": os.fstat(1).st_ino,
    }


CHANGES = {
    "folder": "os.chdir('/')",
    "path": "sys.path.insert(0, '/nowhere')",
    "path replaced": "sys.path = ['/nowhere']",
    "argv": "sys.argv.append('x')",
    "bytecode": "sys.dont_write_bytecode = False",
    "filters": "warnings.simplefilter('ignore')",
    "showwarning": "warnings.showwarning = print",
    "signals": "[signal.signal(n, signal.SIG_IGN) for n in (signal.SIGINT, signal.SIGTERM, signal.SIGPIPE)]",
    "dtype": "torch.set_default_dtype(torch.float64)",
    "device": "torch.set_default_device('meta')",
    "gradients": "torch.set_grad_enabled(False)",
    "endings": "os._exit = print",
    "stdout": "sys.stdout = open(os.devnull, 'w')",
    "stdout closed": "sys.stdout.close()",
    "stdin": "os.close(0)",
    "one": "os.close(1)",
}


@pytest.mark.parametrize("name", CHANGES)
@pytest.mark.parametrize("ending", ["", "; raise ValueError"])
@pytest.mark.filterwarnings("ignore::ResourceWarning")
def test_everything_is_as_before(name: str, ending: str, user_file: Write) -> None:
    path = user_file(f"import os, sys, signal, torch, warnings\ndef f():\n    {CHANGES[name]}{ending}\n")
    function = load_attribute(f"{path}:f")
    before = state()
    if ending:
        assert refused(user_code.call, "f", function).message == "f raised ValueError"
    else:
        user_code.call("f", function)
    assert state() == before


def test_torchs_defaults_are_as_before_when_the_users_file_imports_torch_first(tmp_path: Path) -> None:
    """The file is imported before the model is built: its default dtype would be the model's."""
    body = "import torch\ntorch.set_default_dtype(torch.float64)\ntorch.set_default_device('meta')\n"
    (tmp_path / "u.py").write_text(f"{body}torch.set_grad_enabled(False)\ndef f(t): t.fill_(0.5)\n", "utf-8")
    ran = subprocess.run(
        [sys.executable, "-m", "paraminspect", "show", "mlp", "--scheme", "u.py:f", "--json"],
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
    )
    assert (ran.returncode, ran.stderr) == (0, b"")
    weight = json.loads(ran.stdout)["parameters"][0]
    assert (weight["dtype"], weight["device"], weight["gradient"]["status"]) == ("float32", "cpu", "ok")


def test_what_the_user_put_on_the_path_serves_the_users_later_imports_only(user_file: Write) -> None:
    path = user_file("import sys\nsys.path.insert(0, FOLDER)\ndef f():\n    import later_helper\n    return 7\n")
    folder = path.parent / "more"
    folder.mkdir()
    (folder / "later_helper.py").write_text("", encoding="utf-8")
    path.write_text(path.read_text("utf-8").replace("FOLDER", repr(str(folder))), "utf-8")
    function = load_attribute(f"{path}:f")
    assert str(folder) not in sys.path
    assert user_code.call("f", function) == 7
    assert str(folder) not in sys.path


def test_the_defaults_that_the_user_set_serve_the_users_later_code_only() -> None:
    def now() -> tuple[torch.dtype, torch.device]:
        return torch.get_default_dtype(), torch.get_default_device()

    ours = now()
    user_code.call("f", torch.set_default_dtype, torch.float64)
    assert (now(), user_code.call("f", now)) == (ours, (torch.float64, torch.device("cpu")))
    user_code.call("f", torch.set_default_device, "meta")
    assert (now(), user_code.call("f", now)) == (ours, (torch.float64, torch.device("meta")))
    user_code.forget()
    assert user_code.call("f", now) == ours


@pytest.fixture
def spare_threads() -> Iterator[None]:
    """Fail a test that leaves a thread of its own behind."""
    before = threading.active_count()
    yield
    assert threading.active_count() <= before


@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
def test_os_exit_in_a_thread_ends_the_thread(user_file: Write, spare_threads: None) -> None:
    body = "import os, threading\ndef f():\n    t = threading.Thread(target=os._exit, args=(0,)); t.start(); t.join()\n"
    user_code.call("f", load_attribute(f"{user_file(body)}:f"))


@pytest.mark.filterwarnings("ignore:.*multi-threaded, use of fork:DeprecationWarning")
def test_children_may_end_as_children_do(user_file: Write) -> None:
    body = (
        "import os, subprocess, sys\n"
        "def f():\n"
        "    if not (child := os.fork()):\n"
        "        os._exit(7)\n"
        "    forked = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])\n"
        "    run = subprocess.run([sys.executable, '-c', 'import os; os._exit(3)'])\n"
        "    return forked, run.returncode, os.spawnv(os.P_WAIT, '/bin/sh', ['sh', '-c', 'exit 5'])\n"
    )
    assert user_code.call("f", load_attribute(f"{user_file(body)}:f")) == (7, 3, 5)


# --- stdout, as a whole process --------------------------------------------------------------------------------

QUIET = "def f(t): t.fill_(0.5)\n"
LOUD = """
import atexit, ctypes, os, signal, subprocess, sys, threading, time, warnings

print("import")
libc = ctypes.CDLL(None)
kept = sys.stdout


def shout():
    while True:
        print("thread")
        os.write(1, b"thread, below Python\\n")
        time.sleep(0.001)


def leave():
    while True:
        time.sleep(0.0005)
        try:
            os._exit(0)
        except SystemExit:
            pass


def f(t):
    threading.Thread(target=leave, daemon=True).start()
    print("print")
    kept.write("kept\\n")
    sys.__stdout__.write("the original"); sys.__stdout__.flush()
    os.write(1, b"write")
    libc.puts(b"C"); libc.fflush(None)
    subprocess.run(["echo", "child"])
    warnings.warn("warning")
    assert sys.stdin.read() == ""
    os.chdir("/")
    atexit.register(print, "atexit")
    atexit.register(os._exit, 0)
    threading.Thread(target=shout, daemon=False).start()
    if not os.fork():
        return
    t.fill_(0.5)
    time.sleep(0.05)
"""


def test_nothing_it_does_reaches_stdout(tmp_path: Path, run: Run) -> None:
    """Prints at every level, from a thread that never ends and from a child that runs on, and more."""
    (tmp_path / "quiet.py").write_text(QUIET, encoding="utf-8")
    (tmp_path / "loud.py").write_text(LOUD, encoding="utf-8")
    (tmp_path / "one.yaml").write_text("layers: [{Linear: [2, 2]}]\ninput: [1, 2]\n", encoding="utf-8")
    start = time.perf_counter()
    loud = subprocess.run(
        [sys.executable, "-m", "paraminspect", "show", "one.yaml", "--scheme", "loud.py:f", "--json"],
        input=b"not for you",
        capture_output=True,
        check=False,
        cwd=tmp_path,
        env=environment(),
        timeout=60,
    )
    assert loud.returncode == 0, loud.stderr
    assert time.perf_counter() - start < 30
    quiet = run("show", tmp_path / "one.yaml", "--scheme", f"{tmp_path / 'quiet.py'}:f", "--json").report
    report = json.loads(loud.stdout)
    for one in (report, quiet):
        one["source"] = None
        one["parameters"][0]["init"] = one["initialisation"] = None
    assert report == quiet
    for word in (b"import", b"print", b"kept", b"the original", b"write", b"C\n", b"child", b"thread"):
        assert word in loud.stderr
    assert b"atexit" not in loud.stderr


def test_in_this_process_stdout_is_given_back(run: Run, user_file: Write) -> None:
    path = user_file("import os\ndef f(t):\n    print('stray')\n    os.write(1, b'low')\n    t.fill_(0.5)\n")
    first = run("init", "mlp", "--scheme", f"{path}:f", "--json")
    assert first.code == 0
    assert first.report["errors"] == []
    assert "stray" in first.err and "low" in first.err
    print("mine")
    assert run("schemes", "normal").out.startswith("normal(")


@pytest.mark.parametrize(
    ("body", "said"),
    [
        ("def f(t): import sys; sys.exit(0)", "called exit(0)"),
        ("def f(t): import os; os._exit(0)", "called exit(0)"),
        ("def f(t): raise BaseException('\\x1b[2J\\u202e\\nerror: forged')", "raised BaseException: {}"),
    ],
)
def test_what_it_raises_is_one_harmless_message(body: str, said: str, user_file: Write, run: Run) -> None:
    path = user_file(body + "\n")
    ran = run("init", "mlp", "--scheme", f"{path}:f")
    text = said.format("\\x1b[2J\\u202e error: forged")
    assert (ran.code, ran.out) == (2, "")
    assert ran.err == f"error: {path}:1: {path}:f on parameter '0.weight' {text}\n"
