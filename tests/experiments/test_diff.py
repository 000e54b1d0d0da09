"""What differs between two sources, with plain torch beside it: values, names, ties, and whether a model takes a file."""

from __future__ import annotations

import csv
import io
import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import torch.distributed.checkpoint as dcp
from safetensors.torch import save_file, save_model
from torch import Tensor, nn

from paraminspect.analysis.statistics.stored_numbers import numbers, width_of
from tests.conftest import Ran

Run = Callable[..., Ran]

FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16, torch.complex64)
EIGHT_BITS = (
    *(torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e4m3fnuz, torch.float8_e5m2fnuz, torch.float8_e8m0fnu),
)
INTEGERS = (torch.int8, torch.uint8, torch.int16, torch.int32, torch.int64, torch.bool)


def differing(run: Run, *argv: object) -> dict[str, Any]:
    """Run diff and return what it found; the exit code says the same."""
    ran = run("diff", *argv, "--json")
    found = json.loads(ran.out)["difference"]
    assert (ran.code, ran.err) == (0 if found["same"] else 1, "")
    return found


def state(seed: int = 0) -> dict[str, Tensor]:
    torch.manual_seed(seed)
    return {f"blocks.{number}.{name}": torch.randn(6, 5) for number in range(6) for name in ("weight", "scale")}


# --- values --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", EIGHT_BITS, ids=str)
def test_every_byte_of_an_eight_bit_float_is_the_number_that_torch_takes_it_for(dtype: torch.dtype) -> None:
    raw = torch.arange(256, dtype=torch.uint8)
    found = numbers(raw.numpy(), str(dtype)[6:])
    assert width_of(str(dtype)[6:]) == 1
    torch.testing.assert_close(torch.from_numpy(found), raw.view(dtype).float(), rtol=0, atol=0, equal_nan=True)


def drawn(generator: torch.Generator) -> tuple[Tensor, Tensor]:
    """Draw two tensors of one shape: of any types, near each other or not, with all that is not finite."""

    def pick(count: int) -> int:
        return int(torch.randint(count, (), generator=generator))

    dtypes = (*FLOATS, *EIGHT_BITS[:4], *INTEGERS)
    first = dtypes[pick(len(dtypes))]
    second = dtypes[pick(len(dtypes))] if pick(4) == 0 else first
    shape = ((), (1,), (7,), (3, 4), (2, 0), (5, 3, 2))[pick(6)]
    scale = 10.0 ** (pick(7) - 3)
    a = torch.randn(shape, generator=generator, dtype=torch.float64) * scale
    b = a + torch.randn(shape, generator=generator, dtype=torch.float64) * scale * 10.0 ** -pick(6)
    b = torch.where(torch.rand(shape, generator=generator) < 0.5, a, b)
    if first.is_floating_point and pick(3) == 0 and a.numel():
        for one in (a, b):
            one.view(-1)[pick(one.numel())] = (math.nan, math.inf, -math.inf, -0.0)[pick(4)]
    if not first.is_floating_point and not first.is_complex:
        a, b = a.round().clamp(0, 100), b.round().clamp(0, 100)
    with np.errstate(all="ignore"):
        return a.to(first), b.nan_to_num().clamp(0, 100).to(second) if second in INTEGERS else b.to(second)


def expected(a: Tensor, b: Tensor) -> dict[str, Any]:
    """Return the figures that torch gives in double precision."""
    kind = torch.complex128 if a.is_complex() or b.is_complex() else torch.float64
    one, other = a.to(kind).reshape(-1), b.to(kind).reshape(-1)
    nan = one.isnan() & other.isnan()
    unequal = (one != other) & ~nan
    finite = one.isfinite() & other.isfinite()
    became = int((one.isfinite() & ~other.isfinite()).sum())
    one, other = one[finite], other[finite]
    norms = one.norm() * other.norm()
    change = other - one
    return {
        "numel": a.numel(),
        "different": int(unequal.sum()),
        "nonfinite": int((unequal & ~finite).sum()),
        "became_nonfinite": became,
        "max_abs": float(change.abs().max()) if len(one) else None,
        "l2": float(change.norm()) if len(one) else None,
        "l2_of_a": float(one.norm()) if len(one) else None,
        "relative": float(change.norm() / one.norm()) if len(one) and one.norm() else None,
        "cosine": float((one.conj() * other).sum().real / norms) if len(one) and norms else None,
    }


