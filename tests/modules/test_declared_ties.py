"""Ties that a module declares: the forms of transformers 4 and 5, and declarations that make no sense."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from paraminspect import inspect
from paraminspect.modules.declared_ties import declared_ties
from paraminspect.modules.subject import Ties
from paraminspect.render import render
from paraminspect.report import Report
from paraminspect.text.escape import View
from tests.cases import each


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


@each("name", CASES)
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


class Language(nn.Module):
    """A language model as transformers declares them: by its class."""

    _tied_weights_keys = DICT

    def __init__(self, tied: bool = True) -> None:
        super().__init__()
        self.emb, self.head = nn.Embedding(3, 2), nn.Linear(2, 3, bias=False)
        if tied:
            self.head.weight = self.emb.weight
        self.config = Config(tie_word_embeddings=True)

    def forward(self, x: Tensor) -> Any:
        return self.head(self.emb(x))


class Forwarding(nn.Module):
    """A wrapper that asks what it wraps for whatever it lacks, as torch.compile and PEFT do."""

    def __init__(self, base: nn.Module) -> None:
        super().__init__()
        self.base_model = base

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(self.base_model, name)

    def forward(self, *args: Any) -> Any:
        return self.base_model(*args)


WRAPPED = {
    "a wrapper": (Forwarding, "base_model."),
    "two": (lambda model: Forwarding(Forwarding(model)), "base_model.base_model."),
    "compiled": (lambda model: torch.compile(model, backend="eager"), "_orig_mod."),
    "compiled and wrapped": (lambda model: Forwarding(torch.compile(model, backend="eager")), "base_model._orig_mod."),
    "DataParallel twice": (lambda model: nn.DataParallel(nn.DataParallel(model)), "module.module."),
}


@each(("wrap", "prefix"), WRAPPED.values(), ids=WRAPPED)
@each("tied", [True, False])
def test_a_wrapper_declares_nothing_of_what_it_wraps(wrap: Any, prefix: str, tied: bool) -> None:
    model = wrap(Language(tied))
    names = (f"{prefix}emb.weight", f"{prefix}head.weight")
    assert declared_ties(model) == Ties((names[::-1],), "_tied_weights_keys")
    report = inspect(model, forward=False)
    (found,) = report.sharing
    assert report.model is not None
    names = tuple(name.removeprefix(report.model.prefix) for name in names)
    assert report.model.prefix == ("" if "base_model" in prefix else prefix)
    kind, verdict = ("same-parameter", "intact") if tied else ("not-shared", "broken")
    assert (found.kind, found.names, found.declared, found.verdict) == (kind, names, True, verdict)


class Silent(nn.Module):
    """Two names for one Parameter."""

    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = nn.Linear(2, 2, bias=False), nn.Linear(2, 2, bias=False)
        self.b.weight = self.a.weight


class Saying(Silent):
    _tied_weights_keys = None


def test_that_a_tie_is_not_declared_is_said_of_kinds_of_model_that_declare() -> None:
    plain, declaring = (inspect(kind(), forward=False) for kind in (Silent, Saying))
    assert [(one.verdict, one.origin) for one in plain.sharing] == [("undeclared", None)]
    assert [(one.verdict, one.origin) for one in declaring.sharing] == [("undeclared", "_tied_weights_keys")]
    assert "declared" not in share(plain)
    assert "declared  no: _tied_weights_keys does not say that these names are meant to be one" in share(declaring)


def share(report: Report) -> str:
    return "".join(render(replace(report, command="share"), "table", View()))


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


@each("name", TINY)
@each("tied", [True, False])
def test_models_of_transformers_mean_what_they_tie(name: str, tied: bool) -> None:
    transformers = pytest.importorskip("transformers", reason="transformers is not installed")
    config = getattr(transformers, f"{name}Config")(**TINY[name], tie_word_embeddings=tied)
    model = getattr(transformers, name + HEADS[name])(config)
    assert dict(declared_ties(model).names) == model.get_expanded_tied_weights_keys(all_submodels=True)
