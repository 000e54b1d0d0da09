"""Which input a module is run on when the user gives none, and what is said when none is known."""

from __future__ import annotations

from collections import UserDict
from collections.abc import Callable
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.nn.utils.rnn import pack_sequence

from paraminspect.errors import UserError
from paraminspect.modules.subject import Batch, InputFound
from paraminspect.sources.examples import batch_of, doubt, example_maker
from paraminspect.sources.given_input import input_maker
from paraminspect.spec.inputs import parse_input
from tests.cases import each


class Wants(nn.Module):
    """A module whose forward is what the test gives it."""

    def __init__(self, forward: Callable[..., Any], **attributes: Any) -> None:
        super().__init__()
        self.layer = nn.Linear(3, 2)
        for name, value in attributes.items():
            setattr(self, name, value)
        self.forward = forward


def found(module: nn.Module, option: str = "--input") -> InputFound:
    make, search = example_maker(module, option)
    return InputFound(make) if search is None else search.find()


def made(module: nn.Module) -> Batch:
    make, why, _ = vars(found(module)).values()
    assert why == ""
    assert make is not None
    return make()  # type: ignore[no-any-return]  # it is a Batch


def shapes(batch: Batch) -> list[Any]:
    return [(one.name, tuple(one.value.shape)) for one in batch.given]


# --- what the module brings along ------------------------------------------------------------------------------

X, M = torch.ones(2, 3), torch.zeros(2)
BROUGHT: dict[str, tuple[dict[str, Any], Callable[..., Any], list[tuple[str | None, Any]], str]] = {
    "a tensor": ({"example_input_array": X}, lambda x: x, [(None, X)], "example_input_array"),
    "a tuple": ({"example_input_array": (X, M)}, lambda x, m: x, [(None, X), (None, M)], "example_input_array"),
    "a dict": ({"example_input_array": {"x": X, "m": M}}, lambda x, m: x, [("x", X), ("m", M)], "example_input_array"),
    "dummies": ({"dummy_inputs": {"x": X}}, lambda x: x, [("x", X)], "dummy_inputs"),
    "dummies in a UserDict": ({"dummy_inputs": UserDict(x=X)}, lambda x: x, [("x", X)], "dummy_inputs"),
    "the example first": (
        {"dummy_inputs": {"x": M}, "example_input_array": X},
        lambda x: x,
        [(None, X)],
        "example_input_array",
    ),
    "none, then dummies": (
        {"dummy_inputs": [X], "example_input_array": None},
        lambda x: x,
        [(None, X)],
        "dummy_inputs",
    ),
    "any keywords": ({"dummy_inputs": {"z": X}}, lambda **kw: kw, [("z", X)], "dummy_inputs"),
    "with a flag": (
        {"dummy_inputs": {"x": X, "flag": True}},
        lambda x, flag: x,
        [("x", X), ("flag", True)],
        "dummy_inputs",
    ),
}


@each("name", BROUGHT)
def test_what_a_module_brings_along(name: str) -> None:
    attributes, forward, wanted, origin = BROUGHT[name]
    batch = made(Wants(forward, **attributes))
    assert batch.origin == origin
    assert [one.name for one in batch.given] == [name for name, _ in wanted]
    for one, (_, value) in zip(batch.given, wanted, strict=True):
        if isinstance(value, Tensor):
            assert torch.equal(one.value, value)
            assert one.value is not value and one.value.data_ptr() != value.data_ptr()
        else:
            assert one.value is value


def test_every_call_makes_a_copy_of_its_own() -> None:
    make = found(Wants(lambda x: x, example_input_array=X)).make_input
    assert make is not None
    first = make().args[0]
    first.zero_()
    assert torch.equal(make().args[0], X)
    assert torch.equal(X, torch.ones(2, 3))


def test_a_deep_structure_moves_to_the_device_of_the_model() -> None:
    packed = pack_sequence([torch.ones(3, 3), torch.ones(1, 3)])
    module = Wants(lambda x: x, example_input_array={"x": {"a": [X, (M,)]}}).to("meta")
    value = made(module).kwargs["x"]
    assert value["a"][0].is_meta and value["a"][1][0].is_meta
    sequence = batch_of({"x": packed}).kwargs["x"]
    assert torch.equal(sequence.data, packed.data) and sequence.data is not packed.data


