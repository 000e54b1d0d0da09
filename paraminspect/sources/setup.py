"""What is known of SOURCE before torch is imported: a spec or Python code, the options that go with it, the rules."""

from __future__ import annotations

import gc
import importlib
import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import field, replace
from typing import TYPE_CHECKING, Any, Literal

from paraminspect.errors import UserError, did_you_mean
from paraminspect.frozen import dataclass
from paraminspect.init.rules import BoundRule, bind_rules, option_rules
from paraminspect.isolation.importing import check_target, is_reference, load_attribute
from paraminspect.isolation.phases import enter
from paraminspect.isolation.process import collector_at_rest
from paraminspect.sources.locate import CheckpointPath, Reference, find
from paraminspect.spec.dtypes import SEEDS, check_device
from paraminspect.spec.inputs import parse_inputs, parse_keywords
from paraminspect.spec.model import LOSSES, Input, Spec, resolve_references

if TYPE_CHECKING:
    from paraminspect.modules.subject import Loss, Subject
    from paraminspect.sources.checkpoint.stored_tensors import StoredTensors
    from paraminspect.sources.input_search import FoundBefore


@dataclass(frozen=True)
class Setup:
    """What to inspect: a spec that is known to be right, or Python code; the command line's choices.

    `own_rules` are the spec's, `given_rules` those of the command line, which come after them. A spec has the other
    choices in it already. `size_option` is the option that gave Python code the last of its arguments. `memories` are
    of the inputs that were found for the model, by its arguments.
    """

    source: Spec | Reference
    own_rules: tuple[BoundRule, ...]
    given_rules: tuple[BoundRule, ...]
    seed_per_parameter: bool
    loss: Loss
    inputs: tuple[Input, ...] = ()
    seed: int = 0
    device: str | None = None
    size_option: str = "--arg"
    training: bool | None = None
    strip: str = "auto"
    weights: StoredTensors | None = None
    options: tuple[str, ...] = ()
    memories: dict[str, FoundBefore] = field(default_factory=dict, compare=False, repr=False)

    @property
    def rules(self) -> tuple[BoundRule, ...]:
        """Return all the rules, in the order in which they are applied."""
        return (*self.own_rules, *self.given_rules)

    def subject(self, later: int = 0) -> Subject:
        """Build the module from the seed, or from one that is so much `later`, and load the weights that are given."""
        built = self._built(later)
        source = replace(built.source, options=self.options)
        subject = replace(built, source=source, training=self.training, strip=self.strip)
        if self.weights is None:
            return subject
        from paraminspect.sources.load_weights import with_weights
        from paraminspect.sources.module import inputs_of

        subject = with_weights(subject, self.weights)
        if isinstance(self.source, Reference):  # the input goes where the weights are, which were on meta perhaps
            make_input, search = inputs_of(subject.module, self.inputs, self._memory())
            return replace(subject, make_input=make_input, find_input=search)
        return subject

    def _built(self, later: int) -> Subject:
        from paraminspect.sources import module, sequential

        enter("building the model")

        if not isinstance(self.source, Reference):
            spec = replace(self.source, seed=(self.source.seed + later) % SEEDS)
            return replace(sequential.load(spec), loss=self.loss)
        try:
            seed = (self.seed + later) % SEEDS
            return module.load(self.source, seed, self.device, self.inputs, self.loss, self._memory())
        except UserError as error:
            if error.where != "--arg":
                raise
            raise UserError(error.message, where=self.size_option, hint=error.hint, code=error.code) from error

    def _memory(self) -> FoundBefore:
        """Return what is known of the input of the model that these arguments make."""
        from paraminspect.sources.input_search import FoundBefore

        assert isinstance(self.source, Reference)
        return self.memories.setdefault(repr(self.source.args), FoundBefore())

    def resized(self, what: Literal["width", "depth"], number: int) -> Setup:
        """Return this with another width or depth: another spec, or an argument of the user's code."""
        source = self.source
        if isinstance(source, Reference):
            if what in source.args:
                hint = "keep one of them"
                raise UserError(f"{what!r} is given twice", where=f"--arg {what}", hint=hint, code="bad-option")
            return replace(self, source=replace(source, args=source.args | {what: number}), size_option=f"--{what}")
        from paraminspect.spec.resize import with_depth, with_width

        spec = with_width(source, number) if what == "width" else with_depth(source, number)
        return replace(self, source=_checked(spec, backward=True))


