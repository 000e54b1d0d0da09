"""Exit codes, signals and streams of the process itself."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from paraminspect import __version__
from tests.cases import each
from tests.cli.conftest import Tool, environment, forked

Ended = dict[tuple[str, ...], tuple[int, bytes, bytes]]
FakeTorch = Callable[[str], dict[str, str]]
NO_SPACE = b"error: stdout: cannot write the output: no space left on device\n"
CLOSED = b"error: stdout: standard output is closed\n"


def outcome(ran: subprocess.CompletedProcess[bytes]) -> tuple[int, bytes, bytes]:
    return ran.returncode, ran.stdout, ran.stderr


def test_version(tool: Tool) -> None:
    assert outcome(tool("--version")) == (0, f"paraminspect {__version__}\n".encode(), b"")


# --- signals ---------------------------------------------------------------------------------------------------

ASLEEP = "import sys, time\nprint('asleep', file=sys.stderr, flush=True)\ntime.sleep(60)\n"


def signalled(argv: list[str], number: int, env: dict[str, str], cwd: Path) -> tuple[int, bytes, bytes]:
    """Start the tool, wait until it says it is asleep, send the signal; return code, stdout, stderr."""
    command = [sys.executable, "-m", "paraminspect", *argv]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdout=pipe, stderr=pipe, env=environment(**env), cwd=cwd) as process:
        assert process.stderr is not None
        assert process.stderr.readline() == b"asleep\n"
        process.send_signal(number)
        out, err = process.communicate(timeout=10)
    return process.returncode, out, err


@pytest.mark.usefixtures("heard")
@pytest.mark.parametrize(("number", "code"), [(signal.SIGINT, 130), (signal.SIGTERM, 143)])
def test_a_signal_while_torch_is_imported(number: int, code: int, fake_torch: FakeTorch, tmp_path: Path) -> None:
    assert signalled(["show", "mlp"], number, fake_torch(ASLEEP), tmp_path) == (code, b"", b"")


@pytest.mark.usefixtures("heard")
def test_ctrl_c_while_the_users_code_runs(tmp_path: Path) -> None:
    (tmp_path / "slow.py").write_text(ASLEEP, encoding="utf-8")
    assert signalled(["init", "mlp", "--scheme", "slow.py:f"], signal.SIGINT, {}, tmp_path) == (130, b"", b"")


@pytest.mark.usefixtures("heard")
def test_ctrl_c_during_the_forward(tmp_path: Path) -> None:
    code = (
        "import os, signal, sys, time\n"
        "import paraminspect.experiments.measured_run as measured_run\n"
        "def forward(*args, **kwargs):\n"
        "    os.kill(os.getpid(), signal.SIGINT)\n"
        "    time.sleep(60)\n"
        "measured_run.run_passes = forward\n"
        "from paraminspect.__main__ import main\n"
        "sys.argv[1:] = ['show', 'mlp', '--json']\n"
        "main()\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment(), timeout=60)
    assert outcome(ran) == (130, b"", b"")


def test_an_ignored_ctrl_c_stays_ignored(fake_torch: FakeTorch, tmp_path: Path) -> None:
    """A job in the background of a script, or under nohup, is started with SIGINT ignored."""
    env = environment(**fake_torch("import os, signal\nos.kill(os.getpid(), signal.SIGINT)\nraise ImportError('no')\n"))
    command = ["sh", "-c", 'trap "" INT; exec "$0" -m paraminspect show mlp', sys.executable]
    ran = subprocess.run(command, capture_output=True, check=False, env=env, timeout=60)
    hint = b"  install it anew: https://pytorch.org/get-started/locally/\n"
    assert outcome(ran) == (2, b"", b"error: torch cannot be imported: no\n" + hint)


@pytest.mark.parametrize(
    ("body", "code"), [("rows = [[] for _ in range(1000)]\n", "frozen"), ("raise KeyboardInterrupt\n", 130)]
)
def test_torch_is_imported_with_the_garbage_collector_at_rest(body: str, code: object, fake_torch: FakeTorch) -> None:
    check = (
        "import gc, sys\n"
        "from paraminspect.cli import app\nfrom paraminspect.sources import setup\n"
        "interrupted = app.main(['show', 'mlp']) if {interrupts} else setup.import_torch()\n"
        "frozen = gc.get_freeze_count()\n"
        "setup.import_torch() if not {interrupts} else None\n"
        "assert gc.isenabled() and gc.get_freeze_count() == frozen\n"
        "print(interrupted or ('frozen' if frozen > 1000 and not sys.modules['torch'].ENABLED else 'not'), end='')\n"
    ).replace("{interrupts}", str(code == 130))
    env = environment(**fake_torch(f"import gc\nENABLED = gc.isenabled()\n{body}"))
    ran = subprocess.run([sys.executable, "-c", check], capture_output=True, check=False, env=env, timeout=60)
    assert outcome(ran) == (0, str(code).encode(), b"")


# --- stdout ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "argv", [["--help"], ["--version"], ["show", "-h"], ["--show-completion", "bash"], ["schemes"]]
)
def test_a_reader_that_is_gone_is_141_and_silence(argv: list[str], tool: Tool) -> None:
    read, write = os.pipe()
    os.close(read)
    try:
        ran = tool(*argv, stdout=write)
    finally:
        os.close(write)
    assert (ran.returncode, ran.stderr) == (141, b"")


def test_a_reader_that_leaves_a_long_table_is_141_and_silence(tmp_path: Path) -> None:
    (tmp_path / "long.yaml").write_text("layers: [{Repeat: {times: 600, layers: [Linear: [2, 2]]}}]\n", "utf-8")
    script = (
        f'{sys.executable} -m paraminspect show long.yaml --no-forward --no-fold | head -1; echo "${{PIPESTATUS[0]}}"'
    )
    ran = subprocess.run(
        ["bash", "-c", script], capture_output=True, check=False, cwd=tmp_path, env=environment(), timeout=60
    )
    first, code = ran.stdout.decode().splitlines()
    assert first
    assert (code, ran.stderr) == ("141", b"")


@pytest.mark.skipif(not Path("/dev/full").exists(), reason="no /dev/full")
@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["schema", "report"], ["--show-completion", "bash"]])
def test_a_full_stdout_is_2_with_a_message(argv: list[str], tool: Tool) -> None:
    with Path("/dev/full").open("wb") as full:
        ran = tool(*argv, stdout=full)
    assert (ran.returncode, ran.stderr) == (2, NO_SPACE)


def in_a_shell(redirection: str, argv: str, cwd: Path) -> tuple[int, bytes, bytes]:
    command = ["sh", "-c", f'exec "$0" -m paraminspect {argv} {redirection}', sys.executable]
    return outcome(subprocess.run(command, capture_output=True, check=False, cwd=cwd, env=environment(), timeout=60))


@pytest.mark.parametrize(
    "argv", ["--help", "--version", "schema report", "--show-completion bash", "schemes nope --json"]
)
def test_a_closed_stdout_is_2_with_a_message(argv: str, tmp_path: Path) -> None:
    code, out, err = in_a_shell(">&-", argv, tmp_path)
    assert (code, out) == (2, b"")
    assert err == CLOSED if "nope" not in argv else err.startswith(b"error: schemes: unknown scheme 'nope'\n")


def test_a_closed_stdin_is_2_with_a_message(tmp_path: Path) -> None:
    assert in_a_shell("<&-", "show -", tmp_path) == (2, b"", b"error: -: standard input is closed\n")


@pytest.mark.parametrize(
    ("argv", "code"), [("show nosuch", 2), ("schemes normal", 0), ("", 2), ("show nosuch --json", 2)]
)
def test_a_closed_stderr_is_no_crash(argv: str, code: int, tmp_path: Path) -> None:
    got, out, err = in_a_shell("2>&-", argv, tmp_path)
    assert (got, err) == (code, b"")
    assert bool(out) == (code == 0 or "--json" in argv)


def test_a_closed_stdout_is_not_replaced_by_the_next_file_opened(tmp_path: Path) -> None:
    """Descriptor 1 would be the spec, or the user's own file opened for writing."""
    (tmp_path / "c.py").write_text("import os\nf = open('mine', 'w')\nos.write(1, b'stray')\n", "utf-8")
    in_a_shell(">&-", "init mlp --scheme c.py:f", tmp_path)
    assert (tmp_path / "mine").read_bytes() == b""