def test_values_move_as_far_as_torch_says(run: Run, tmp_path: Path) -> None:
    generator = torch.Generator().manual_seed(0)
    pairs = {f"t{number}": drawn(generator) for number in range(500)}
    save_file({name: a for name, (a, _) in pairs.items()}, tmp_path / "a.safetensors")
    torch.save({name: b for name, (_, b) in pairs.items()}, tmp_path / "b.pt")
    found = differing(run, tmp_path / "a.safetensors", tmp_path / "b.pt")
    changes = {one["name"]: one for one in found["tensors"]}
    for name, (a, b) in pairs.items():
        same_bits = (
            a.dtype == b.dtype and a.reshape(-1).view(torch.uint8).equal(b.reshape(-1).view(torch.uint8))
            if (not a.is_complex() and not b.is_complex())
            else a.dtype == b.dtype and torch.view_as_real(a).equal(torch.view_as_real(b))
        )
        assert (name not in changes) == same_bits, name
        if same_bits:
            continue
        wanted, got = expected(a, b), changes[name]["values"]
        counts = ("numel", "different", "nonfinite", "became_nonfinite")
        assert {key: got[key] for key in counts} == {key: wanted[key] for key in counts}
        for key in ("max_abs", "l2", "l2_of_a", "relative", "cosine"):
            near = None if wanted[key] is None else pytest.approx(wanted[key], rel=1e-12, abs=1e-15)
            assert got[key] == near, (name, key)
        what = changes[name]["changes"]
        assert ("dtype" in what) == (a.dtype != b.dtype)
        assert ("values" in what) == bool(wanted["different"])
    assert found["identical"] == len(pairs) - len(changes)
    sizes = [one["values"] for one in found["tensors"]]
    known = [math.inf if one["relative"] is None else one["relative"] for one in sizes if one["different"]]
    finite = known[sum(one["nonfinite"] > 0 for one in sizes) :]
    assert finite == sorted(finite, reverse=True)


def test_values_that_became_nan_come_first_and_the_rest_of_their_tensor_is_summed(run: Run, tmp_path: Path) -> None:
    a = {"w": torch.tensor([3.0, 4.0, 5.0]), "v": torch.tensor([6.0, math.inf]), "u": torch.ones(2)}
    b = {"w": torch.tensor([3.0, 4.0, math.nan]), "v": torch.tensor([5.0, 1.0]), "u": torch.ones(2)}
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    lines = run("diff", tmp_path / "a.safetensors", tmp_path / "b.safetensors").out.splitlines()
    assert lines[3] == (
        "they differ: 1 value became NaN or Inf, in 1 tensor; "
        f"2 of 3 tensors moved (‖Δ‖/‖A‖ {1 / math.hypot(3, 4, 6):#.4g} over all of them); 1 identical"
    )
    cells = [[cell.strip() for cell in line.split("  ") if cell.strip()] for line in lines[7:9]]
    assert {name: change for name, change, *_ in cells} == {
        "w": "values, 1 became NaN or Inf",
        "v": "values, 1 was NaN or Inf",
    }


