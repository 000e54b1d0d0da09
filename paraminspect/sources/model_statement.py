"""What a model says of its input: its configuration, its sizes, the weights that are published for its class."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from enum import EnumMeta
from itertools import chain, islice
from typing import Any

from torch import nn

_CONFIGS = ("config", "pretrained_cfg", "default_cfg")
_PARTS = (
    "text_config",
    "vision_config",
    "audio_config",
    "encoder",
    "decoder",
    "text_encoder",
    "vision_encoder",
    "audio_encoder",
    "backbone_config",
)
_SIDES = ("image_size", "img_size", "input_size", "input_resolution", "resolution", "sample_size", "crop_size")
_MOST_MODULES = 64


class Statement:
    """The words of one model: ``config`` of transformers and diffusers, timm's ``pretrained_cfg``, attributes."""

    def __init__(self, module: nn.Module) -> None:
        self.module = module
        self.configs = [*_configs(module)]

    def has(self, key: str) -> bool:
        """Tell whether a configuration has anything under the name."""
        return any(_get(config, key) is not None for _, config in self.configs)

    def number(self, *keys: str) -> int | None:
        """Return the first whole number of at least 1 that a configuration has under one of the names."""
        for key in keys:
            for _, config in self.configs:
                found = _get(config, key)
                found = found[0] if isinstance(found, tuple | list) and found else found
                if _is_size(found):
                    return int(found)
        return None

    def flag(self, key: str) -> bool:
        """Tell whether a configuration has True under the name."""
        return any(_get(config, key) is True for _, config in self.configs)

    def sides(self, dimensions: int = 2) -> tuple[tuple[int, ...], str] | None:
        """Return the size of an image, or of a volume, and what says so; None where nothing does."""
        for name, config in self.configs:
            for key in _SIDES:
                found = _sides(_get(config, key), dimensions)
                if found:
                    return found, name
        for key, value in self._attributes():
            found = _sides(value, dimensions)
            if found:
                return found, key
        published = _published(self.module)
        return ((published,) * dimensions, "published weights") if published else None

    def _attributes(self) -> Iterator[tuple[str, Any]]:
        """Yield the attributes that may be sizes of an image: those of the model, then of its first layers."""
        for layer in islice(self.module.modules(), _MOST_MODULES):
            own = vars(layer)
            yield from ((key, own[key]) for key in _SIDES if key in own)


def _configs(module: nn.Module) -> Iterator[tuple[str, Any]]:
    """Yield the model's own configurations, then the parts of these."""
    own = [(name, _get(module, name)) for name in _CONFIGS]
    own = [(name, config) for name, config in own if config is not None and not isinstance(config, nn.Module)]
    yield from own
    for name, config in own:
        for part in _PARTS:
            found = _get(config, part)
            if found is not None and not isinstance(found, str | int | float):
                yield name, found


def _get(held: Any, key: str) -> Any:
    """Look up a key or an attribute; the object is the user's, so that anything may happen."""
    try:
        return held.get(key) if isinstance(held, Mapping) else getattr(held, key, None)
    except Exception:
        return None


def _is_size(found: Any) -> bool:
    return isinstance(found, int) and not isinstance(found, bool) and found > 0


def _sides(found: Any, dimensions: int) -> tuple[int, ...] | None:
    """Read an image's size: a number, the sides, channels and sides, or a mapping of height and width."""
    if _is_size(found):
        return (found,) * dimensions
    if isinstance(found, Mapping):
        found = [found.get("height"), found.get("width")]
    if not isinstance(found, tuple | list) or not found or not all(map(_is_size, found)):
        return None
    if len(found) == 1:
        return (found[0],) * dimensions
    return tuple(found[-dimensions:]) if len(found) >= dimensions else None


def _published(module: nn.Module) -> int | None:
    """Return the size to which the weights beside the model's class have images cropped: torchvision's way."""
    for cls in islice(type(module).__mro__, 2):
        beside = [*vars(sys.modules.get(cls.__module__, sys)).values()]
        for member in chain.from_iterable(map(_members, beside)):
            size = getattr(getattr(member, "transforms", None), "keywords", {}).get("crop_size")
            size = size[0] if isinstance(size, tuple | list) and size else size
            if isinstance(size, int) and _is_size(size):
                return size
    return None


def _members(found: Any) -> list[Any]:
    return [*found.__members__.values()] if isinstance(found, EnumMeta) else []