# --- the user's model ------------------------------------------------------------------------------------------

MODEL = """\
import os, sys
import torch
from torch import nn
print("import")
class Net(nn.Module):
    def __init__(self, does=""):
        super().__init__()
        self.layer = nn.Linear(2, 1)
        self.does = does
        os.write(1, b"build\\n")
    def forward(self, x):
        print("forward")
        exec(self.does)
        return self.layer(x)
def make(does):
    exec(does)
    return Net()
"""
ENDS = {
    "sys.exit(0)": "called exit(0)",
    "os._exit(0)": "called exit(0)",
    "os.execv('/bin/true', ['true'])": "called exit('os.execv')",
    "input()": "raised EOFError: EOF when reading a line",
}


COMMANDS = [
    ("show", "model.py:Net", "--json"),
    *(("show", "model.py:make", "--arg", f"does={json.dumps(does)}") for does in ENDS),
    *(("show", "model.py:Net", "--arg", f"does={json.dumps(does)}", "--json") for does in ENDS if does != "input()"),
]


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> Ended:
    """Return how each of the commands ended: its code, stdout and stderr."""
    folder = tmp_path_factory.mktemp("model")
    (folder / "model.py").write_text(MODEL, "utf-8")
    return dict(zip(COMMANDS, forked(folder, *COMMANDS), strict=True))