def test_figures_neither_overflow_nor_vanish(run: Run, tmp_path: Path) -> None:
    double = torch.float64
    a = {
        "large": torch.tensor([1e300, -1e300], dtype=double),
        "small": torch.tensor([1e-300, 2e-300], dtype=double),
        "whole": torch.tensor([2**63 - 1, -(2**63)]),
        "from zero": torch.zeros(2),
        "zeros": torch.tensor([0.0, -0.0]),
    }
    b = {
        "large": a["large"] * 2,
        "small": a["small"] * 3,
        "whole": torch.tensor([2**63 - 2, 2**63 - 1]),
        "from zero": torch.ones(2),
        "zeros": torch.tensor([-0.0, 0.0]),
    }
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    argv = (tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    found = {one["name"]: one for one in differing(run, *argv)["tensors"]}
    values = {name: one["values"] for name, one in found.items()}
    assert values["large"]["relative"] == pytest.approx(1) and values["large"]["l2"] == pytest.approx(2**0.5 * 1e300)
    assert values["small"]["relative"] == pytest.approx(2) and values["small"]["cosine"] == 1
    assert (values["whole"]["different"], values["whole"]["max_abs"]) == (2, 2**64 - 1)
    assert (values["from zero"]["relative"], values["from zero"]["cosine"]) == (None, None)
    assert found["zeros"]["changes"] == ["bits"]
    assert run("diff", *argv, "--params", "zeros").code == 1
    assert run("diff", *argv, "--params", "zeros", "--tolerance", "0").code == 0


@pytest.mark.parametrize("tolerance", ["1e-3", "rtol=1e-2", "atol=1e-4,rtol=1e-3", "0"])
def test_a_tolerance_is_that_of_allclose(run: Run, tmp_path: Path, tolerance: str) -> None:
    limits = dict(part.split("=") if "=" in part else ("atol", part) for part in tolerance.split(","))
    atol, rtol = float(limits.get("atol", 0)), float(limits.get("rtol", 0))
    a = state()
    b = {name: one + torch.randn_like(one) * 10.0 ** -(at % 7) for at, (name, one) in enumerate(a.items())}
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    found = differing(run, tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--tolerance", tolerance)
    within = {one["name"] for one in found["tensors"] if "within" in one["changes"]}
    assert within == {name for name in a if torch.allclose(b[name].double(), a[name].double(), rtol=rtol, atol=atol)}
    assert found["within"] == len(within)


def test_a_model_is_not_compared_with_the_state_of_its_training(run: Run, tmp_path: Path) -> None:
    (tmp_path / "net.py").write_text("from torch import nn\n\ndef net():\n    return nn.Linear(3, 2)\n")
    net = torch.nn.Linear(3, 2)
    optimizer = torch.optim.Adam(net.parameters())
    net(torch.ones(1, 3)).sum().backward()
    optimizer.step()
    state = {**net.state_dict(), "more": torch.ones(1)}
    torch.save({"model": state, "optimizer": optimizer.state_dict(), "ema": net.state_dict()}, tmp_path / "x.pt")
    for swap in (False, True):
        sides = [f"{tmp_path}/net.py:net", tmp_path / "x.pt"]
        found = differing(run, *(sides[::-1] if swap else sides))
        assert [one["name"] for one in found["tensors"] if one["status"] != "changed"] == ["model.more"]
        assert sorted(found["beside"]) == ["ema", "optimizer"]


def test_the_model_and_its_optimizer_are_summed_apart_and_counters_in_neither(run: Run, folder: Path) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.BatchNorm1d(2))
    optimizer = torch.optim.Adam(module.parameters())
    saved: list[tuple[dict[str, Tensor], dict[int, dict[str, Tensor]]]] = []
    for name in ("a.ckpt", "b.ckpt"):
        module(torch.randn(4, 3)).square().sum().backward()
        optimizer.step()
        torch.save({"optimizer": optimizer.state_dict(), "model": module.state_dict()}, name)
        loaded = torch.load(name)
        saved.append((loaded["model"], loaded["optimizer"]["state"]))
    models = [torch.cat([one.reshape(-1) for one in model.values() if one.is_floating_point()]) for model, _ in saved]
    moments = [
        torch.cat([one.reshape(-1) for kept in states.values() for key, one in kept.items() if key != "step"])
        for _, states in saved
    ]
    wanted = [float((b - a).double().norm() / a.double().norm()) for a, b in (models, moments)]
    found = differing(run, "a.ckpt", "b.ckpt")
    kept = found["optimizer"]
    assert (found["compared"], kept["compared"], kept["moved"]) == (7 + 12, 12, 12)
    assert [found["relative"], kept["relative"]] == [pytest.approx(one, rel=1e-6) for one in wanted]
    names = [one["name"].partition(".")[0] for one in found["tensors"]]
    assert names == ["model"] * 7 + ["optimizer"] * 12
    shown = {one["name"]: one["in_optimizer"] for one in found["tensors"]}
    assert (
        shown["optimizer.state.3.exp_avg"] == "optimizer.state.model.1.bias.exp_avg" and shown["model.1.bias"] is None
    )
    page = run("diff", "a.ckpt", "b.ckpt", "--no-fold").out
    assert page.splitlines()[3] == (
        f"they differ: 7 of 7 tensors of the model moved (‖Δ‖/‖A‖ {found['relative']:#.4g} over all but integers); "
        f"12 of 12 tensors of the optimizer moved (‖Δ‖/‖A‖ {kept['relative']:#.4g} over all but steps)"
    )
    assert "\noptimizer.state.model.1.bias.exp_avg " in page and "optimizer.state.3" not in page


def test_values_within_a_tolerance_leave_another_dtype_the_only_change(run: Run, tmp_path: Path) -> None:
    save_file({"w": torch.tensor([1.0, 2.0])}, tmp_path / "a.safetensors")
    save_file({"w": torch.tensor([1.0, 2.5]).half()}, tmp_path / "b.safetensors")
    for tolerance, changes in (("0.5", ["dtype"]), ("0.4", ["dtype", "values"])):
        found = differing(run, tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--tolerance", tolerance)
        assert [one["changes"] for one in found["tensors"]] == [changes]


def test_the_rank_of_a_change_is_what_was_added(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    a, b = {}, {}
    for dtype in (torch.float32, torch.bfloat16):
        for rank in (1, 4, 16):
            name = f"{str(dtype)[6:]}.{rank}"
            a[name] = torch.randn(64, 96).to(dtype)
            b[name] = (a[name].float() + torch.randn(64, rank) @ torch.randn(rank, 96)).to(dtype)
    a["conv"], b["conv"] = torch.zeros(8, 4, 3, 3), torch.ones(8, 4, 3, 3)
    a["bias"], b["bias"] = torch.zeros(8), torch.ones(8)
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    found = differing(run, tmp_path / "a.safetensors", tmp_path / "b.safetensors", "--rank")["tensors"]
    ranks = {one["name"]: (one["values"]["rank"], one["values"]["full_rank"]) for one in found}
    assert ranks == {
        **{f"{dtype}.{rank}": (rank, 64) for dtype in ("float32", "bfloat16") for rank in (1, 4, 16)},
        "conv": (1, 8),
        "bias": (None, None),
    }


# --- sources -------------------------------------------------------------------------------------------------------

MODEL = """
import torch
from torch import nn

class Net(nn.Module):
    def __init__(self, width=5, seed=0, tied=True):
        super().__init__()
        self.embed = nn.Embedding(7, width)
        self.norm = nn.BatchNorm1d(width)
        self.head = nn.Linear(width, 7, bias=False)
        if tied:
            self.head.weight = self.embed.weight
"""


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model.py").write_text(MODEL, encoding="utf-8")
    return tmp_path


def net(**given: Any) -> nn.Module:
    """Build the model of MODEL as a script would."""
    room: dict[str, Any] = {"__name__": "model"}
    exec(MODEL, room)
    torch.manual_seed(0)
    return room["Net"](**given)


def test_a_source_is_the_same_in_every_format(run: Run, folder: Path) -> None:
    made = state()
    made["turned"] = torch.randn(4, 9).t()
    made["cut"] = torch.randn(9, 8)[2:7, 1:6:2]
    kept = {name: one.contiguous() for name, one in made.items()}
    save_file(kept, "one.safetensors", {"format": "pt"})
    torch.save(made, "zip.pt")
    torch.save(made, "legacy.pth", _use_new_zipfile_serialization=False)
    shards = Path("shards")
    shards.mkdir()
    names = [f"model-{number:05}-of-00002.safetensors" for number in (1, 2)]
    halves = [dict(list(kept.items())[at::2]) for at in range(2)]
    for name, half in zip(names, halves, strict=True):
        save_file(half, shards / name)
    index = {name: shard for shard, half in zip(names, halves, strict=True) for name in half}
    (shards / "model.safetensors.index.json").write_text(json.dumps({"metadata": {}, "weight_map": index}))
    with warnings.catch_warnings(action="ignore"):
        dcp.save(dict(made), checkpoint_id="dcp", no_dist=True)
    sources = ("one.safetensors", "zip.pt", "legacy.pth", "shards", "dcp")
    for source in sources:
        for other in sources:
            assert run("diff", source, other, "-q") == Ran(0, "", ""), (source, other)
    made["cut"][0, 0] += 1
    torch.save(made, "zip.pt")
    for source in sources:
        found = differing(run, source, "zip.pt")["tensors"] if source != "zip.pt" else None
        assert found is None or [(one["name"], one["values"]["different"]) for one in found] == [("cut", 1)]


def test_a_module_saved_whole_is_compared_by_its_state_dict_and_with_another_by_its_attributes_too(
    run: Run, folder: Path
) -> None:
    module = nn.Sequential(nn.Linear(3, 2), nn.Dropout(0.1))
    torch.save(module, "whole.pt")
    torch.save({"model": module.state_dict(), "epoch": 3}, "state.ckpt")
    found = differing(run, "whole.pt", "state.ckpt")
    assert (found["identical"], found["tensors"], found["metadata"]) == (2, [], [{"key": "epoch", "a": None, "b": "3"}])
    Path("plain.py").write_text("from torch import nn\n\ndef plain():\n    return nn.Sequential(nn.Linear(3, 2))\n")
    assert differing(run, "plain.py:plain", "whole.pt")["fit"] is None
    module.eval()[1].p = 0.2
    torch.save(module, "other.pt")
    assert differing(run, "whole.pt", "other.pt")["metadata"] == [{"key": "1.p", "a": "0.1", "b": "0.2"}]
    assert "module    torch.nn.modules.container.Sequential, an nn.Module saved whole; " in run("show", "whole.pt").out


def test_what_is_in_a_shard_that_is_missing_is_there_and_unread(run: Run, folder: Path) -> None:
    save_file({"a": torch.ones(2), "b": torch.ones(3)}, "a.safetensors")
    shards = {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}
    save_file({"a": torch.ones(2)}, shards["a"])
    Path("model.safetensors.index.json").write_text(json.dumps({"weight_map": shards}))
    ran = run("diff", "a.safetensors", "model.safetensors.index.json", "--json")
    found = json.loads(ran.out)["difference"]
    assert (ran.code, found["b"]["tensors"], found["compared"], found["identical"]) == (2, 2, 2, 1)
    (lost,) = found["tensors"]
    assert (lost["name"], lost["changes"], lost["shape"], lost["other_shape"]) == ("b", ["unread"], [3], None)
    assert lost["note"] == f"B: {shards['b']}: the shard is missing"
    twice = run("diff", "model.safetensors.index.json", "model.safetensors.index.json")
    assert twice.code == 2 and "1 not comparable; 1 identical" in twice.out and "None" not in twice.out
    shown = run("show", "model.safetensors.index.json").out
    assert "2 elements in 1 of 2 tensors, 8 bytes" in shown
    assert f"not read  b: {shards['b']}: the shard is missing\n" in shown


def test_a_model_is_compared_by_its_state_dict(run: Run, folder: Path) -> None:
    module = net()
    torch.save(module.state_dict(), "net.pt")
    assert run("diff", "model.py:Net", "net.pt", "-q") == Ran(0, "", "")
    assert differing(run, "model.py:Net", "net.pt", "--seed", "1")["counts"]["values"] == 2
    assert run("diff", "model.py:Net", "model.py:Net", "-q", "--arg", "width=3").code == 0
    assert run("diff", "mlp", "mlp", "--seed", "4", "-q").code == 0
    assert run("diff", "mlp", "textbook", "-q").code in (0, 1)


# --- names ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("rename", "in_a", "in_b"),
    [
        (lambda name: f"module.{name}", "", "module"),
        (lambda name: f"_orig_mod.{name}", "", "_orig_mod"),
        (lambda name: f"base_model.model.{name}", "", "base_model.model"),
        (lambda name: f"model.{name}", "", "model"),
        (lambda name: f"state_dict.backbone.{name}", "", "state_dict.backbone"),
        (lambda name: name.replace(".weight", "._orig_mod.weight"), "", "_orig_mod"),
        (lambda name: name.replace("blocks.", "blocks.module."), "", "module"),
        (lambda name: f"base_model.model.{name.replace('.w', '.base_layer.w')}", "", "base_model.model"),
    ],
    ids=["module", "compile", "peft", "model", "own", "inner compile", "inner module", "peft with base layers"],
)
def test_what_wrappers_make_of_names_is_seen_through(
    run: Run, tmp_path: Path, rename: Callable[[str], str], in_a: str, in_b: str
) -> None:
    a = state()
    b = {rename(name): one.clone() for name, one in a.items()}
    b[rename("blocks.0.weight")] = torch.zeros(2, 2)  # one of another shape is still that one
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    found = differing(run, tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    renamed = {one: other for renaming in found["renamings"] for one, other in renaming["names"]}
    assert renamed == {name: rename(name) for name in a if rename(name) != name}
    both = {(in_a, in_b), (in_a, f"{in_b} … base_layer")}
    assert {(in_a, in_b)} <= {(one["in_a"], one["in_b"]) for one in found["renamings"]} <= both
    assert [(one["name"], one["changes"]) for one in found["tensors"]] == [("blocks.0.weight", ["shape"])]


def test_the_two_spellings_of_weight_norm_are_one(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    new = nn.Sequential(*(nn.utils.parametrizations.weight_norm(nn.Linear(4, 3)) for _ in range(2)))
    old = dict(new.state_dict())
    spelled = {
        name.replace("parametrizations.weight.original0", "weight_g").replace(
            "parametrizations.weight.original1", "weight_v"
        ): one
        for name, one in old.items()
    }
    torch.save(old, tmp_path / "new.pt")
    torch.save(spelled, tmp_path / "old.pt")
    found = differing(run, tmp_path / "old.pt", tmp_path / "new.pt")
    assert (found["tensors"], found["identical"]) == ([], 6)
    assert {(one["in_a"], one["in_b"], len(one["names"])) for one in found["renamings"]} == {
        ("weight_g", "parametrizations.weight.original0", 2),
        ("weight_v", "parametrizations.weight.original1", 2),
    }


def test_other_names_go_together_only_by_unique_bytes_that_are_not_constant(run: Run, tmp_path: Path) -> None:
    torch.manual_seed(0)
    big, twin = torch.randn(300, 300), torch.randn(5)
    late = big.clone()
    late[-1, -1] += 1
    a = {"old": big, "zeros": torch.zeros(4), "twin": twin, "almost": torch.cat([big, big])}
    b = {"new": big, "nought": torch.zeros(4), "one": twin, "two": twin.clone(), "nearly": torch.cat([big, late])}
    save_file(a, tmp_path / "a.safetensors")
    save_file(b, tmp_path / "b.safetensors")
    found = differing(run, tmp_path / "a.safetensors", tmp_path / "b.safetensors")
    assert [(one["names"], one["reason"]) for one in found["renamings"]] == [([["old", "new"]], "bytes")]
    assert {one["name"]: one["status"] for one in found["tensors"]} == {
        **dict.fromkeys(("zeros", "twin", "almost"), "removed"),
        **dict.fromkeys(("nought", "one", "two", "nearly"), "added"),
    }


# --- ties, and a model against its file ------------------------------------------------------------------------------


def test_ties_that_one_side_alone_has_are_named(run: Run, folder: Path) -> None:
    module = net()
    made = module.state_dict()
    torch.save(made, "tied.pt")
    save_model(module, "recorded.safetensors")
    save_file({name: one.clone() for name, one in made.items()}, "copies.safetensors")
    save_file({name: one for name, one in made.items() if name != "head.weight"}, "left.safetensors")
    other = {name: one.clone() for name, one in made.items()}
    other["head.weight"] += 1
    save_file(other, "other.safetensors")
    names = ["embed.weight", "head.weight"]
    for source in ("tied.pt", "model.py:Net"):
        assert differing(run, source, "recorded.safetensors")["same"]
        for file, elsewhere in (("copies", "equal"), ("left", "left out"), ("other", "different")):
            found = differing(run, source, f"{file}.safetensors")
            assert found["ties"] == [{"names": names, "only": "a", "elsewhere": elsewhere}], file
            assert [one["name"] for one in found["tensors"]] == ["head.weight"] * (file == "other")
            assert found["same"] == (file == "left")  # safetensors cannot have two names for one tensor
    assert differing(run, "copies.safetensors", "tied.pt")["ties"][0]["only"] == "b"


def spoiled() -> dict[str, dict[str, Any]]:
    made = net().state_dict()
    wrapped = {f"module.{name}": one for name, one in made.items()}
    return {
        "whole": made,
        "nested": {"epoch": 3, "state_dict": made, "optimizer": {"state": {0: {"exp_avg": torch.zeros(2)}}}},
        "wrapped": wrapped,
        "left out": {name: one for name, one in made.items() if name != "head.weight"},
        "missing": {name: one for name, one in made.items() if name != "norm.weight"},
        "unexpected": {**made, "more": torch.ones(1)},
        "shape": {**made, "norm.bias": torch.ones(9)},
        "wrapped shape": {**wrapped, "module.norm.bias": torch.ones(9)},
        "half": {name: one.half() if one.is_floating_point() else one for name, one in made.items()},
        "counter": {name: one for name, one in made.items() if name != "norm.num_batches_tracked"},
    }


@pytest.mark.parametrize("kind", spoiled())
def test_whether_a_model_takes_a_file_is_what_torch_does(run: Run, folder: Path, kind: str) -> None:
    made = spoiled()[kind]
    torch.save(made, "net.pt")
    fit = differing(run, "model.py:Net", "net.pt")["fit"]
    module = net()
    try:
        module.load_state_dict(made[fit["key"]] if fit["key"] else made, strict=True)
        takes = True
    except RuntimeError:
        takes = False
    assert fit["fits"] == takes
    wanted: dict[str, Any] = {
        "missing": {"missing": ["norm.weight"]},
        "unexpected": {"unexpected": ["more"]},
        "shape": {"shapes": [["norm.bias", [9], [5]]]},
        "wrapped": {"strip": "module.", "fits_then": True},
        "wrapped shape": {"strip": "module.", "shapes": [["norm.bias", [9], [5]]], "fits_then": False},
        "left out": {"ties": [["head.weight", "embed.weight"]], "fits_then": True},
        "nested": {"key": "state_dict"},
    }.get(kind, {})
    plain = {"missing": [], "unexpected": [], "shapes": [], "ties": [], "strip": "", "key": "", "fits_then": takes}
    assert {key: fit[key] for key in plain} == plain | wanted


# --- adapters ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("down", "up"),
    [
        ("base_model.model.{}.lora_A.weight", "base_model.model.{}.lora_B.weight"),
        ("base_model.model.{}.lora_A.default.weight", "base_model.model.{}.lora_B.default.weight"),
        ("{}.lora.down.weight", "{}.lora.up.weight"),
        ("{}.lora_down.weight", "{}.lora_up.weight"),
    ],
    ids=["peft", "peft named", "diffusers", "kohya"],
)
def test_an_adapter_names_its_targets(run: Run, folder: Path, down: str, up: str) -> None:
    base = {f"model.blocks.{number}.q.weight": torch.randn(6, 5) for number in range(3)}
    factors = {f"model.blocks.{number}.q": (torch.randn(2, 5), torch.randn(6, 2)) for number in range(3)}
    factors["lost"] = (torch.randn(2, 5), torch.randn(6, 2))
    made = {down.format(name): pair[0] for name, pair in factors.items()}
    made |= {up.format(name): pair[1] for name, pair in factors.items()}
    Path("adapter").mkdir()
    save_file(base, "base.safetensors")
    save_file(made, "adapter/adapter_model.safetensors")
    Path("adapter/adapter_config.json").write_text('{"r": 2, "lora_alpha": 8}')
    found = differing(run, "base.safetensors", "adapter")
    assert found["tensors"] == []
    targets = {one["target"].removeprefix("base_model.model."): one for one in found["adapters"]}
    assert set(targets) == set(factors)
    for name, (a, b) in factors.items():
        one = targets[name]
        assert (one["rank"], one["shape"], one["scale"], one["side"]) == (2, [6, 5], 4.0, "b")
        assert one["l2"] == pytest.approx(float((b.double() @ a.double()).norm()))
        weight = base.get(f"{name}.weight")
        assert one["base"] == (None if weight is None else f"{name}.weight")
        if weight is not None:
            assert one["relative"] == pytest.approx(float((b.double() @ a.double()).norm() / weight.double().norm()))


# --- what is printed -------------------------------------------------------------------------------------------------


def test_the_page_begins_with_the_answer_and_folds_what_moved_alike(run: Run, folder: Path) -> None:
    a = state()
    save_file(a, "a.safetensors", {"format": "pt"})
    b = {name: one * (2 if name.endswith("weight") else 3) for name, one in a.items()}
    save_file(b, "b.safetensors", {"format": "pt", "note": "\x1b[31m"})
    moved = torch.cat([b[name] - a[name] for name in a]).norm() / torch.cat(list(a.values())).norm()
    ran = run("diff", "a.safetensors", "b.safetensors")
    lines = ran.out.splitlines()
    assert (ran.code, lines[3]) == (
        1,
        f"they differ: 12 of 12 tensors moved (‖Δ‖/‖A‖ {moved:.4g} over all of them); 1 of the metadata",
    )
    folded = [line.split()[:3] for line in lines if "×" in line]
    assert folded == [[f"blocks.{{0..5}}.{name}", "×6", "values"] for name in ("scale", "weight")]
    assert lines[-1] == r"metadata  note: nothing → \x1b[31m"
    rows = list(csv.DictReader(io.StringIO(run("diff", "a.safetensors", "b.safetensors", "-f", "csv").out)))
    assert [row["name"] for row in rows[-1:]] == ["note"] and {row["name"] for row in rows[:-1]} == set(a)
    for form in ("plain", "markdown"):
        assert run("diff", "a.safetensors", "b.safetensors", "-f", form).code == 1


@pytest.mark.parametrize(
    ("argv", "message"),
    [
        (("a.safetensors", "none.pt"), "error: none.pt: no such file\n"),
        (("a.safetensors", "a.safetensors", "--seed", "1"), "error: --seed: both sides are files, which take none\n"),
        (
            ("a.safetensors", "a.safetensors", "--params", "nothing*"),
            "error: --params: 'nothing*' matches no tensor of either side\n",
        ),
        (("a.safetensors", "a.safetensors", "--tolerance", "-1"), "error: --tolerance: '-1' is no tolerance"),
        (("a.safetensors", "a.safetensors", "--tolerance", "rtol"), "error: --tolerance: 'rtol' is no tolerance"),
        (("a.safetensors",), "error: diff: Missing argument 'B'"),
        (("a.safetensors", "cut.safetensors"), "error: "),
    ],
    ids=lambda value: " ".join(value[1:]) if isinstance(value, tuple) else "",
)
def test_what_cannot_be_done_is_one_message_and_2(run: Run, folder: Path, argv: tuple[str, ...], message: str) -> None:
    save_file(state(), "a.safetensors")
    Path("cut.safetensors").write_bytes(Path("a.safetensors").read_bytes()[:-100])
    ran = run("diff", *argv)
    assert ran.code == 2 and ran.err.startswith(message), ran.err
