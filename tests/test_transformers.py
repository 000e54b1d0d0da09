"""Real architectures: totals, ties, buffers and gradients beside what the library and plain torch say."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

import paraminspect
from tests.cases import each
from tests.conftest import Ran

os.environ["HF_HUB_OFFLINE"] = "1"  # configurations only: nothing is fetched
transformers = pytest.importorskip("transformers")
transformers.logging.set_verbosity_error()

TEXT = {
    "hidden_size": 16,
    "num_hidden_layers": 4,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "vocab_size": 50,
}
PICTURE = {**TEXT, "image_size": 16, "patch_size": 8}
IDS = {"input_ids": torch.tensor([[3, 7, 2, 9], [1, 0, 4, 5]])}
PIXELS = torch.linspace(-1, 1, 2 * 3 * 16 * 16).reshape(2, 3, 16, 16)


def bert() -> nn.Module:
    return transformers.BertForMaskedLM(transformers.BertConfig(**TEXT, max_position_embeddings=32))


def gpt2() -> nn.Module:
    config = transformers.GPT2Config(n_embd=16, n_layer=4, n_head=2, vocab_size=50, n_positions=32)
    return transformers.GPT2LMHeadModel(config)


def t5() -> nn.Module:
    config = transformers.T5Config(d_model=16, d_kv=8, d_ff=32, num_layers=2, num_heads=2, vocab_size=50)
    return transformers.T5ForConditionalGeneration(config)


def llama(**kwargs: Any) -> nn.Module:
    return transformers.LlamaForCausalLM(transformers.LlamaConfig(**TEXT, num_key_value_heads=1, **kwargs))


def mixtral() -> nn.Module:
    config = transformers.MixtralConfig(**TEXT, num_key_value_heads=1, num_local_experts=4)
    return transformers.MixtralForCausalLM(config)


def vit() -> nn.Module:
    return transformers.ViTForImageClassification(transformers.ViTConfig(**PICTURE))


def whisper() -> nn.Module:
    sides = {
        f"{side}_{key}": size
        for side in ("encoder", "decoder")
        for key, size in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
    }
    tokens = {"pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 1}
    config = transformers.WhisperConfig(
        d_model=16, vocab_size=50, num_mel_bins=8, max_source_positions=20, max_target_positions=20, **sides, **tokens
    )
    return transformers.WhisperForConditionalGeneration(config)


def clip() -> nn.Module:
    text = {**TEXT, "max_position_embeddings": 16, "eos_token_id": 2, "bos_token_id": 1, "pad_token_id": 0}
    return transformers.CLIPModel(transformers.CLIPConfig(text_config=text, vision_config=PICTURE, projection_dim=8))


def mamba() -> nn.Module:
    config = transformers.MambaConfig(hidden_size=16, num_hidden_layers=2, vocab_size=50, state_size=4)
    return transformers.MambaForCausalLM(config)


MODELS: dict[str, tuple[Callable[[], nn.Module], dict[str, Any]]] = {
    "bert": (bert, IDS),
    "gpt2": (gpt2, IDS),
    "t5": (t5, {**IDS, "decoder_input_ids": IDS["input_ids"]}),
    "llama": (llama, IDS),
    "llama, tied": (lambda: llama(tie_word_embeddings=True), IDS),
    "mixtral": (mixtral, IDS),
    "vit": (vit, {"pixel_values": PIXELS}),
    "whisper": (whisper, {"input_features": torch.ones(2, 8, 40), "decoder_input_ids": IDS["input_ids"]}),
    "clip": (clip, {**IDS, "pixel_values": PIXELS}),
    "mamba": (mamba, IDS),
}


@pytest.fixture(params=MODELS)
def model(request: pytest.FixtureRequest) -> tuple[nn.Module, dict[str, Any]]:
    torch.manual_seed(0)
    make, inputs = MODELS[request.param]
    return make().eval(), inputs


Model = tuple[nn.Module, dict[str, Any]]


def test_totals_buffers_and_names_are_the_librarys(model: Model) -> None:
    module, _ = model
    report = paraminspect.inspect(module, forward=False)
    rows = {kind: [row for row in report.parameters if row.kind == kind] for kind in ("parameter", "buffer")}
    assert report.totals.parameters == module.num_parameters() == sum(row.numel or 0 for row in rows["parameter"])
    assert report.totals.trainable == module.num_parameters(only_trainable=True)
    assert [row.name for row in rows["parameter"]] == [name for name, _ in module.named_parameters()]
    assert [row.name for row in rows["buffer"]] == [name for name, _ in module.named_buffers()]
    assert report.totals.bytes == sum(p.numel() * p.element_size() for p in module.parameters())
    kept = {name for row in report.parameters if row.persistent is not False for name in (row.name, *row.aliases)}
    assert kept == set(module.state_dict())
    assert report.totals.unregistered == 0


def test_ties_are_the_declared_ones(model: Model) -> None:
    module, _ = model
    declared = {frozenset(pair) for pair in (module.all_tied_weights_keys or {}).items()}
    shared = [group for group in paraminspect.inspect(module, forward=False).sharing if group.kind == "same-parameter"]
    assert all(group.verdict == "intact" and group.declared for group in shared)
    assert {frozenset(pair) for pair in declared if any(set(pair) <= set(group.names) for group in shared)} == declared
    assert sum(len(group.names) - 1 for group in shared) == len(declared)


def test_gradients_are_those_of_a_plain_backward(model: Model) -> None:
    module, inputs = model
    output = module(**inputs)
    floats = [value for value in _tensors(output) if value.is_floating_point()]
    torch.stack([value.sum() for value in floats]).sum().backward()
    plain = {name: p.grad for name, p in module.named_parameters()}
    module.zero_grad()
    report = paraminspect.inspect(module, inputs, uses=True)
    assert report.errors == ()
    for row in report.parameters:
        if row.kind != "parameter":
            continue
        grad = plain[row.name]
        if grad is None:
            assert row.gradient.status in (("unused", "disconnected") if row.requires_grad else ("frozen",)), row.name
        else:
            rms, error = grad.double().square().mean().sqrt().item(), row.gradient.rounding
            assert row.gradient.status == ("ok" if rms and error is None else "zero"), row.name
            # what a key's bias adds to every score of a query, softmax takes out again
            assert error is None or (rms <= error and row.name.endswith(("k_proj.bias", "key.bias"))), row.name
            assert row.gradient.rms == pytest.approx(rms, rel=1e-4, abs=1e-9), row.name
    assert not [use for use in report.uses if use.op == "(not attributed)"]
    assert all(p.grad is None for p in module.parameters())


def _tensors(value: Any) -> list[torch.Tensor]:
    """The tensors of an output and of the outputs in it, by a way of its own: each object once, no caches."""
    found: dict[int, torch.Tensor] = {}
    todo, seen = [value], set()
    while todo:
        item = todo.pop()
        if id(item) in seen:
            continue
        seen.add(id(item))
        if isinstance(item, torch.Tensor):
            found[id(item)] = item
        elif isinstance(item, dict):
            todo += item.values()
        elif isinstance(item, (list, tuple)):
            todo += item
    return list(found.values())


def test_a_tied_embedding_gets_the_sum_of_two_uses() -> None:
    torch.manual_seed(0)
    module = gpt2().eval()
    report = paraminspect.inspect(module, IDS)
    uses = [use for use in report.uses if use.parameter == "transformer.wte.weight"]
    assert [(use.op, use.module) for use in uses] == [("embedding", "transformer.wte"), ("linear", "lm_head")]

    parted = gpt2().eval()
    parted.load_state_dict(module.state_dict())
    parted.lm_head.weight = nn.Parameter(parted.transformer.wte.weight.detach().clone())
    torch.stack([v.sum() for v in _tensors(parted(**IDS)) if v.is_floating_point()]).sum().backward()
    for use, weight in zip(uses, (parted.transformer.wte.weight, parted.lm_head.weight), strict=True):
        rms = weight.grad.double().square().mean().sqrt().item()
        assert use.gradient.rms == pytest.approx(rms, rel=1e-5)


FULL = {
    "BERT base": ("BertModel", "BertConfig", {}, 109_482_240),
    "GPT-2": ("GPT2LMHeadModel", "GPT2Config", {}, 124_439_808),
    "T5 small": ("T5ForConditionalGeneration", "T5Config", {}, 60_506_624),
    "Llama 2 7B": ("LlamaForCausalLM", "LlamaConfig", {}, 6_738_415_616),
    "Mixtral 8x7B": ("MixtralForCausalLM", "MixtralConfig", {}, 46_702_792_704),
    "ViT B/16": ("ViTForImageClassification", "ViTConfig", {"num_labels": 1000}, 86_567_656),
    "CLIP ViT-B/32": ("CLIPModel", "CLIPConfig", {}, 151_277_313),
    "Mamba 130M": ("MambaForCausalLM", "MambaConfig", {"num_hidden_layers": 24, "vocab_size": 50280}, 129_135_360),
}
"""Published sizes, from the model cards; the configurations' defaults are those models, where none is given."""