class Raises(Wants):
    @property
    def dummy_inputs(self) -> dict[str, Tensor]:
        print("dummy")
        torch.rand(3)
        raise NotImplementedError("not here")


def test_dummies_that_raise_print_and_draw_are_left_out(capfd: pytest.CaptureFixture[str]) -> None:
    module = Raises(lambda x: x)
    before = torch.get_rng_state()
    found(module)
    assert torch.equal(torch.get_rng_state(), before)
    batch = made(module)
    assert (shapes(batch), batch.origin) == ([(None, (2, 3))], "inferred")
    why = found(Raises(lambda a, b: refuse())).why_no_input
    assert why.endswith(
        "; forward(a, b) needs 2 inputs; pass --input a=SHAPE --input b=SHAPE; "
        "dummy_inputs of Raises raised NotImplementedError: not here"
    )
    assert capfd.readouterr().out == ""


def test_dummies_that_the_forward_does_not_take_are_left_out() -> None:
    """As those that a vision model of the transformers library inherits."""
    batch = made(Wants(lambda pixels, **more: pixels, dummy_inputs={"input_ids": X}))
    assert (shapes(batch), batch.origin) == ([(None, (2, 3))], "inferred")


# --- a guess ---------------------------------------------------------------------------------------------------

GUESSED: dict[str, tuple[Callable[[], nn.Module], tuple[int, ...], torch.dtype]] = {
    "linear": (lambda: nn.Linear(3, 2), (2, 3), torch.float32),
    "float64": (lambda: nn.Linear(3, 2, dtype=torch.float64), (2, 3), torch.float64),
    "bfloat16": (lambda: nn.Linear(3, 2).bfloat16(), (2, 3), torch.bfloat16),
    "complex": (lambda: nn.Linear(3, 2, dtype=torch.complex64), (2, 3), torch.complex64),
    "conv1d": (lambda: nn.Conv1d(3, 4, 5), (2, 3, 32), torch.float32),
    "conv2d": (lambda: nn.Conv2d(1, 4, 5), (2, 1, 32, 32), torch.float32),
    "conv3d": (lambda: nn.Conv3d(2, 1, 1), (2, 2, 32, 32, 32), torch.float32),
    "a large kernel": (lambda: nn.Conv2d(3, 4, (41, 3)), (2, 3, 41, 32), torch.float32),
    "a dilated kernel": (lambda: nn.Conv1d(3, 4, 11, dilation=5), (2, 3, 51), torch.float32),
    "padding": (lambda: nn.Conv1d(3, 4, 41, padding=20), (2, 3, 32), torch.float32),
    "the same size": (lambda: nn.Conv1d(3, 4, 41, padding="same"), (2, 3, 41), torch.float32),
    "transposed": (lambda: nn.ConvTranspose2d(3, 4, 5), (2, 3, 32, 32), torch.float32),
    "embedding": (lambda: nn.Embedding(7, 3), (2, 4), torch.int64),
    "bag": (lambda: nn.EmbeddingBag(7, 3), (2, 4), torch.int64),
    "lstm": (lambda: nn.LSTM(5, 3), (4, 2, 5), torch.float32),
    "gru, batch first": (lambda: nn.GRU(5, 3, batch_first=True), (2, 4, 5), torch.float32),
    "cell": (lambda: nn.GRUCell(5, 3), (2, 5), torch.float32),
    "behind others": (
        lambda: nn.Sequential(nn.Flatten(), nn.Sequential(nn.ReLU(), nn.Linear(6, 1))),
        (2, 6),
        torch.float32,
    ),
    "weight norm": (lambda: nn.utils.parametrizations.weight_norm(nn.Linear(3, 2, bias=False)), (2, 3), torch.float32),
}


@each("name", GUESSED)
def test_a_guess_that_runs(name: str) -> None:
    build, shape, dtype = GUESSED[name]
    module = build()
    torch.manual_seed(0)
    batch = made(module)
    (value,) = batch.args
    assert (tuple(value.shape), value.dtype, batch.origin) == (shape, dtype, "inferred")
    module(value)
    torch.manual_seed(0)
    wanted = torch.randint(0, 7, shape) if dtype is torch.int64 else torch.rand(shape, dtype=dtype)
    assert torch.equal(value, wanted)


def test_a_guess_is_on_the_device_of_the_model() -> None:
    assert made(nn.Linear(3, 2, device="meta")).args[0].is_meta