def test_what_a_model_prints_is_not_the_answer(ended: Ended) -> None:
    code, out, err = ended[COMMANDS[0]]
    assert code == 0
    source = {"kind": "module", "name": "model.py:Net", "path": "model.py"}
    assert json.loads(out)["source"].items() >= source.items()
    assert sorted(err.split()) == [b"build", b"forward", b"import"]


@each("does", ENDS)
def test_a_factory_that_ends_the_process_is_2_with_a_message(does: str, ended: Ended) -> None:
    code, out, err = ended["show", "model.py:make", "--arg", f"does={json.dumps(does)}"]
    assert (code, out) == (2, b"")
    said = [line for line in err.decode().splitlines() if line.startswith("error: ")]
    assert len(said) == 1
    assert said[0].endswith(f"model.py:16: model.py:make {ENDS[does]}")


@each("does", [does for does in ENDS if does != "input()"])
def test_a_forward_that_ends_the_process_is_2_with_the_table(does: str, ended: Ended) -> None:
    code, out, _ = ended["show", "model.py:Net", "--arg", f"does={json.dumps(does)}", "--json"]
    assert code == 2
    report = json.loads(out)
    assert [row["name"] for row in report["parameters"]] == ["layer.weight", "layer.bias"]
    (error,) = report["errors"]
    assert error["code"] == "forward-failed"


# --- words and locales that are not UTF-8 -----------------------------------------------------------------------

LOCALES = {
    "utf-8": {"LC_ALL": "C.UTF-8"},
    "ascii": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "ascii:strict"},
    "latin-1": {"LC_ALL": "C", "PYTHONUTF8": "0", "PYTHONCOERCECLOCALE": "0", "PYTHONIOENCODING": "latin-1:strict"},
}


@pytest.mark.parametrize("locale", LOCALES)
def test_bytes_that_are_no_text_are_shown_and_found(locale: str, tool: Tool, tmp_path: Path) -> None:
    name = b"\xff\x1b[2J.yaml"
    missing = tool("show", name, "--json", env=LOCALES[locale])
    assert (missing.returncode, missing.stderr) == (2, b"error: \\udcff\\x1b[2J.yaml: no such file\n")
    assert json.loads(missing.stdout)["errors"][0]["where"] == "\udcff\x1b[2J.yaml"
    (Path(os.fsdecode(bytes(tmp_path) + b"/" + name))).write_text("layers: [{Linaer: [1, 1]}]\n", "utf-8")
    found = tool("show", name, env=LOCALES[locale])
    assert (found.returncode, found.stdout) == (2, b"")
    assert found.stderr.startswith(b"error: \\udcff\\x1b[2J.yaml:1:11: ")


@pytest.mark.parametrize("argv", [["--help"], ["show", "--help"], ["schemes"], ["schema", "spec"]])
def test_an_ascii_stdout_takes_every_text(argv: list[str], tool: Tool) -> None:
    ran = tool(*argv, env=LOCALES["ascii"])
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.isascii()


def test_an_ascii_stdout_takes_the_table(tool: Tool, tmp_path: Path) -> None:
    text = "name: é\nlayers: [{Linear: [2, 2], name: ü}]\ninput: [1, 2]\n"
    (tmp_path / "é.yaml").write_text(text, "utf-8")
    ran = tool("show", "é.yaml".encode(), env=LOCALES["ascii"])
    assert (ran.returncode, ran.stderr) == (0, b"")
    assert ran.stdout.startswith(b"\\xe9: Sequential")
    assert b"\n\\xfc.weight " in ran.stdout


# --- what nobody expects ---------------------------------------------------------------------------------------