def prepare(
    source: str,
    *,
    arg: Sequence[str] | None = None,
    scheme: str | None = None,
    bias: str | None = None,
    rule: Sequence[str] | None = None,
    seed_per_parameter: bool = False,
    allow_code: bool = False,
    seed: int | None = None,
    device: str | None = None,
    input: Sequence[str] | None = None,
    loss: str | None = None,
    eval_mode: bool = False,
    train_mode: bool = False,
    strip_prefix: str = "auto",
    weights: str | None = None,
    backward: bool = True,
) -> Setup:
    """Check everything that can be checked without torch, so that a typo fails at once; then import torch.

    The arguments are the options of those names, as they were typed; without `backward` none is going to run. Raises
    UserError for whatever the user can put right.
    """
    options = [
        *_words(arg=arg, weights=weights, strip_prefix=None if strip_prefix == "auto" else strip_prefix),
        *_words(scheme=scheme, bias=bias, rule=rule, seed_per_parameter=seed_per_parameter, allow_code=allow_code),
        *_words(seed=seed, device=device, eval=eval_mode, train=train_mode, input=input, loss=loss),
    ]
    found = find(source)
    if isinstance(found, CheckpointPath):
        message = "a checkpoint holds tensors, and no network that could be run"
        hint = f"show, share and diff read it; to run it name its model: path/file.py:NAME --weights {source}"
        raise UserError(message, where=source, hint=hint, code="unsupported-source")
    _check_seed(seed)
    _check_loss(loss)
    _check_file(weights)
    inputs = parse_inputs(input or ())
    for one in inputs:
        if one.function is not None:
            check_target(one.function)
    keywords = parse_keywords(arg or ())
    own_rules: tuple[BoundRule, ...] = ()
    if isinstance(found, Reference):
        found = replace(found, args=keywords)
        rules = option_rules(scheme, bias, rule or ())
        bind_rules((rule for rule in rules if not is_reference(rule.scheme)), allow_code=False)
        _begin(seed or 0, device)
    else:
        if keywords:
            hint = "it is for a model in Python: file.py:attr or pkg.mod:attr"
            raise UserError("a spec takes no arguments", where="--arg", hint=hint, code="bad-option")
        spec = replace(
            found,
            seed=found.seed if seed is None else seed,
            input=_only(inputs, input or ()) or found.input,
            loss=loss or found.loss,
            device=found.device if device is None else check_device(device, "--device"),
        )
        found = _checked(spec, backward)
        rules = option_rules(scheme, bias, rule or ())
        loss, seed_per_parameter = found.loss, seed_per_parameter or found.seed_per_parameter
        own_rules = bind_rules(found.init, allow_code, seed_per_parameter)
    given_rules = bind_rules(rules, True, seed_per_parameter)  # code that is named on the command line may run
    function = _function(loss)
    import_torch()
    from paraminspect.modules.subject import Loss

    how = Loss(loss or "sum", function)
    training = True if train_mode else False if eval_mode else None
    return Setup(
        found,
        own_rules,
        given_rules,
        seed_per_parameter,
        how,
        inputs,
        seed or 0,
        device,
        training=training,
        strip=strip_prefix,
        weights=_stored(weights, found, device),
        options=tuple(options),
    )


def _words(**options: str | int | Sequence[str] | None) -> Iterator[str]:
    """Yield those of the options that were typed, with their values: ``--name=value``."""
    for name, value in options.items():
        option = "--" + name.replace("_", "-")
        if value is True:
            yield option
        elif value is not None and value is not False:
            yield from (f"{option}={one}" for one in ([value] if isinstance(value, str | int) else value))


def _checked(spec: Spec, backward: bool) -> Spec:
    """Return a spec whose memory there is, and whose references lead somewhere. Raises UserError for any other."""
    from paraminspect.spec.footprint import check_memory

    check_memory(spec, backward)
    resolve_references(spec)
    return spec


