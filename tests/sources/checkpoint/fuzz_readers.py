"""Feed a reader of checkpoints with bytes that atheris makes up, guided by the lines of ours that they reach.

    python -m tests.sources.checkpoint.fuzz_readers READER FOLDER_OF_SEEDS -max_total_time=60

It ends with an error at the first bytes for which anything but UserError leaves the reader, which take more than ten
seconds, or more than 2 GiB.
"""

from __future__ import annotations

import sys
import tempfile
import zipfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import atheris

with atheris.instrument_imports(include=["paraminspect.sources.checkpoint", "paraminspect.experiments"]):
    from paraminspect.experiments.checkpoint_report import report_of_checkpoint
    from paraminspect.sources.checkpoint import distributed_folder, optimizer_state, torch_legacy, torch_zip  # noqa: F401
    from paraminspect.sources.checkpoint.listing import list_checkpoint

from paraminspect.errors import UserError
from paraminspect.render import render
from paraminspect.text.escape import View

LIMITS = ["-timeout=10", "-rss_limit_mb=2048", "-close_fd_mask=0"]


def as_file(name: str) -> Callable[[Path, bytes], str]:
    """Return what writes the bytes as one file of a folder, and says what is to be listed."""

    def write(folder: Path, data: bytes) -> str:
        (folder / name).write_bytes(data)
        return str(folder / name)

    return write


def as_pickle(folder: Path, data: bytes) -> str:
    """Write a zip of torch.save that is sound but for its pickle: no checksum stands in the way."""
    with zipfile.ZipFile(folder / "x.pt", "w") as archive:
        archive.writestr("x/data.pkl", data)
        for key in "0123":
            archive.writestr(f"x/data/{key}", bytes(64))
    return str(folder / "x.pt")


def as_metadata(folder: Path, data: bytes) -> str:
    """Write the .metadata of a folder with one file of data."""
    (folder / ".metadata").write_bytes(data)
    (folder / "__0_0.distcp").write_bytes(bytes(4096))
    return str(folder)


def as_distributed(folder: Path, data: bytes) -> str:
    """Write what would be the data of such a folder: zips of torch.save, which are files of their own too."""
    (folder / "x.ckpt").write_bytes(data)
    return str(folder / "x.ckpt")


READERS = {
    "safetensors": as_file("x.safetensors"),
    "index": as_file("x.safetensors.index.json"),
    "pickle": as_pickle,
    "zip": as_file("x.pt"),
    "legacy": as_file("x.pth"),
    "metadata": as_metadata,
    "distcp": as_distributed,
}


def main() -> None:
    """Run one reader until libFuzzer's own options say stop."""
    write = READERS[sys.argv.pop(1)]
    zipfile.ZipExtFile._update_crc = lambda self, data: None  # type: ignore[attr-defined,method-assign]  # no wall
    with tempfile.TemporaryDirectory(dir="/dev/shm" if Path("/dev/shm").is_dir() else None) as name:
        folder = Path(name)

        def one(data: bytes) -> None:
            with suppress(UserError):
                report = report_of_checkpoint(list_checkpoint(write(folder, data)), "show")
                "".join(render(report, "plain", View()))

        atheris.Setup([*sys.argv, *LIMITS], one)
        atheris.Fuzz()


if __name__ == "__main__":
    main()
