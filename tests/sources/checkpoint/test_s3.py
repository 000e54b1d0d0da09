"""A sharded checkpoint in S3, as moto's server plays it: listed, compared and loaded as the files themselves."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from paraminspect.cli.app import main
from paraminspect.sources.checkpoint.listing import list_checkpoint

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore::DeprecationWarning")]  # those of botocore
INDEX = "m.safetensors.index.json"


@pytest.fixture
def bucket(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Return the folder of a model in two shards that also lies in s3://models/m."""
    server = pytest.importorskip("moto.server", reason="moto and flask are not installed: pip install '.[dev]'")
    s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed: pip install '.[s3]'")
    torch.manual_seed(0)
    state = torch.nn.Sequential(torch.nn.Linear(300, 200), torch.nn.Linear(200, 100)).state_dict()
    shards = {name: f"m-0000{int(name[0]) + 1}-of-00002.safetensors" for name in state}
    for shard in sorted(set(shards.values())):
        save_file({name: one for name, one in state.items() if shards[name] == shard}, tmp_path / shard)
    total = sum(one.nbytes for one in state.values())
    index = {"metadata": {"total_size": total}, "weight_map": shards}
    (tmp_path / INDEX).write_text(json.dumps(index), encoding="utf-8")
    (tmp_path / "net.py").write_text(
        "import torch\nfrom torch import nn\ntorch.manual_seed(7)\nnet = nn.Sequential(nn.Linear(300, 200), nn.Linear(200, 100))\n",
        encoding="utf-8",
    )
    running = server.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    host, port = running.get_host_and_port()
    for name, value in (
        ("AWS_ACCESS_KEY_ID", "testing"),
        ("AWS_SECRET_ACCESS_KEY", "testing"),
        ("AWS_DEFAULT_REGION", "us-east-1"),
        ("AWS_ENDPOINT_URL", f"http://{host}:{port}"),
        ("NO_PROXY", "127.0.0.1"),
        ("no_proxy", "127.0.0.1"),
    ):
        monkeypatch.setenv(name, value)
    s3fs.S3FileSystem.clear_instance_cache()
    system = s3fs.S3FileSystem()
    system.mkdir("models")
    for path in tmp_path.glob("m*"):
        system.pipe(f"models/m/{path.name}", path.read_bytes())
    system.invalidate_cache()
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    s3fs.S3FileSystem.clear_instance_cache()
    running.stop()


def test_a_sharded_checkpoint_in_s3(bucket: Path, capfd: pytest.CaptureFixture[str]) -> None:
    near = list_checkpoint(INDEX)
    for url in (f"s3://models/m/{INDEX}", "s3://models/m", "s3://models/m/"):
        far = list_checkpoint(url)
        assert far.tensors == near.tensors and not far.faults
    stored = sum(path.stat().st_size for path in bucket.glob("m*"))
    capfd.readouterr()
    assert main(["show", f"s3://models/m/{INDEX}", "--json"]) == 0
    found = json.loads(capfd.readouterr().out)["checkpoint"]
    assert found["bytes_read"] < stored and found["bytes_read"] == far.bytes_read
    assert main(["show", "s3://models/m", "--format", "plain"]) == 0
    assert f"{far.bytes_read:,} bytes" in capfd.readouterr().out
    assert main(["diff", "-q", "s3://models/m", "."]) == 0
    assert main(["diff", "-q", "s3://models/m", "net.py:net"]) == 1
    capfd.readouterr()
    assert main(["show", "net.py:net", "--weights", f"s3://models/m/{INDEX}", "--json", "--no-forward"]) == 0
    rows = {one["name"]: one for one in json.loads(capfd.readouterr().out)["parameters"]}
    from safetensors.torch import load_file

    for path in bucket.glob("m-*.safetensors"):
        for name, tensor in load_file(path).items():
            assert rows[name]["values"]["mean"] == pytest.approx(tensor.double().mean().item(), rel=1e-6)
    assert main(["show", "s3://models/none.safetensors"]) == 2
    assert "no such file" in capfd.readouterr().err
