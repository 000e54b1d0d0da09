from __future__ import annotations

import io
import os
import socket
import sys
from pathlib import Path

import pytest

from paraminspect.errors import UserError
from paraminspect.spec.text import MAX_BYTES, read_source


@pytest.fixture(autouse=True)
def _in_an_empty_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


def refusal(path: str) -> str:
    with pytest.raises(UserError) as caught:
        read_source(path)
    assert caught.value.code == "unreadable-spec"
    return str(caught.value)


class Stdin:
    """A standard input that holds `data`, or fails with it."""

    def __init__(self, data: bytes | Exception | None) -> None:
        self.buffer = self
        self.data = data
        self.asked = 0

    def read(self, size: int) -> bytes | None:
        self.asked = size
        if isinstance(self.data, Exception):
            raise self.data
        return self.data if self.data is None else self.data[:size]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"name: mlp\n", "name: mlp\n"),
        ("name: é😀".encode(), "name: é😀"),
        (b"\xef\xbb\xbfname: mlp", "name: mlp"),
        (b"a" * MAX_BYTES, "a" * MAX_BYTES),
        (b"version: https://git-lfs.github.com/spec/v1", "version: https://git-lfs.github.com/spec/v1"),
        (b"\x01\x02\x03\x04\x05\x06\x07\x08{", "\x01\x02\x03\x04\x05\x06\x07\x08{"),
    ],
    ids=["empty", "ascii", "utf-8", "byte order mark", "as large as can be", "not a pointer", "not safetensors"],
)
def test_text_is_returned_from_a_file_and_from_stdin(data: bytes, text: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.yaml").write_bytes(data)
    assert read_source("x.yaml") == text
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert read_source("-") == text


BAD_CONTENT = [
    (b"a" * (MAX_BYTES + 1), "larger than 1,000,000 bytes; a spec is not"),
    (b"\xff\xfea\0", "is UTF-16\n  save it as UTF-8"),
    (b"\xfe\xff\0a", "is UTF-16\n  save it as UTF-8"),
    (b"a: \0b", "is binary: byte 3 is NUL"),
    (b"a: 1\nb: \xe9t\xe9", "is not UTF-8: byte 8, on line 2\n  save it as UTF-8"),
    (b"PK\x03\x04" + bytes(MAX_BYTES), "a zip archive, such as torch.save writes, not a spec"),
    (b"\x08\0\0\0\0\0\0\0{}      ", "a safetensors checkpoint, not a spec"),
    (b"\x80\x02\x8a\nl\xfc\x9cF", "a pickle, such as an old checkpoint, not a spec"),
    (
        b"version https://git-lfs.github.com/spec/v1\noid sha256:0\nsize 1\n",
        "a Git LFS pointer: the file itself has not been fetched, not a spec",
    ),
]


@pytest.mark.parametrize(("data", "message"), BAD_CONTENT)
def test_other_content_is_refused(data: bytes, message: str, monkeypatch: pytest.MonkeyPatch) -> None:
    Path("x.yaml").write_bytes(data)
    assert refusal("x.yaml") == f"x.yaml: {message}"
    monkeypatch.setattr(sys, "stdin", io.TextIOWrapper(io.BytesIO(data)))
    assert refusal("-") == f"-: {message}"


@pytest.mark.parametrize(
    ("path", "message"),
    [
        ("mpl.yaml", "no such file\n  did you mean 'mlp.yaml'?"),
        ("configs/mpl.yaml", "no such file\n  in configs: did you mean 'mlp.yaml'?"),
        ("something-else", "no such file"),
        ("config/mlp.yaml", "no such file\n  there is no folder 'config'"),
        ("mlp.yaml/x", "cannot be opened: not a directory"),
        ("a\0b", "cannot be opened: embedded null byte"),
        ("\ud800", "cannot be opened: the name is not one a file can have"),
        ("x" * 5000, "cannot be opened: file name too long"),
        ("configs", "is a folder, not a file\n  specs in it: mlp.yaml"),
        (".", "is a folder, not a file\n  specs in it: mlp.yaml"),
        ("empty", "is a folder, not a file"),
        ("fifo", "is a named pipe, not a file"),
        ("socket", "is a socket, not a file"),
        ("/dev/null", "is a device, not a file"),
        ("loop", "cannot be opened: too many levels of symbolic links"),
        ("/proc/self/mem", "cannot be read: input/output error"),
    ],
)
def test_what_is_not_a_file_is_refused_at_once(path: str, message: str) -> None:
    Path("configs").mkdir()
    Path("empty").mkdir()
    Path("mlp.yaml").write_text("a")
    Path("configs/mlp.yaml").write_text("a")
    os.mkfifo("fifo")
    Path("loop").symlink_to("loop")
    with socket.socket(socket.AF_UNIX) as server:
        server.bind("socket")
        assert refusal(path) == f"{path}: {message}"


def test_a_file_without_permission_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    def deny(path: str, flags: int) -> int:
        raise PermissionError(13, "Permission denied", path)

    Path("x.yaml").write_text("a")
    monkeypatch.setattr(os, "open", deny)
    assert refusal("x.yaml") == "x.yaml: cannot be opened: permission denied"


def test_no_descriptor_stays_open() -> None:
    Path("x.yaml").write_text("a")
    Path("folder").mkdir()
    before = len(os.listdir("/proc/self/fd"))  # noqa: PTH208 (names are enough)
    read_source("x.yaml")
    refusal("folder")
    assert len(os.listdir("/proc/self/fd")) == before  # noqa: PTH208


def test_a_symlink_to_a_file_is_followed() -> None:
    Path("x.yaml").write_text("a: 1")
    Path("link.yaml").symlink_to("x.yaml")
    assert read_source("link.yaml") == "a: 1"


@pytest.mark.parametrize(
    ("stdin", "message"),
    [
        (None, "-: standard input is closed"),
        (Stdin(None), "-: standard input has nothing to read"),
        (Stdin(OSError(9, "Bad file descriptor")), "-: standard input cannot be read: bad file descriptor"),
        (Stdin(IsADirectoryError(21, "x")), "-: standard input cannot be read: is a directory"),
        (Stdin(ValueError("I/O on closed file")), "-: standard input cannot be read: I/O on closed file"),
    ],
)
def test_stdin_that_cannot_be_read_is_refused(
    stdin: Stdin | None, message: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "stdin", stdin)
    assert refusal("-") == message


def test_stdin_without_end_is_read_up_to_the_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    endless = Stdin(b"a" * (2 * MAX_BYTES))
    monkeypatch.setattr(sys, "stdin", endless)
    assert refusal("-") == "-: larger than 1,000,000 bytes; a spec is not"
    assert endless.asked == MAX_BYTES + 1


def test_stdin_of_text_alone_is_read(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdin", io.StringIO("name: é"))
    assert read_source("-") == "name: é"