@each("name", FULL)
def test_full_size_on_the_meta_device(name: str) -> None:
    cls, config, arguments, size = FULL[name]
    with torch.device("meta"):
        module = getattr(transformers, cls)(getattr(transformers, config)(**arguments))
    report = paraminspect.inspect(module, forward=False)
    assert report.totals.parameters == size == module.num_parameters()
    assert all(row.values is None for row in report.parameters if row.kind == "parameter")


LLAMA_70B = """
from transformers import LlamaConfig, LlamaForCausalLM

def llama(layers):
    return LlamaForCausalLM(LlamaConfig(
        hidden_size=8192, intermediate_size=28672, num_hidden_layers=layers, num_attention_heads=64,
        num_key_value_heads=8, vocab_size=128256,
    ))
"""


@pytest.mark.slow
def test_seventy_billion_parameters_from_the_shell(run: Callable[..., Ran], tmp_path: Path) -> None:
    (tmp_path / "big.py").write_text(LLAMA_70B, encoding="utf-8")
    source = f"{tmp_path}/big.py:llama"
    ran = run("show", source, "--arg", "layers=80", "--device", "meta", "--input", "input_ids=1,8:int64:0..9", "--json")
    assert ran.code == 0
    report = ran.report
    assert report["totals"]["parameters"] == 70_553_706_496  # the published figure for Llama 3 70B
    assert report["totals"]["bytes"] == 4 * 70_553_706_496
    assert {row["device"] for row in report["parameters"]} == {"meta"}
    assert {row["gradient"]["status"] for row in report["parameters"] if row["kind"] == "parameter"} == {"unknown"}
    table = run("show", source, "--arg", "layers=80", "--device", "meta", "--no-forward").out
    assert "model.layers.{0..79}.mlp.up_proj.weight" in table
    assert len(table.splitlines()) < 120
