"""What a person means by a SOURCE that is none: ``model.py::Net``, ``torchvision.models.resnet18``, a class alone.

Files are read, never run, and nothing is imported.
"""

from __future__ import annotations

import ast
import contextlib
import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from paraminspect.errors import did_you_mean
from paraminspect.isolation.importing import file_of, is_reference, names_defined_in
from paraminspect.sources.checkpoint_name import CHECKPOINTS
from paraminspect.sources.hub_names import of_the_hub
from paraminspect.spec.text import SUFFIXES, names_in

_MOST_FILES: Final = 200
_ZOOS: Final = ("torchvision.models", "torchvision.models.detection", "torchvision.models.segmentation")
_MODELS: Final = (".onnx", ".h5", ".keras", ".tflite", ".pb", ".gguf", ".engine", ".mlmodel", ".pkl", ".pickle", ".npz")
_OWN: Final = "a class or function of yours: path/file.py:NAME; of a package: package.module:NAME"


def meant(source: str) -> str:
    """Return what to type in the place of `source`, arguments included, or an empty text where it cannot be told."""
    if len(source) > 300:
        return ""
    tries = (_without_doubling, _called, _quoted, _dotted, _slashed, _of_this_folder, _alone, _of_a_zoo)
    return next(filter(None, (attempt(source.strip()) for attempt in tries)), "")


def hint_for(source: str, builtin: tuple[str, ...]) -> str:
    """Return the lines of help under an error about a SOURCE that there is not."""
    found = meant(source)
    if found:
        return f"did you mean {found}?"
    specs = [name for name in names_in(".") if name.endswith((*SUFFIXES, ".py"))]
    close = did_you_mean(source, [*builtin, *specs])
    if not close and "." in source and _is_dotted(source):
        module, _, name = source.rpartition(".")
        return f"what is in a module stands behind a colon: {module}:{name}; there is no module {module!r} here"
    hub = of_the_hub(source)
    if not close and hub:
        return f"a model of Hugging Face's hub, which is downloaded: {hub}\n{_OWN}"
    return close or f"{_OWN}\nbuilt-in: {', '.join(builtin)}"


def other_format(source: str) -> str:
    """Return what to do with a file that holds a model in another way than a spec, or an empty text."""
    if source.endswith(CHECKPOINTS):
        return f"name the model that the weights are for: path/file.py:NAME --weights {shlex.quote(source)}"
    if source.endswith(".ipynb"):
        return (
            "save the class in a .py file and name it, as file.py:NAME; in a notebook: paraminspect.inspect(model, x)"
        )
    return "name the Python that makes the model: path/file.py:NAME" if source.endswith(_MODELS) else ""


def defined_in(folder: str) -> Iterator[tuple[str, list[str]]]:
    """Yield the Python files of a folder, each with the names that it defines."""
    for name in [name for name in names_in(folder) if name.endswith(".py")][:_MOST_FILES]:
        yield name, names_defined_in(Path(folder) / name)


# --- one kind of slip each ---------------------------------------------------------------------------------------


def _without_doubling(source: str) -> str:
    single = re.sub(r"::+|:\s+", ":", source)
    return single if single != source and is_reference(single) else ""


def _called(source: str) -> str:
    """Read ``model.py:Net(width=8)``: the arguments go to ``--arg``."""
    target, parenthesis, rest = source.partition("(")
    if not parenthesis or not is_reference(target):
        return ""
    with contextlib.suppress(SyntaxError, ValueError, RecursionError, MemoryError):
        call = ast.parse(f"f({rest}", mode="eval").body
        if isinstance(call, ast.Call) and not call.args and all(keyword.arg for keyword in call.keywords):
            args = (f"{keyword.arg}={_yaml(ast.literal_eval(keyword.value))}" for keyword in call.keywords)
            return " ".join([target, *(f"--arg {shlex.quote(arg)}" for arg in args)])
    return f"{target} --arg NAME=VALUE"


def _yaml(value: object) -> str:
    return "null" if value is None else str(value).lower() if isinstance(value, bool) else str(value)


def _quoted(source: str) -> str:
    """Read ``"model.py:Net --arg depth=2"``, options and all in one pair of quotes."""
    first, space, _ = source.partition(" ")
    return source if space and " -" in source and is_reference(first) else ""


def _dotted(source: str) -> str:
    """Read ``model.py.Net`` and ``package.module.Net``: what is in a file or a module stands behind a colon."""
    file, dot, name = source.rpartition(".py.")
    if dot and _is_dotted(name):
        return f"{file}.py:{name}"
    parts = source.split(".")
    if not _is_dotted(source):
        return ""
    for count in range(len(parts) - 1, 0, -1):
        path = file_of(".".join(parts[:count]))
        if path is not None:
            return f"{'.'.join(parts[:count])}:{'.'.join(parts[count:])}"
    return ""


def _slashed(source: str) -> str:
    """Read ``folder/model/Net`` and ``folder/model.py/Net``."""
    file, slash, name = source.rpartition("/")
    file = f"{file.removesuffix('.py')}.py"
    return f"{file}:{name}" if slash and name.isidentifier() and Path(file).is_file() else ""


def _is_dotted(text: str) -> bool:
    return all(part.isidentifier() for part in text.split("."))


def _of_this_folder(source: str) -> str:
    """Read ``there/model.py:Net`` where there is no such folder, but ``model.py`` is here."""
    target, _, name = source.rpartition(":")
    here = Path(target).name
    is_elsewhere = target.endswith(".py") and here != target and not Path(target).exists() and Path(here).is_file()
    return f"{here}:{name}" if is_elsewhere else ""


def _alone(source: str) -> str:
    """Read ``Net``: a class or a function in a file of this folder."""
    if not source.isidentifier():
        return ""
    return next((f"{file}:{source}" for file, names in defined_in(".") if source in names), "")


def _of_a_zoo(source: str) -> str:
    """Read ``resnet18`` and ``timm/vit_tiny``: a model that a package has under that name."""
    package, slash, name = source.partition("/")
    if slash and package == "timm" and name:
        return f"timm:create_model --arg model_name={name}"
    if not source.isidentifier():
        return ""
    for zoo in _ZOOS:
        path = file_of(zoo)
        if path is not None and any(source in names for _, names in defined_in(str(path.parent))):
            return f"{zoo}:{source}"
    return ""
