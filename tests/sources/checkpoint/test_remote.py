"""Checkpoints far away: the same tensors and figures as in the files, in few requests, many at a time."""

from __future__ import annotations

import json
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, ClassVar

import fsspec
import pytest
import torch
from safetensors.torch import save_file

from paraminspect.errors import UserError
from paraminspect.experiments.checkpoint_values import measure_checkpoint
from paraminspect.experiments.diff import DiffRequest, diff
from paraminspect.report import Difference
from paraminspect.sources.checkpoint.file_bytes import RemoteFile
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.sources.diff_sides import side_of_checkpoint


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return a folder with a sharded checkpoint, one of torch.save, and a web page under a wrong name."""
    folder = tmp_path_factory.mktemp("served")
    torch.manual_seed(0)
    shards = {}
    for number in range(1, 7):
        name = f"m-{number:05}-of-00006.safetensors"
        made = {f"layers.{number}.w{at}": torch.randn(100, 50) for at in range(8)}
        save_file(made, folder / name)
        shards |= dict.fromkeys(made, name)
    index = {"metadata": {"total_size": 6 * 8 * 20_000}, "weight_map": shards}
    (folder / "m.safetensors.index.json").write_text(json.dumps(index), encoding="utf-8")
    base = torch.randn(300, 300)
    torch.save({"model": {"w": base, "b": base[3]}, "epoch": 2}, folder / "x.pt")
    torch.save({f"w{at}": torch.randn(70, 100 + at) for at in range(40)}, folder / "many.pt")
    (folder / "page.safetensors").write_text("<!DOCTYPE html><title>log in</title>", encoding="utf-8")
    return folder


def as_local(url: str, folder: Path, name: str) -> None:
    """Hold what is listed and measured over a URL against the file itself."""
    far, near = list_checkpoint(url), list_checkpoint(str(folder / name))
    assert far.tensors == near.tensors and far.faults == near.faults and far.other == near.other
    assert measure_checkpoint(far, ()) == measure_checkpoint(near, ())


def test_in_memory_of_fsspec(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/models", recursive=True)
    fetched: list[tuple[str, int, int]] = []
    whole = type(system).cat_file

    def counted(self: Any, path: str, start: int, end: int) -> bytes:
        fetched.append((path, start, end))
        return bytes(whole(self, path, start=start, end=end))

    monkeypatch.setattr(type(system), "cat_file", counted)
    found = list_checkpoint("memory://models/m.safetensors.index.json")
    assert len(found.tensors) == 48 and not found.faults
    assert len(fetched) == 7 and found.bytes_read == sum(end - start for _, start, end in fetched)
    as_local("memory://models/m.safetensors.index.json", folder, "m.safetensors.index.json")
    as_local("memory://models/x.pt", folder, "x.pt")
    fetched.clear()
    assert len(list_checkpoint("memory://models/many.pt").tensors) == 40 and len(fetched) < 10
    as_local("memory://models/many.pt", folder, "many.pt")
    with pytest.raises(UserError, match="no such file"):
        list_checkpoint("memory://models/none.pt")


class Ranges(BaseHTTPRequestHandler):
    """A server of files that knows ranges, is slow, and counts who is waiting."""

    root: ClassVar[Path]
    knows_ranges: ClassVar = True
    waiting: ClassVar = 0
    most: ClassVar = 0
    requests: ClassVar[list[str]] = []
    lock: ClassVar = threading.Lock()

    def log_message(self, *_: Any) -> None:
        """Say nothing."""

    def do_HEAD(self) -> None:
        self._answer(body=False)

    def do_GET(self) -> None:
        kind = type(self)
        with kind.lock:
            kind.requests.append(f"{self.path} {self.headers.get('Range')}")
            kind.waiting += 1
            kind.most = max(kind.most, kind.waiting)
        time.sleep(0.05)
        self._answer(body=True)
        with kind.lock:
            kind.waiting -= 1

    def _answer(self, body: bool) -> None:
        path = self.root / self.path.partition("?")[0].lstrip("/")
        if "denied" in self.path or not path.is_file():
            self.send_error(403 if "denied" in self.path else 404)
            return
        data = path.read_bytes()
        wanted = re.fullmatch(r"bytes=(\d+)-(\d+)", self.headers.get("Range") or "")
        size = len(data)
        if wanted and self.knows_ranges:
            data = data[int(wanted[1]) : int(wanted[2]) + 1]
            self.send_response(206)
            self.send_header("Content-Range", f"bytes {wanted[1]}-{wanted[2]}/{size}")
        else:
            self.send_response(200)
        self.send_header("Accept-Ranges", "bytes" if self.knows_ranges else "none")
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        if body:
            self.wfile.write(data)


@pytest.fixture
def served(folder: Path) -> Iterator[str]:
    pytest.importorskip("aiohttp")
    Ranges.root, Ranges.knows_ranges, Ranges.most, Ranges.requests = folder, True, 0, []
    server = ThreadingHTTPServer(("127.0.0.1", 0), Ranges)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()
    server.server_close()


def test_over_http(folder: Path, served: str) -> None:
    found = list_checkpoint(f"{served}/m.safetensors.index.json")
    assert len(found.tensors) == 48 and not found.faults
    assert len(Ranges.requests) == 7 and Ranges.most >= 3 and all("bytes=0-" in one for one in Ranges.requests)
    as_local(f"{served}/m.safetensors.index.json", folder, "m.safetensors.index.json")
    as_local(f"{served}/m.safetensors.index.json?token=secret", folder, "m.safetensors.index.json")
    assert all("token=secret" in one for one in Ranges.requests[-7:])
    as_local(f"{served}/x.pt", folder, "x.pt")
    Ranges.knows_ranges = False
    as_local(f"{served}/x.pt", folder, "x.pt")
    for path, code in (("none.pt", "no-such-file"), ("denied/x.pt", "refused"), ("page.safetensors", "html-page")):
        with pytest.raises(UserError) as caught:
            list_checkpoint(f"{served}/{path}?token=secret")
        assert caught.value.code == code and "secret" not in f"{caught.value} {caught.value.where} {caught.value.hint}"


def test_diff_over_http_and_in_memory(folder: Path, served: str) -> None:
    system = fsspec.filesystem("memory")
    system.put(str(folder), "/compared", recursive=True)
    moved = torch.load(folder / "x.pt")
    moved["model"]["w"][7, 7] += 1
    with system.open("/compared/moved.pt", "wb") as file:
        torch.save(moved, file)

    def compared(*sources: str) -> Difference:
        with ExitStack() as stack:
            a, b = (side_of_checkpoint(list_checkpoint(source), stack, source) for source in sources)
            found = diff(a, b, DiffRequest(), lambda _: None).difference
        assert found is not None
        return found

    index = "m.safetensors.index.json"
    assert compared(f"{served}/{index}?token=secret", f"memory://compared/{index}").same
    assert compared(f"{served}/{index}", str(folder / index)).identical == 48
    (change,) = compared(f"{served}/x.pt", "memory://compared/moved.pt").tensors
    assert change.name == "model.w" and change.values is not None and change.values.different == 1


def test_a_url_is_shown_without_its_secrets(folder: Path) -> None:
    fsspec.filesystem("memory").put(str(folder / "x.pt"), "/models/x.pt?token=secret")
    file = RemoteFile("memory://models/x.pt?token=secret")
    assert "secret" not in file.name
    found = list_checkpoint("memory://models/x.pt?token=secret")
    assert "secret" not in f"{found.path} {found.parts}"