NET = nn.Linear(3, 2)


def refuse(*_: Any, **__: Any) -> Any:
    raise ValueError("nothing fits")


UNKNOWN: dict[str, tuple[Callable[[], nn.Module], str]] = {
    "two inputs": (
        lambda: Wants(lambda src, tgt, mask=None: refuse()),
        "forward(src, tgt, mask=None) needs 2 inputs; pass --input src=SHAPE --input tgt=SHAPE",
    ),
    "annotated": (
        lambda: nn.Bilinear(2, 3, 4),
        ("forward(input1: Tensor, input2: Tensor) needs 2 inputs; pass --input input1=SHAPE --input input2=SHAPE"),
    ),
    "all have defaults": (
        lambda: Wants(lambda ids=None, flag=False, size=(3,): refuse()),
        "forward(ids=None, flag=False, size=…) names no input it needs; pass --input ids=SHAPE",
    ),
    "anything": (
        lambda: Wants(lambda *x, **k: refuse()),
        "forward(*x, **k) names no input it needs; pass --input SHAPE",
    ),
    "only by name": (lambda: Wants(lambda *, x: refuse()), "forward(x) needs 1 input; pass --input x=SHAPE"),
    "many": (
        lambda: Wants(lambda a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1, k=1, m=1, n=1: refuse()),
        "forward(a=1, b=1, c=1, d=1, e=1, f=1, g=1, h=1, i=1, j=1, k=1, m=1, n=1) names no input it needs; "
        "pass --input a=SHAPE",
    ),
    "no parameters": (nn.ReLU, "forward(input: Tensor) needs 1 input; pass --input input=SHAPE"),
    "a lazy layer": (
        lambda: nn.Sequential(nn.LazyLinear(3), nn.Linear(3, 2)),
        "forward(input) needs 1 input; pass --input input=SHAPE",
    ),
    "nothing to embed": (lambda: nn.Embedding(0, 3), "forward(input: Tensor) needs 1 input; pass --input input=SHAPE"),
    "no features": (
        lambda: nn.Linear(0, 3, bias=False),
        "forward(input: Tensor) needs 1 input; pass --input input=SHAPE",
    ),
    "no signature": (lambda: Wants(getattr), "the input is not known; pass --input SHAPE"),
    "no forward": (lambda: nn.ModuleList([NET]), "ModuleList defines none"),
}


@each("name", UNKNOWN)
@pytest.mark.filterwarnings("ignore:Lazy modules:UserWarning", "ignore:Initializing zero-element:UserWarning")
def test_what_to_pass(name: str) -> None:
    build, wanted = UNKNOWN[name]
    result = found(build())
    assert result.make_input is None
    tried, _, said = result.why_no_input.removeprefix("no forward: ").replace("torch.", "").rpartition(f"; {wanted}")
    assert (tried + said == wanted) if not result.attempts else ("tried" in tried and said == "")


# --- what was given --------------------------------------------------------------------------------------------


def drawn(module: nn.Module, *texts: str) -> Batch:
    return input_maker(module, tuple(map(parse_input, texts)))()


def test_inputs_by_position_and_by_name() -> None:
    module = Wants(lambda a, b, *, mask, t: a).double()
    torch.manual_seed(5)
    batch = drawn(module, "2,3", "4:normal", "mask=2,2:bool", "t=scalar:int64:0..9")
    torch.manual_seed(5)
    wanted = [
        torch.rand(2, 3, dtype=torch.float64),
        torch.randn(4, dtype=torch.float64),
        torch.randint(0, 2, (2, 2), dtype=torch.bool),
        torch.randint(0, 10, ()),
    ]
    assert [torch.equal(one.value, value) for one, value in zip(batch.given, wanted, strict=True)] == [True] * 4
    assert [one.value.dtype for one in batch.given] == [value.dtype for value in wanted]
    assert [one.name for one in batch.given] == [None, None, "mask", "t"]
    assert batch.origin == "--input"
    assert (doubt(batch), doubt(batch_of(X)), doubt(Batch(()))) == ("", "", "")


def test_the_dtype_and_the_device_are_those_of_the_first_parameters() -> None:
    module = Wants(lambda *x: x)
    module.codes = nn.Parameter(torch.ones(2, dtype=torch.int8), requires_grad=False)
    module.half()
    assert drawn(module, "2").args[0].dtype is torch.float16
    assert drawn(nn.ReLU(), "2").args[0].dtype is torch.float32
    assert drawn(nn.Linear(2, 1, device="meta"), "2").args[0].is_meta