def _begin(seed: int, device: str | None) -> None:
    """Seed torch before any code of the user's is imported: a module may be built while it is."""
    if device is not None:
        check_device(device, "--device")
    import_torch()
    sys.modules["torch"].manual_seed(seed)


def import_torch() -> None:
    """Import torch, and keep what that makes out of every later collection.

    Raises UserError when torch is missing or broken.
    """
    if "torch" in sys.modules:
        return
    try:
        enter("importing torch")
        with collector_at_rest():
            importlib.import_module("torch")
            gc.freeze()
    except (ImportError, OSError) as error:
        hint = "install it anew: https://pytorch.org/get-started/locally/"
        raise UserError(f"torch cannot be imported: {error}", hint=hint, code="no-torch") from error


def _check_seed(seed: int | None) -> None:
    if seed is not None and not 0 <= seed < SEEDS:
        hint = "for example: --seed 0"
        raise UserError("a seed is from 0 to 2**64 - 1", where="--seed", hint=hint, code="bad-option")


def _check_file(weights: str | None) -> None:
    """Refuse, before torch is imported, a file of weights that is none."""
    if weights is not None:
        from paraminspect.sources.checkpoint.listing import list_checkpoint

        list_checkpoint(weights)


def _stored(weights: str | None, source: Spec | Reference, device: str | None) -> StoredTensors | None:
    """Read the file of ``--weights``. Raises UserError on the meta device, which has no room for numbers."""
    if weights is None:
        return None
    if (device if isinstance(source, Reference) else source.device) == "meta":
        message = "on the meta device there is nothing to load into"
        raise UserError(message, where=f"--weights {weights}", hint="for example: --device cpu", code="bad-option")
    from paraminspect.sources.checkpoint.stored_tensors import read_tensors

    return read_tensors(weights)


_LOSSES_MEANT = {
    **dict.fromkeys(("ce", "xent", "nll", "nllloss", "logloss", "softmax"), "cross_entropy"),
    **dict.fromkeys(("l2", "squared", "square"), "mse"),
    **dict.fromkeys(("avg", "average"), "mean"),
}


def _check_loss(name: str | None) -> None:
    """Refuse a loss that is not known by name, unless it is one of the user's that is there to be loaded."""
    if name is None or name in LOSSES:
        return
    if is_reference(name):
        check_target(name)
        return
    word = name.removeprefix("torch.").removeprefix("nn.").removeprefix("functional.")
    close = f"did you mean {_LOSSES_MEANT[word.casefold()]!r}?" if word.casefold() in _LOSSES_MEANT else ""
    hint = close or did_you_mean(word, LOSSES) or f"known: {', '.join(LOSSES)}; or your own: file.py:func"
    raise UserError(f"unknown value {name!r}", where="--loss", hint=hint, code="bad-option")


def _function(loss: str | None) -> Callable[[Any], Any] | None:
    """Import the user's loss; None for one of torch's."""
    if loss is None or not is_reference(loss):
        return None
    found = load_attribute(loss)
    if callable(found):
        function: Callable[[Any], Any] = found
        return function
    message = f"{loss} is an object of type {type(found).__name__}, not a function"
    hint = "write it as def loss(output): return output.square().mean()"
    raise UserError(message, where="--loss", hint=hint, code="bad-loss")


def _only(parsed: Sequence[Input], given: Sequence[str]) -> Input | None:
    """Return the one input that the network of a spec takes; `given` is how it was written."""
    if not parsed:
        return None
    if len(parsed) > 1:
        message = f"the network of a spec takes one input, got {len(parsed)}"
        raise UserError(message, where="--input", hint=f"give it once: --input {given[0]}", code="bad-option")
    if parsed[0].function is not None:
        hint = "give its shape, e.g. --input 2,4; a function is for a model in Python"
        message = "the input of a spec's network is drawn from its shape"
        raise UserError(message, where=parsed[0].where, hint=hint, code="bad-option")
    if parsed[0].name is not None:
        shape = given[0].partition("=")[2]
        message = f"the input of a spec's network has no name, got {parsed[0].name!r}"
        raise UserError(message, where="--input", hint=f"leave the name out: --input {shape}", code="bad-option")
    return parsed[0]
