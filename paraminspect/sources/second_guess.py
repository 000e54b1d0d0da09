"""What to try after an input that did not fit: what the failure tells, then the sizes that are usual in the field."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial

from torch import nn

from paraminspect.modules.layer_input import BATCH, STEPS, fitted
from paraminspect.sources.argument_guess import ArgumentGuess
from paraminspect.sources.first_guess import Needs
from paraminspect.sources.input_trial import Misfit
from paraminspect.spec.model import Input

_IMAGES = (224, 28, 64, 256, 299, 384, 128, 96, 227, 512)
_VOLUMES = ((16, 112, 112), (16, 224, 224), (64, 64, 64), (96, 96, 96), (128, 128, 128))
_SIGNALS = (128, 64, 256, 512, 1_024, 4_096, 16_000)
_SEQUENCES = (16, 1, 8, 64)
_FRAMES = 8
_MODALITIES = ("input_ids", "pixel_values", "input_features", "input_values", "bbox", "decoder_input_ids")
_LARGEST = 4_096
_MOST_NUMBERS = 4

Resize = Callable[[Input], Input | None]


def closer(guess: ArgumentGuess, misfit: Misfit, needs: Needs) -> Iterator[ArgumentGuess]:
    """Yield what the failure asks for: arguments, channels, features, a number of dimensions."""
    yield from _with_named(guess, misfit.text, needs)
    if "NoneType" in misfit.text:
        yield from _with_more(guess, needs, [name for name in needs.other_names() if name in _MODALITIES])
        yield from _with_more(guess, needs, [*needs.other_names()])
    yield from _fitted(guess, misfit)
    yield from _with_dimensions(guess, misfit.text)
    yield from _flattened(guess, misfit)


def sized(guess: ArgumentGuess, misfit: Misfit) -> Iterator[ArgumentGuess]:
    """Yield the sizes that the failure names, and one sample alone where it speaks of batches."""
    yield from _with_numbers(guess, misfit.text)
    if re.search(r"(?i)\bbatch(es)?\b", misfit.text):
        yield from _resized(guess, lambda one: replace(one, shape=(1, *one.shape[1:])) if one.shape[1:] else None)


def broader(guess: ArgumentGuess, needs: Needs) -> Iterator[ArgumentGuess]:
    """Yield the sizes that are usual, and last every modality that the forward names."""
    for side in _IMAGES:
        yield from _resized(guess, partial(_with_sides, sides=(side, side), dimensions=4))
    for sides in _VOLUMES:
        yield from _resized(guess, partial(_with_sides, sides=sides, dimensions=5))
    for steps in _SIGNALS:
        yield from _resized(guess, partial(_with_sides, sides=(steps,), dimensions=3))
    for steps in _SEQUENCES:
        yield from _resized(guess, partial(_with_steps, steps=steps))
    yield from _resized(guess, _alone)
    yield from _with_more(guess, needs, [name for name in needs.other_names() if name in _MODALITIES])


# --- what the failure asks for ---------------------------------------------------------------------------------


def _with_named(guess: ArgumentGuess, text: str, needs: Needs) -> Iterator[ArgumentGuess]:
    """Add the arguments that the error names."""
    words = set(re.findall(r"\w+", text))
    yield from _with_more(guess, needs, [name for name in needs.other_names() if name in words])


def _with_more(guess: ArgumentGuess, needs: Needs, names: Sequence[str]) -> Iterator[ArgumentGuess]:
    """Add the arguments whose names tell what they take."""
    more = {name: needs.value(name) for name in names if name not in guess.values}
    more = {name: value for name, value in more.items() if value is not None}
    if more:
        yield replace(guess, values={**guess.values, **more})


def _fitted(guess: ArgumentGuess, misfit: Misfit) -> Iterator[ArgumentGuess]:
    """Give the layer that failed what it takes, where an argument reached it, or no layer came before it."""
    if misfit.layer is None:
        return
    names = [*guess.values]
    places = misfit.reached or (range(len(names)) if misfit.is_first else ())
    for at in places:
        value = guess.values[names[at]]
        found = fitted(value, misfit.layer) if isinstance(value, Input) else None
        if found is not None:
            yield guess.with_value(names[at], found)


def _with_dimensions(guess: ArgumentGuess, text: str) -> Iterator[ArgumentGuess]:
    """Give the arguments as many dimensions as the code unpacks, or one more where an index lies outside."""
    unpacked = re.search(r"values to unpack \(expected (\d)", text)
    if unpacked:
        number = int(unpacked[1])
        yield from _resized(guess, partial(_with_rank, number=number, frames_first=True))
        yield from _resized(guess, partial(_with_rank, number=number, frames_first=False))
    elif re.search(r"Dimension out of range|index out of range|too many indices", text):
        yield from _resized(guess, lambda one: _with_rank(one, len(one.shape) + 1, frames_first=True))
        yield from _resized(guess, lambda one: _with_rank(one, len(one.shape) - 1, frames_first=True))


def _flattened(guess: ArgumentGuess, misfit: Misfit) -> Iterator[ArgumentGuess]:
    """Solve for the sides of an image that, flattened, has as many features as a Linear takes."""
    layer = misfit.layer
    if not isinstance(layer, nn.Linear) or not misfit.got or not misfit.got[0].dim():
        return
    ratio = layer.in_features / max(misfit.got[0].shape[-1], 1)

    def scaled(one: Input, more: int) -> Input | None:
        dimensions = len(one.shape) - 2
        if one.bounds or dimensions < 1:
            return None
        sides = tuple(max(round(side * ratio ** (1 / dimensions)) + more, 1) for side in one.shape[2:])
        return replace(one, shape=(*one.shape[:2], *sides))

    for solved in _resized(guess, partial(scaled, more=0)):
        sides = next(one.shape[-1] for one in solved.values.values() if isinstance(one, Input) and len(one.shape) > 2)
        for side in sorted((side for side in _IMAGES if 0.8 < side / sides < 1.25), key=lambda side: abs(side - sides)):
            yield from _resized(guess, partial(_with_sides, sides=(side, side), dimensions=4))
    for more in (0, 4, -4, 2, -2, 1, -1):
        yield from _resized(guess, partial(scaled, more=more))


def _with_numbers(guess: ArgumentGuess, text: str) -> Iterator[ArgumentGuess]:
    """Take the sizes that the error names: for the sides of images, the steps, or the features."""
    present = {size for value in guess.values.values() if isinstance(value, Input) for size in value.shape}
    numbers = dict.fromkeys(int(number) for number in re.findall(r"(?<![\w.])\d{1,6}(?![\w.]*\w)", text))
    named = [number for number in numbers if 2 <= number <= _LARGEST and number not in present][:_MOST_NUMBERS]
    for number in named:
        yield from _resized(guess, partial(_with_every_side, number=number))
        yield from _resized(guess, partial(_with_features, number=number))


# --- other shapes ----------------------------------------------------------------------------------------------


def _resized(guess: ArgumentGuess, resize: Resize) -> Iterator[ArgumentGuess]:
    """Yield the guess with all of its tensors resized at once, if that changes any."""
    values = {}
    for name, value in guess.values.items():
        found = resize(value) if isinstance(value, Input) else None
        if found is not None and found.shape != value.shape and all(size > 0 for size in found.shape):
            values[name] = found
    if values:
        yield replace(guess, values={**guess.values, **values})


def _with_sides(one: Input, sides: tuple[int, ...], dimensions: int) -> Input | None:
    if one.bounds or len(one.shape) != dimensions:
        return None
    return replace(one, shape=(*one.shape[: dimensions - len(sides)], *sides))


def _with_every_side(one: Input, number: int) -> Input | None:
    dimensions = len(one.shape)
    return _with_sides(one, (number,) * (dimensions - 2), dimensions) if dimensions > 2 else None


def _with_features(one: Input, number: int) -> Input | None:
    return None if one.bounds or len(one.shape) > 3 or not one.shape else replace(one, shape=(*one.shape[:-1], number))


def _with_steps(one: Input, steps: int) -> Input | None:
    """Return a sequence of so many steps, made of features where there was none."""
    if len(one.shape) != 2:
        return None
    if one.bounds:
        return replace(one, shape=(one.shape[0], steps))
    return replace(one, shape=(one.shape[0], steps, one.shape[-1]))


def _alone(one: Input) -> Input | None:
    """Return one number a sample where there was a sequence of integers, else one sample without a batch."""
    return replace(one, shape=one.shape[:1] if one.bounds else one.shape[1:]) if len(one.shape) > 1 else None


def _with_rank(one: Input, number: int, frames_first: bool) -> Input | None:
    shape = one.shape
    if len(shape) == number or not shape or number < 1:
        return None
    if number < len(shape):
        return replace(one, shape=(shape[0], *shape[len(shape) - number + 1 :]))
    more = number - len(shape)
    if one.bounds:
        return replace(one, shape=(*shape, *(STEPS,) * more))
    if len(shape) >= 4:
        frames = (_FRAMES,) * more
        return replace(
            one, shape=(shape[0], *frames, *shape[1:]) if frames_first else (*shape[:2], *frames, *shape[2:])
        )
    before = shape[:1] if len(shape) > 1 else (BATCH,)
    return replace(one, shape=(*before, *(STEPS,) * more, *(shape[1:] if len(shape) > 1 else shape)))
