"""What SOURCE is: a file, a built-in name, or something no source can read. Nothing here imports torch."""

from __future__ import annotations

import os
from dataclasses import field
from pathlib import Path
from typing import Any

from paraminspect.errors import UserError
from paraminspect.frozen import dataclass
from paraminspect.isolation.importing import check_target, file_of, is_reference, must_name_something
from paraminspect.isolation.user_code import forget
from paraminspect.sources.checkpoint_name import CHECKPOINTS, is_checkpoint
from paraminspect.sources.hub_names import of_a_saved_model, of_the_hub
from paraminspect.sources.source_slips import defined_in, hint_for, meant, other_format
from paraminspect.spec.model import Spec
from paraminspect.spec.parse import parse_spec
from paraminspect.spec.text import SUFFIXES, read_source

DEFAULT = "mlp"


@dataclass(frozen=True)
class Reference:
    """Python code that makes a module, as ``pkg.mod:attr`` or ``path/file.py:attr``, and the arguments for it."""

    text: str
    args: dict[str, Any] = field(default_factory=dict)

    @property
    def path(self) -> str | None:
        """Return the file, None where it is a module of Python's search path."""
        target = self.text.rpartition(":")[0]
        return target if target.endswith(".py") else None


@dataclass(frozen=True)
class CheckpointPath:
    """A checkpoint: a file, a folder, or a URL."""

    text: str


def find(source: str) -> Spec | Reference | CheckpointPath:
    """Return what SOURCE is: a spec, read and validated, a reference to Python code, not yet run, or a checkpoint.

    A spec is a file, ``-``, or a built-in name (a file of that name wins). Raises UserError when there is no such
    thing, or it is of a kind that cannot be read.
    """
    forget()  # what the code of an earlier SOURCE has set for its own later code
    if is_reference(source) and not os.path.lexists(source) and not source.endswith(SUFFIXES) and "://" not in source:
        _check_target(source)
        return Reference(source)
    if is_checkpoint(source):
        return CheckpointPath(source)
    return _load_spec(source)


def _load_spec(source: str) -> Spec:
    if not source:
        raise UserError("SOURCE is empty", hint=f"built-in: {', '.join(builtin_names())}", code="no-such-file")
    if source in builtin_names() and not Path(source).is_file():
        return parse_spec(read_source(str(_folder() / f"{source}.yaml")), f"{source}.yaml")
    if source == "-":
        return parse_spec(read_source("-"), "-")
    _refuse_hub(source)
    _refuse_code(source)
    _refuse_other_kinds(source)
    return parse_spec(read_source(source), source, source)


def builtin_names() -> tuple[str, ...]:
    """Return the names of the specs shipped with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def _folder() -> Path:
    """Return the folder of shipped specs: inside an installed package, beside it in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _check_target(source: str) -> None:
    try:
        check_target(source)
    except UserError as error:
        found = meant(source)
        hint = f"did you mean {found}?" if found else error.hint
        raise UserError(error.message, where=error.where, hint=hint, code=error.code) from error


def _refuse_other_kinds(source: str) -> None:
    """Refuse what no file's content has to be read for; `read_source` refuses the rest."""
    is_missing = not os.path.lexists(source)
    if source.endswith(CHECKPOINTS) or ("://" in source and is_missing):
        message = "checkpoint files cannot be read by this version"
        hint = other_format(source) or "give a spec (.yaml, .json)"
        raise UserError(message, where=source, hint=hint, code="unsupported-source")
    if other_format(source):
        message = f"{Path(source).suffix} files cannot be read"
        raise UserError(message, where=source, hint=other_format(source), code="unsupported-source")
    if is_missing and not source.endswith(SUFFIXES) and (Path(source).name == source or meant(source)):
        message = "no such file, and no built-in spec has this name"
        raise UserError(message, where=source, hint=hint_for(source, builtin_names()), code="no-such-file")
    if not is_missing and Path(source).is_dir():
        within = [f"{Path(source) / file}:{names[0]}" for file, names in defined_in(source) if names]
        if within:
            classes = [one for one in within if one.rpartition(":")[2][:1].isupper()]
            hint = f"name what is in it, for example: {(classes or within)[0]}"
            raise UserError("is a folder, not a file", where=source, hint=hint, code="unreadable-spec")


def _refuse_hub(source: str) -> None:
    """Refuse what is of Hugging Face: a folder or a file that transformers has written, ``org/name``, an address."""
    if os.path.lexists(source):
        saved = of_a_saved_model(source)
        if saved:
            what = "folder with a model" if Path(source).is_dir() else "configuration"
            raise UserError(
                f"is a {what} of transformers, not a spec", where=source, hint=saved, code="unreadable-spec"
            )
    elif "/" in source and not meant(source) and (hub := of_the_hub(source)):
        folder = "" if "://" in source else f"there is no folder {source.rstrip('/').rpartition('/')[0]!r}\n"
        hint = f"{folder}a model of Hugging Face's hub, which is downloaded: {hub}"
        raise UserError("no such file", where=source, hint=hint, code="no-such-file")


def _refuse_code(source: str) -> None:
    """Refuse Python code that is named without what is in it, or with more than a name."""
    target, colon, rest = source.rpartition(":")
    if not rest and target.endswith(".py") and Path(target).is_file():
        raise must_name_something(target, Path(target))
    if colon and (target.endswith(".py") or ".py:" in target) and not os.path.lexists(source):
        found = meant(source)
        hint = f"did you mean {found}?" if found else f"write {target}:NAME; arguments go to --arg"
        raise UserError(f"{rest!r} is not a name", where=source, hint=hint, code="no-attribute-named")
    path = Path(source) if source.endswith(".py") else None if os.path.lexists(source) else file_of(source)
    if path is not None and path.is_file():
        raise must_name_something(source, path)
