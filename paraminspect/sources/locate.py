"""What SOURCE is: a file, a built-in name, or something no source can read. Nothing here imports torch."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from paraminspect.errors import UserError, did_you_mean
from paraminspect.guard import is_reference
from paraminspect.spec.model import Spec
from paraminspect.spec.parse import parse_spec
from paraminspect.spec.text import read_source

DEFAULT = "mlp"
_SPECS = (".yaml", ".yml", ".json")
_CHECKPOINTS = (".safetensors", ".safetensors.index.json", ".pt", ".pth", ".bin", ".ckpt")


def load_spec(source: str) -> Spec:
    """Read and validate the spec that SOURCE names: a file, ``-``, or a built-in name (a file of that name wins).

    Raises UserError when there is no such thing, or it is of a kind that cannot be read.
    """
    if not source:
        raise UserError("SOURCE is empty", hint=f"built-in: {', '.join(builtin_names())}", code="no-such-file")
    path = Path(source)
    if source != "-" and not path.is_file() and source in builtin_names():
        return parse_spec(read_source(str(_folder() / f"{source}.yaml")), f"{source}.yaml")
    _refuse_other_kinds(source)
    return parse_spec(read_source(source), source, None if source == "-" else source)


def builtin_names() -> tuple[str, ...]:
    """Return the names of the specs shipped with the package."""
    return tuple(sorted(path.stem for path in _folder().glob("*.yaml")))


def _folder() -> Path:
    """Return the folder of shipped specs: inside an installed package, beside it in a source checkout."""
    package = Path(__file__).resolve().parent.parent
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


def _refuse_other_kinds(source: str) -> None:
    path = Path(source)
    if source == "-" or (path.exists() and source.endswith(_SPECS) and not source.endswith(_CHECKPOINTS)):
        return
    if source.endswith(_CHECKPOINTS) or "://" in source:
        message = "checkpoint files cannot be read by this version"
        raise UserError(message, where=source, hint="give a spec (.yaml, .json)", code="unsupported-source")
    if not path.exists() and is_reference(source) and not source.endswith(_SPECS):
        message = "modules (module:attribute) cannot be read by this version"
        raise UserError(message, where=source, hint="give a spec (.yaml, .json)", code="unsupported-source")
    if path.is_dir():
        hint = did_you_mean(source, _near(path / "x")) or "give the spec file inside it"
        raise UserError("is a folder, not a spec", where=source, hint=hint, code="not-a-file")
    if not path.exists() and not source.endswith(_SPECS):
        known = ", ".join(builtin_names())
        hint = did_you_mean(source, [*builtin_names(), *_near(path)]) or f"built-in: {known}"
        message = "no such file, and no built-in spec has this name"
        raise UserError(message, where=source, hint=hint, code="no-such-file")


def _near(path: Path) -> Iterator[str]:
    """Yield the specs in the folder where `path` would be."""
    folder = path.parent
    try:
        yield from (str(near) for near in sorted(folder.iterdir()) if near.suffix in _SPECS)
    except OSError:
        return