@pytest.mark.parametrize("flag", [[], ["--debug"]])
def test_a_broken_installation_is_2(flag: list[str], tmp_path: Path) -> None:
    (tmp_path / "typer.py").write_text("raise RuntimeError('broken \\x1b')\n", "utf-8")
    root = str(Path(__file__).resolve().parents[2])
    env = environment(PYTHONPATH=os.pathsep.join([str(tmp_path), root]))
    command = [sys.executable, "-m", "paraminspect", "--help", *flag]
    ran = subprocess.run(command, capture_output=True, check=False, env=env, timeout=60)
    assert (ran.returncode, ran.stdout) == (2, b"")
    if flag:
        assert ran.stderr.startswith(b"Traceback (most recent call last):\n")
    else:
        assert ran.stderr == b"error: internal error: RuntimeError: broken \\x1b\n"


def test_an_unexpected_exception_is_2_not_1(tmp_path: Path) -> None:
    code = (
        "import paraminspect.cli.session as session\n"
        "from paraminspect.cli.app import main\n"
        "for error in (SystemExit(0), EOFError(), OSError(32, 'pipe'), GeneratorExit(), KeyError('k')):\n"
        "    def prepare(*args, **options):\n"
        "        raise error\n"
        "    session.prepare = prepare\n"
        "    print(main(['show']))\n"
    )
    ran = subprocess.run([sys.executable, "-c", code], capture_output=True, check=False, env=environment(), timeout=60)
    assert ran.stdout == b"2\n" * 5
    hint = "  this is a bug in paraminspect; --debug shows the traceback\n"
    texts = ("SystemExit: 0", "EOFError:", "BrokenPipeError: [Errno 32] pipe", "GeneratorExit:", "KeyError: 'k'")
    said = [line for line in ran.stderr.decode().splitlines(keepends=True) if line != "\n"]
    assert "".join(said) == "".join(f"error: internal error: {text}\n{hint}" for text in texts)


# --- speed -----------------------------------------------------------------------------------------------------

LIGHT = [["--help"], ["--version"], ["show", "--help"], ["show", "nosuch.yaml"], ["show", "--sed", "1"], ["schemes"]]
LIGHT += [["show", "nosuch.py:f"], ["show", "nosuch:f"], ["show", "there.py"]]
HERE = ["show", "there.py:net"]  # not run as long as anything else is wrong
LIGHT += [[*HERE, "--loss", "x"], [*HERE, "--input", "x"], [*HERE, "--arg", "x"], [*HERE, "--scheme", "x"]]
LIGHT += [[*HERE, "--seed", "-1"], [*HERE, "--device", "x"], [*HERE, "--top", "0"], [*HERE, "--loss", "no.py:f"]]


def test_what_needs_no_torch_imports_neither_torch_nor_rich_nor_pydantic(tmp_path: Path) -> None:
    (tmp_path / "typo.yaml").write_text("layers: [{Linaer: [4, 3]}]\n", "utf-8")
    (tmp_path / "there.py").write_text("import torch\n", "utf-8")
    code = (
        "import sys, contextlib, io\n"
        "from paraminspect.cli.app import main\n"
        f"for argv in {LIGHT}:\n"
        "    main(argv)\n"
        "    heavy = {'torch', 'numpy', 'rich', 'pydantic', 'ruamel'} & {*sys.modules}\n"
        "    assert not heavy, (argv, heavy)\n"
        "assert main(['show', 'typo.yaml', '--seed', '1', '-f', 'csv', '--params', '*']) == 2\n"
        "assert main(['show', 'mlp', '--loss', 'nosuch.py:f']) == 2\n"
        "heavy = {'torch', 'numpy', 'rich', 'pydantic'} & {*sys.modules}\n"
        "assert not heavy, heavy\n"
    )
    ran = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, check=False, cwd=tmp_path, env=environment(), timeout=60
    )
    assert ran.returncode == 0, ran.stderr.decode()
    assert b"error: typo.yaml:1:11: " in ran.stderr


def test_importing_the_package_imports_no_torch() -> None:
    code = "import sys, paraminspect; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False, timeout=60).returncode == 0


@pytest.mark.parametrize("argv", [["--help"], ["--version"], ["show", "nosuch.yaml"]])
def test_the_light_commands_take_a_fraction_of_a_second(argv: list[str], tool: Tool) -> None:
    """Of the processor's time, whatever else it does. A loose bound: importing torch alone takes longer."""
    best = 9.0
    for _ in range(2):
        start = resource.getrusage(resource.RUSAGE_CHILDREN)
        tool(*argv)
        end = resource.getrusage(resource.RUSAGE_CHILDREN)
        best = min(best, end.ru_utime + end.ru_stime - start.ru_utime - start.ru_stime)
    assert best < 0.8
