"""Whether a SOURCE is a checkpoint, by its name alone."""

from __future__ import annotations

import os
from typing import Final

from paraminspect.sources.hub_names import of_the_hub
from paraminspect.spec.text import names_in

CHECKPOINTS: Final = (".safetensors", ".safetensors.index.json", ".pt", ".pth", ".bin", ".ckpt")


def is_checkpoint(source: str) -> bool:
    """Tell whether SOURCE names a checkpoint: by its suffix, as a URL, or as a folder."""
    if source.endswith(CHECKPOINTS):
        return True
    if "://" in source and not os.path.lexists(source):
        return not of_the_hub(source)
    names = names_in(source) if source and os.path.isdir(source) else []  # noqa: PTH112  # Path raises where it is too long
    return any(name.endswith(CHECKPOINTS) or name in (".metadata", ".metadata.tmp") for name in names)