REFUSED = {
    ("2", "2", "2"): ("forward(a, b=None) takes 2 inputs by position, got 3", "leave out what is too much"),
    ("2", "a=2"): ("'a' is given by position and by name", "keep one of them"),
    ("aa=2",): ("forward(a, b=None) has no argument 'aa'", "did you mean 'a'?"),
    ("zz=2",): ("forward(a, b=None) has no argument 'zz'", "it takes: a and b"),
}


@pytest.mark.parametrize("texts", REFUSED)
def test_inputs_that_the_forward_has_no_place_for(texts: tuple[str, ...]) -> None:
    with pytest.raises(UserError) as caught:
        drawn(Wants(lambda a, b=None: a), *texts)
    assert (caught.value.message, caught.value.hint) == REFUSED[texts]
    assert (caught.value.where, caught.value.code) == ("--input", "bad-option")


def test_more_by_position_than_there_are_names() -> None:
    with pytest.raises(UserError) as caught:
        drawn(Wants(lambda a, *, mask: a), "2", "2")
    assert caught.value.hint == "name the others: --input NAME=SHAPE"
    assert len(drawn(Wants(lambda a, *more: a), "2", "2", "2").args) == 3
    assert drawn(Wants(lambda a, **more: a), "2", "z=2").kwargs["z"].shape == (2,)
    assert len(drawn(Wants(max), "2", "z=2").given) == 2


# --- what Python gives -----------------------------------------------------------------------------------------

GIVEN: dict[str, tuple[Any, list[tuple[str | None, type]]]] = {
    "a tensor": (X, [(None, Tensor)]),
    "a tuple": ((X, 3), [(None, Tensor), (None, int)]),
    "a list": ([X], [(None, Tensor)]),
    "a dict": ({"x": X, "flag": None}, [("x", Tensor), ("flag", type(None))]),
    "a UserDict": (UserDict(x=X), [("x", Tensor)]),
    "a dict that is no keywords": ({3: X}, [(None, dict)]),
    "one packed sequence": (pack_sequence([X]), [(None, type(pack_sequence([X])))]),
    "nothing at all": ((), []),
}


@each("name", GIVEN)
def test_what_is_given_from_python(name: str) -> None:
    value, wanted = GIVEN[name]
    batch = batch_of(value)
    assert [(one.name, type(one.value)) for one in batch.given] == wanted
    assert batch.origin == "given"


def test_given_tensors_are_copies_that_keep_what_they_are() -> None:
    leaf = torch.ones(2, requires_grad=True)
    made_of = leaf * 2
    a, b, again, nested = batch_of((leaf, made_of, leaf, {"k": [leaf]})).args
    assert a.requires_grad and b.requires_grad and a.is_leaf and b.is_leaf
    assert again is a and nested["k"][0] is a
    a.data.zero_()
    assert leaf.sum().item() == 2
    b.sum().backward()
    assert leaf.grad is None


class Refuses:
    def __init__(self) -> None:
        self.x = X

    def __deepcopy__(self, memo: Any) -> Any:
        raise ValueError


def test_what_cannot_be_copied_is_handed_over() -> None:
    refuses = Refuses()
    assert batch_of((refuses,)).args == (refuses,)


def test_a_doubt_names_where_the_input_came_from() -> None:
    batch = made(Wants(lambda x: x, example_input_array=X))
    assert doubt(batch) == "the input was the model's example_input_array; pass --input"


def test_the_models_of_transformers() -> None:
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_layer=1, n_head=2, n_embd=8, vocab_size=11, n_positions=16)
    batch = made(transformers.GPT2Model(config))
    assert (shapes(batch), batch.origin) == ([("input_ids", (3, 5))], "dummy_inputs")
    vision = transformers.ViTModel(transformers.ViTConfig(hidden_size=8, num_hidden_layers=1, num_attention_heads=2))
    batch = made(vision)
    assert (shapes(batch), batch.origin) == ([("pixel_values", (2, 3, 224, 224))], "config")
    given = batch_of(transformers.BatchEncoding({"input_ids": torch.ones(1, 2, dtype=torch.long)}))
    assert shapes(given) == [("input_ids", (1, 2))]
