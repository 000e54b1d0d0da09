"""Who shares what in a checkpoint, read from pickles and headers alone, against the tensors themselves."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
import torch.distributed.checkpoint as dcp
from hypothesis import given, settings, strategies as st
from safetensors.torch import save_model
from torch import Tensor, nn

from paraminspect.experiments.checkpoint_report import report_of_checkpoint
from paraminspect.experiments.checkpoint_sharing import sharing_of
from paraminspect.render import render
from paraminspect.sources.checkpoint.listing import list_checkpoint
from paraminspect.text.escape import View

BYTES = {"same-view", "same-bytes-other-view", "nested", "partial-overlap", "same-storage-disjoint", "self-overlap"}


def tensors() -> dict[str, Tensor]:
    torch.manual_seed(0)
    base, qkv = torch.randn(100, 8), torch.randn(12, 4)
    made = {
        "emb": base,
        "head": base,
        "turned": base.t(),
        "slice": base[10:20],
        "left": base[15:25],
        "copy": base.clone(),
    }
    made |= {"q": qkv[:4], "k": qkv[4:8], "wide": torch.ones(1, 3).expand(5, 3), "nan": torch.full((3,), float("nan"))}
    made |= {
        "other nan": made["nan"].clone(),
        "zero": torch.tensor([0.0, 1.0]),
        "minus zero": torch.tensor([-0.0, 1.0]),
    }
    model = {f"model.{number}.w": torch.randn(3, 3) for number in range(12)}
    return made | model | {name.replace("model", "ema"): one.clone() for name, one in model.items()}


@pytest.mark.parametrize("zipped", [True, False])
def test_kinds_of_a_file_of_torch_save(tmp_path: Path, zipped: bool) -> None:
    torch.save(tensors(), tmp_path / "x.pt", _use_new_zipfile_serialization=zipped)
    checkpoint = list_checkpoint(str(tmp_path / "x.pt"))
    found = sharing_of(checkpoint)
    assert [(one.kind, one.names, one.bytes) for one in found if not one.names[0].startswith("model")] == [
        ("same-view", ("emb", "head"), 3200),
        ("same-bytes-other-view", ("emb", "head", "turned"), 3200),
        ("nested", ("emb", "head", "turned", "slice", "left"), 480),
        ("equal-not-shared", ("emb", "copy"), 3200),
        ("partial-overlap", ("slice", "left"), 160),
        ("same-storage-disjoint", ("q", "k"), 0),
        ("self-overlap", ("wide",), 12),
        ("equal-constant", ("nan", "other nan"), 12),
    ]
    assert sum(one.kind == "equal-not-shared" for one in found) == 13
    text = "".join(render(report_of_checkpoint(checkpoint, "share", sharing=found), "table", View()))
    assert "\nmodel.{0..11}.w ×12, ema.{0..11}.w\n" in text and "nan" not in text


def test_ties_that_other_formats_keep_or_write_twice(tmp_path: Path) -> None:
    net = nn.Sequential(nn.Embedding(9, 4), nn.Linear(4, 9, bias=False), nn.LayerNorm(4), nn.LayerNorm(4))
    net[1].weight = net[0].weight
    save_model(net, str(tmp_path / "x.safetensors"))
    (tie, *rest) = sharing_of(list_checkpoint(str(tmp_path / "x.safetensors")))
    assert (tie.kind, set(tie.names), tie.verdict, tie.origin) == (
        "same-view",
        {"0.weight", "1.weight"},
        "intact",
        "__metadata__",
    )
    assert [one.kind for one in rest] == ["equal-constant", "equal-constant"]
    with pytest.warns(UserWarning, match="single process"):
        dcp.save(net.state_dict(), checkpoint_id=str(tmp_path / "dcp"))
    (copy, *_) = sharing_of(list_checkpoint(str(tmp_path / "dcp")))
    assert (copy.kind, copy.names) == ("equal-not-shared", ("0.weight", "1.weight"))


VIEWS = st.lists(st.tuples(st.integers(0, 20), st.integers(1, 8), st.integers(1, 4)), min_size=2, max_size=6)


@settings(max_examples=60, deadline=None)
@given(VIEWS)
def test_any_views_of_one_storage_share_what_their_elements_do(
    tmp_path_factory: pytest.TempPathFactory, views: list[tuple[int, int, int]]
) -> None:
    path = tmp_path_factory.getbasetemp() / "views.pt"
    base = torch.arange(64.0)
    made = {f"v{at}": base[start : start + length * step : step] for at, (start, length, step) in enumerate(views)}
    torch.save(made, path)
    try:
        found = sharing_of(list_checkpoint(str(path)))
    finally:
        path.unlink()
    sets = {name: set(one.tolist()) for name, one in made.items()}
    groups = {kind: [set(one.names) for one in found if one.kind == kind] for kind in BYTES}
    for one, mine in sets.items():
        for other, its in sets.items():
            both = {one, other}
            if one < other and mine & its:
                kind = "same-view" if mine == its else "nested" if mine <= its or its <= mine else "partial-overlap"
                alike = [group for group in groups[kind] if both <= group]
                assert alike or (
                    kind == "same-view" and any(both <= group for group in groups["same-bytes-other-view"])
                )
