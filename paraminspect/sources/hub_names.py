"""Models of Hugging Face as a SOURCE: a name of their hub, a folder that was saved, its ``config.json``.

None of them can be read as it is, but transformers makes a model of it. Nothing is imported or fetched here.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
import shlex
from pathlib import Path
from typing import Final

_CONFIGURATION: Final = "config.json"
_WEIGHTS: Final = (".safetensors", ".bin", ".index.json")
_OTHER: Final = (".yaml", ".yml", ".json", ".py", ".pt", ".pth", ".ckpt")
_SITE: Final = re.compile(r"(?:https?://)?(?:huggingface\.co|hf\.co)/")
_NAME: Final = re.compile(r"(?:[A-Za-z0-9][\w.-]*/)?[A-Za-z0-9][\w.-]*")
_MOST_BYTES: Final = 1 << 20


def of_the_hub(source: str) -> str:
    """Return what to type for ``bert-base-uncased``, ``org/name`` or their address; an empty text for another SOURCE.

    A name without an owner has a hyphen, as nothing in Python has.
    """
    name, was_address = _SITE.subn("", source.rstrip("/"), count=1)
    owner, slash, model = name.rpartition("/")
    is_file = model.endswith((*_WEIGHTS, *_OTHER)) or owner in (".", "..", "configs")
    if not _NAME.fullmatch(name) or is_file or os.path.lexists(owner or source):
        return ""
    return _pretrained(name) if slash or was_address or "-" in model.strip("-") else ""


def of_a_saved_model(source: str) -> str:
    """Return what to type for a folder or a file that transformers has written; an empty text for another."""
    path = Path(source)
    folder = path if path.is_dir() else path.parent
    if not _describes_a_model(folder / _CONFIGURATION if path.is_dir() else path):
        return ""
    if path.name in (_CONFIGURATION, folder.name) and any(one.name.endswith(_WEIGHTS) for one in folder.iterdir()):
        return _pretrained(str(folder))
    code = f"AutoModel.from_config(AutoConfig.from_pretrained({str(path)!r}))"
    imports = "from transformers import AutoConfig, AutoModel"
    return f"write two lines into model.py, and name it model.py:net\n{imports}\ndef net(): return {code}"


def _pretrained(name: str) -> str:
    argument = shlex.quote(f"pretrained_model_name_or_path={name}")
    return f"transformers:AutoModel.from_pretrained --arg {argument}"


def _describes_a_model(path: Path) -> bool:
    with contextlib.suppress(OSError, ValueError, RecursionError):
        if path.suffix == ".json" and path.stat().st_size < _MOST_BYTES:
            found = json.loads(path.read_text(encoding="utf-8"))
            return (
                isinstance(found, dict)
                and "layers" not in found
                and ("model_type" in found or "architectures" in found)
            )
    return False
