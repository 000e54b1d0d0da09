"""What an argument of a common name takes: those of transformers, diffusers, torch_geometric, torchvision's detectors.

A rule goes by the name that many models share, and by what the model says of its sizes; none by a model's own name.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from inspect import Parameter

import torch
from torch import nn
from torch.nn.modules.conv import _ConvNd

from paraminspect.modules.layer_input import BATCH, SIDE
from paraminspect.sources.argument_guess import Value
from paraminspect.sources.model_statement import Statement
from paraminspect.sources.signature import annotation
from paraminspect.spec.model import Input

TOKENS = 16
_WAVE, _CHANNELS, _NODES, _EDGES, _FRAMES, _DETECTED = 16_000, 3, 16, 32, 8, 128
_WIDTHS = (
    "cross_attention_dim",
    "joint_attention_dim",
    "caption_channels",
    "text_embed_dim",
    "text_dim",
    "encoder_hid_dim",
)
_TENSORS = re.compile(r"(?i)^(?:typing\.)?(?:list|sequence|tuple)\[(?:torch\.)?Tensor(?:, \.\.\.)?\]$")

Maker = Callable[[Statement], Value]


def value_named(name: str, parameter: Parameter | None, says: Statement) -> Value:
    """Return what the argument of that name takes, None where its name does not tell."""
    kind = annotation(parameter) if parameter is not None else ""
    if _TENSORS.match(kind):
        return [Input((_CHANNELS, _DETECTED, _DETECTED)) for _ in range(BATCH)]
    if name == "targets" and "dict" in kind.lower():
        return [_boxes() for _ in range(BATCH)]
    maker = _MAKERS.get(name)
    if maker is None:
        maker = next((found for ending, found in _ENDINGS.items() if name.endswith(ending)), None)
    return None if maker is None else maker(says)


# --- text ------------------------------------------------------------------------------------------------------


def _ids(says: Statement) -> Value:
    embeddings = [one.num_embeddings for one in says.module.modules() if isinstance(one, nn.Embedding)]
    words = says.number("vocab_size") or (max(embeddings) if embeddings else 0)
    return Input((BATCH, _steps(says)), f"0..{words - 1}", "int64") if words else None


def _steps(says: Statement) -> int:
    return min(TOKENS, says.number("max_position_embeddings", "n_positions", "max_sequence_length") or TOKENS)


def _ones(says: Statement) -> Value:
    return Input((BATCH, _steps(says)), "ones", "int64")


def _zeros(says: Statement) -> Value:
    return Input((BATCH, _steps(says)), "zeros", "int64")


def _cells(says: Statement) -> Value:
    return Input((BATCH, _steps(says), 4), "zeros", "int64")


def _context(says: Statement) -> Value:
    width = says.number(*_WIDTHS)
    return Input((BATCH, TOKENS, width), "normal") if width else None


# --- images and video ------------------------------------------------------------------------------------------


def _image(says: Statement) -> Value:
    found = says.sides()
    return Input((BATCH, says.number("num_channels", "in_channels") or _CHANNELS, *(found[0] if found else (224, 224))))


def _pictures(says: Statement) -> Value:
    """Return images, or a video where the model says how many frames one has."""
    image, frames = _image(says), says.number("num_frames")
    shape = image.shape if frames is None else (BATCH, frames, *image.shape[1:])
    return Input(shape, "normal")


def _video(says: Statement) -> Value:
    image = _image(says)
    return Input((BATCH, says.number("num_frames") or _FRAMES, *image.shape[1:]), "normal")


def _boxes() -> dict[str, torch.Tensor]:
    """Return one object of an image to detect: a box, its class, its mask, the key points of COCO's persons."""
    side = float(_DETECTED)
    points = torch.tensor([side / 2, side / 2, 1.0]).repeat(1, 17, 1)
    mask = torch.zeros(1, _DETECTED, _DETECTED, dtype=torch.uint8)
    mask[:, _DETECTED // 8 : -_DETECTED // 8, _DETECTED // 8 : -_DETECTED // 8] = 1
    box = torch.tensor([[side / 8, side / 8, side - side / 8, side - side / 8]])
    return {"boxes": box, "labels": torch.ones(1, dtype=torch.int64), "masks": mask, "keypoints": points}


# --- sound and series ------------------------------------------------------------------------------------------


def _features(says: Statement) -> Value:
    """Return a spectrogram: channels of mel first where the model has positions for half the steps."""
    mels, positions = says.number("num_mel_bins"), says.number("max_source_positions")
    if mels and positions:
        return Input((BATCH, mels, 2 * positions), "normal")
    width = mels or says.number("input_feat_per_channel", "feature_projection_input_dim", "feature_size", "input_dim")
    return Input((BATCH, 128, width), "normal") if width else None


def _waves(says: Statement) -> Value:
    """Return sound: a spectrogram where the model says how long one is, else a second at 16 kHz."""
    mels, steps, channels = says.number("num_mel_bins"), says.number("max_length"), says.number("audio_channels")
    if mels and steps and not says.has("conv_dim"):
        return Input((BATCH, steps, mels), "normal")
    own = _first_convolution(says.module)
    is_stacked = channels is not None or (not says.has("conv_dim") and isinstance(own, nn.Conv1d))
    return Input((BATCH, *([channels or 1] if is_stacked else []), _WAVE), "normal")


def _series(says: Statement) -> Value:
    steps, channels = says.number("context_length", "prediction_length"), says.number("num_input_channels")
    return Input((BATCH, steps, *([channels] if channels else [])), "normal") if steps else None


# --- what is denoised ------------------------------------------------------------------------------------------


def _sample(says: Statement) -> Value:
    """Return what a model of diffusers denoises, of the sizes that it was made for."""
    layer = _first_convolution(says.module)
    channels = says.number("in_channels") or (layer.in_channels if layer else None)
    dimensions = len(layer.kernel_size) if layer else 2
    said = says.sides(dimensions)
    sides = tuple(min(side, 256 if dimensions > 1 else 4_096) for side in (said[0] if said else (SIDE,) * dimensions))
    return Input((BATCH, channels, *sides), "normal") if channels else None


def _hidden(says: Statement) -> Value:
    """Return what a transformer of diffusers denoises: an image where it says its size, else a sequence."""
    if says.sides():
        return _sample(says)
    channels = says.number("in_channels")
    return Input((BATCH, TOKENS, channels), "normal") if channels else None


def _first_convolution(module: nn.Module) -> _ConvNd | None:
    return next((layer for layer in module.modules() if isinstance(layer, _ConvNd)), None)


def _steps_of_noise(says: Statement) -> Value:
    return Input((BATCH,), "0..999", "int64")


def _classes(says: Statement) -> Value:
    known = says.number("num_class_embeds", "num_embeds_ada_norm", "num_classes")
    return Input((BATCH,), f"0..{known - 1}", "int64") if known else None


def _pooled(says: Statement) -> Value:
    width = says.number("pooled_projection_dim", "projection_dim")
    return Input((BATCH, width), "normal") if width else None


def _places(says: Statement) -> Value:
    return Input((TOKENS, 3), "zeros")


def _hint(says: Statement) -> Value:
    """Return the image that controls a network of diffusers: eight times the sides of what is denoised."""
    sample, channels = _sample(says), says.number("conditioning_channels") or _CHANNELS
    return None if sample is None else Input((BATCH, channels, *(8 * side for side in sample.shape[2:])), "normal")


_MAKERS: dict[str, Maker] = {
    "pixel_values": _pictures,
    "pixel_values_videos": _video,
    "input_features": _features,
    "input_values": _waves,
    "past_values": _series,
    "bbox": _cells,
    "attention_mask": _ones,
    "token_type_ids": _zeros,
    "sample": _sample,
    "hidden_states": _hidden,
    "encoder_hidden_states": _context,
    "timestep": _steps_of_noise,
    "timesteps": _steps_of_noise,
    "class_labels": _classes,
    "pooled_projections": _pooled,
    "img_ids": _places,
    "txt_ids": _places,
    "guidance": lambda says: Input((BATCH,)),
    "controlnet_cond": _hint,
    "edge_index": lambda says: Input((2, _EDGES), f"0..{_NODES - 1}", "int64"),
    "edge_weight": lambda says: Input((_EDGES,)),
    "batch": lambda says: Input((_NODES,), "zeros", "int64"),
    "z": lambda says: Input((_NODES,), "1..9", "int64"),
    "pos": lambda says: Input((_NODES, 3), "normal"),
}
_ENDINGS: dict[str, Maker] = {"input_ids": _ids}
