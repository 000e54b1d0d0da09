"""Ties that a module declares: the forms of transformers 4 and 5, and declarations that make no sense."""

from __future__ import annotations

from typing import Any

import pytest
from torch import nn

from paraminspect.modules.declared_ties import declared_ties
from paraminspect.modules.subject import Ties


class Config:
    def __init__(self, **settings: bool) -> None:
        vars(self).update(settings)


class Failing:
    @property
    def tie_word_embeddings(self) -> bool:
        raise RuntimeError("no")


class Decoder(nn.Module):
    """Names as models have them; `keys` are what it declares."""

    def __init__(self, keys: Any = None, config: Any = None, tied: bool = False) -> None:
        super().__init__()
        self.emb = nn.Embedding(3, 2)
        self.head = nn.Linear(2, 3)
        self.boxes = nn.ModuleList(nn.Linear(2, 2) for _ in range(3))
        if tied:
            self.head.weight = self.emb.weight
        if keys is not None:
            self._tied_weights_keys = keys
        if config is not None:
            self.config = config


HEAD = ("head.weight", "emb.weight")
DICT = {"head.weight": "emb.weight"}
WANTED = Config(tie_word_embeddings=True)
BOXES = (
    ("boxes.1.bias", "boxes.0.bias"),
    ("boxes.1.weight", "boxes.0.weight"),
    ("boxes.2.bias", "boxes.0.bias"),
    ("boxes.2.weight", "boxes.0.weight"),
)
CASES: dict[str, tuple[Any, Any, bool, tuple[tuple[str, ...], ...]]] = {
    "nothing": (None, None, False, ()),
    "names": (DICT, None, False, (HEAD,)),
    "a configuration that wants them": (DICT, WANTED, False, (HEAD,)),
    "a configuration that does not": (DICT, Config(tie_word_embeddings=False), True, ()),
    "a configuration that does not say": (DICT, Config(), False, ()),
    "a configuration that fails": (DICT, Failing(), False, ()),
    "a name that nothing has": (
        {"gone.weight": "emb.weight"},
        None,
        False,
        (("gone.weight", "emb.weight"),),
    ),
    "patterns": ({r"boxes.(?![0])\d+": "boxes.0"}, None, False, BOXES),
    "a source that is a target": (
        {"boxes.1.weight": "boxes.0.weight", "boxes.2.weight": "boxes.1.weight"},
        None,
        False,
        (("boxes.1.weight", "boxes.0.weight"), ("boxes.2.weight", "boxes.0.weight")),
    ),
    "a pattern that matches nothing": ({r"boxes.[7-9]": "boxes.0"}, None, False, ()),
    "names paired as they come": (
        {r"boxes.[12].weight": "boxes.0"},
        None,
        False,
        (
            ("boxes.1.weight", "boxes.0.bias"),
            ("boxes.2.weight", "boxes.0.weight"),
        ),
    ),
    "a pattern that cannot be paired": ({"head.bias": r"boxes.\d"}, None, False, ()),
    "no pattern": ({"(": "emb.weight"}, None, False, ()),
    "no names": ({1: "emb.weight", "head.weight": None}, None, False, ()),
    "a list": (["head.weight"], None, False, (("head.weight",),)),
    "a list of what is tied": (["head.weight"], None, True, (("head.weight", "emb.weight"),)),
    "a list of patterns": ([r"boxes.\d.bias"], None, False, tuple((f"boxes.{i}.bias",) for i in range(3))),
    "a list and a configuration that does not say": (["head.weight"], Config(), False, (("head.weight",),)),
    "a list and a configuration that does not": (["head.weight"], Config(tie_word_embeddings=False), False, ()),
    "a list of a name that nothing has": (["gone.weight"], None, False, (("gone.weight",),)),
    "a list of nonsense": (["(", 3, None], None, False, ()),
    "a text": ("head.weight", None, False, ()),
}


@pytest.mark.parametrize("name", CASES)
def test_a_declaration(name: str) -> None:
    keys, config, tied, wanted = CASES[name]
    assert declared_ties(Decoder(keys, config, tied)) == Ties(wanted, "_tied_weights_keys" if wanted else "")


def test_a_submodule_declares_its_own_names() -> None:
    module = nn.ModuleDict({"a": Decoder(DICT), "b": Decoder(DICT, Config(tie_word_embeddings=False))})
    assert declared_ties(module).names == (("a.head.weight", "a.emb.weight"),)


def test_a_submodule_reached_twice_declares_under_both_names() -> None:
    one = Decoder(DICT)
    assert declared_ties(nn.Sequential(one, one)).names == (
        ("0.head.weight", "0.emb.weight"),
        ("1.head.weight", "1.emb.weight"),
    )


def test_what_two_modules_declare_is_listed_once() -> None:
    inner = Decoder(DICT)
    outer = nn.Module()
    outer.inner = inner
    outer._tied_weights_keys = {f"inner.{target}": f"inner.{source}" for target, source in DICT.items()}
    assert declared_ties(outer).names == (("inner.head.weight", "inner.emb.weight"),)


class Raising(Decoder):
    """Its declaration is a property, and fails."""

    @property
    def _tied_weights_keys(self) -> dict[str, str]:
        raise ValueError("not yet")


def test_a_declaration_that_raises_is_none() -> None:
    assert declared_ties(Raising()) == Ties()


TINY: dict[str, dict[str, Any]] = {
    "GPT2": {"n_embd": 8, "n_head": 2, "n_layer": 1, "vocab_size": 10, "bos_token_id": 0, "eos_token_id": 0},
    "Bert": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 10,
    },
    "T5": {"d_model": 8, "d_kv": 4, "d_ff": 8, "num_layers": 1, "num_heads": 2, "vocab_size": 10},
    "Llama": {
        "hidden_size": 8,
        "num_hidden_layers": 1,
        "num_attention_heads": 2,
        "intermediate_size": 8,
        "vocab_size": 10,
    },
}
HEADS = {"GPT2": "LMHeadModel", "Bert": "ForMaskedLM", "T5": "ForConditionalGeneration", "Llama": "ForCausalLM"}


@pytest.mark.parametrize("name", TINY)
@pytest.mark.parametrize("tied", [True, False])
def test_models_of_transformers_mean_what_they_tie(name: str, tied: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = getattr(transformers, f"{name}Config")(**TINY[name], tie_word_embeddings=tied)
    model = getattr(transformers, name + HEADS[name])(config)
    assert dict(declared_ties(model).names) == model.get_expanded_tied_weights_keys(all_submodels=True)
