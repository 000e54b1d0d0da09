"""Files that are written whole or not at all."""

from __future__ import annotations

import contextlib
import os
import secrets
import stat
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

from paraminspect.errors import UserError
from paraminspect.isolation.process import before_a_signal


def checked(path: str, suffixes: Sequence[str], option: str, overwrite: bool = True) -> Path:
    """Return the path of a file to be written, as far as it can be checked before the work begins.

    Raises UserError, placed at `option`, for another suffix than one of `suffixes`, a folder that does not exist or
    cannot be written to, what is no regular file, and one that is there already unless it is to be overwritten.
    """
    found = Path(path)
    if found.suffix.lower() not in suffixes:
        name = found.name.removesuffix(found.suffix).strip(".") or "FILE"
        hint = f"for example: {option} {found.parent / (name + suffixes[0])}"
        raise UserError(f"{path!r} does not end in {' or '.join(suffixes)}", where=option, hint=hint, code="bad-suffix")
    try:
        if not found.parent.is_dir():
            raise _refusal(path, f"there is no folder {str(found.parent)!r}", option)
        if found.is_symlink():
            raise _refusal(path, "it is a link; name the file itself", option)
        with contextlib.suppress(FileNotFoundError):
            if not stat.S_ISREG(found.stat().st_mode):
                raise _refusal(path, "it is no regular file", option)
            if not overwrite:
                hint = "--force overwrites it"
                raise UserError(f"{path!r} is there already", where=option, hint=hint, code="file-exists")
        if not os.access(found.resolve().parent, os.W_OK | os.X_OK):
            raise _refusal(path, "its folder cannot be written to", option)
    except OSError as error:  # a name too long, a loop of links
        raise _refusal(path, _reason(error), option) from error
    return found


def _refusal(path: str | Path, reason: str, where: str = "") -> UserError:
    return UserError(f"cannot write {str(path)!r}: {reason}", where=where, code="cannot-write")


def _reason(error: OSError) -> str:
    return (error.strerror or str(error) or type(error).__name__).lower()


@contextlib.contextmanager
def whole(path: Path) -> Iterator[Path]:
    """Yield a path in the same folder, with the same suffix, to write to; then it takes the place of `path` at once.

    A file that exists keeps its permissions, nothing is written through a link. If the body raises, or a signal ends
    the process, nothing is left behind and a file that was there stays as it was. Raises UserError where the system
    refuses.
    """
    try:
        if path.is_symlink():
            raise _refusal(path, "it is a link; name the file itself")
        target = path.resolve()
        temporary = target.with_name(f".{secrets.token_hex(8)}{target.suffix}")
        with before_a_signal(partial(_remove, temporary)):
            try:
                mode = _create(temporary, target)
                yield temporary
                temporary.chmod(mode)  # whoever wrote it may have put another file in its place
                _flush(temporary)
                temporary.replace(target)
            finally:
                _remove(temporary)
    except OSError as error:
        raise _refusal(path, _reason(error)) from error


def _create(temporary: Path, target: Path) -> int:
    """Make an empty file; return the permissions of the one it is to replace, or those of any new file."""
    os.close(os.open(temporary, os.O_CREAT | os.O_EXCL | os.O_WRONLY, 0o666))
    model = target if target.exists() else temporary
    return stat.S_IMODE(model.stat().st_mode)


def _flush(path: Path) -> None:
    """Wait until the file is on the disk: after a crash a name must not stand for half of it."""
    descriptor = os.open(path, os.O_RDWR)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(temporary: Path) -> None:
    with contextlib.suppress(OSError):
        temporary.unlink(missing_ok=True)
