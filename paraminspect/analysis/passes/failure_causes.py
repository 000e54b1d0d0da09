"""What a failed forward is about: the code, the input, or layers that do not fit each other, which no input changes."""

from __future__ import annotations

from collections.abc import Iterator
from types import ModuleType

from torch import Tensor, nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.modules.conv import _ConvNd

from paraminspect.analysis.passes.running_modules import Frame
from paraminspect.modules.layer_input import fitted
from paraminspect.modules.nested_tensors import dtype_name, storage_of, tensors_in
from paraminspect.modules.subject import Batch, Given
from paraminspect.spec.model import Input

_RESHAPES = nn.Flatten | nn.Unflatten | nn.PixelShuffle | nn.PixelUnshuffle
_NORMS = _NormBase | nn.LayerNorm | nn.GroupNorm | nn.RMSNorm


def is_of_code(error: BaseException) -> bool:
    """Tell whether something is missing that no input brings: a package, a name, an attribute of a module, a method.

    That torch has no kernel for a dtype is a NotImplementedError too.
    """
    if isinstance(error, AttributeError):
        return isinstance(error.obj, nn.Module | ModuleType)
    if isinstance(error, NotImplementedError):
        return not any(words in str(error) for words in ("not implemented for", "Could not run"))
    return isinstance(error, ImportError | NameError) and not isinstance(error, UnboundLocalError)


def is_of_layers(root: nn.Module, frame: Frame) -> bool:
    """Tell whether a layer of a Sequential takes another size than the layer before it returns, and got that.

    Activations and norms between the two keep it.
    """
    path, _, name = frame.name.rpartition(".")
    parent, given = root.get_submodule(path), tensors_in(frame.args)
    takes = _size_taken(frame.module)
    if takes is None or not given or not isinstance(parent, nn.Sequential):
        return False
    before = next(_layers_before(parent, name), None)
    at, size = takes
    returned = None if before is None else _size_returned(before)
    if returned is None or returned[0] != at or given[0].dim() < 2:
        return False
    return bool(returned[1] != size and given[0].shape[at] == returned[1])


def _layers_before(parent: nn.Sequential, name: str) -> Iterator[nn.Module]:
    """Yield the layers before the one of that name, the nearest first, without those that keep the size."""
    names = [*parent._modules]
    for one in reversed([*parent][: names.index(name)]):
        keeps = isinstance(one, _NORMS) or not (isinstance(one, _RESHAPES) or any(True for _ in one.parameters()))
        if not keeps:
            yield one


def _size_taken(layer: nn.Module) -> tuple[int, int] | None:
    """Return the dimension whose size a layer prescribes for its input, and that size."""
    if isinstance(layer, nn.Linear):
        return -1, layer.in_features
    return (1, layer.in_channels) if isinstance(layer, _ConvNd) else None


def _size_returned(layer: nn.Module) -> tuple[int, int] | None:
    """Return the dimension whose size is that of a layer whatever it is given, and that size."""
    if isinstance(layer, nn.Linear):
        return -1, layer.out_features
    return (1, layer.out_channels) if isinstance(layer, _ConvNd) else None


def input_wanted(frame: Frame, batch: Batch) -> str | None:
    """Return what to give in the place of an argument that the layer got as it was given, as ``ids=2,4:int64:0..9``.

    None where the layer does not say, or got something else, or where several arguments have no names.
    """
    got = [tensor for tensor in tensors_in(frame.args) if storage_of(tensor) is not None]
    for one in batch.given:
        value = one.value
        if not isinstance(value, Tensor) or (one.name is None and len(batch.given) > 1):
            continue
        alike = [tensor for tensor in got if storage_of(tensor) == storage_of(value)]
        is_whole = any(tensor.shape == value.shape for tensor in alike)
        if is_whole or (alike and isinstance(frame.module, nn.Embedding | nn.EmbeddingBag)):
            wanted = fitted(_as_given(one, value), frame.module)
            return None if wanted is None else _typed(wanted, one.name)
    return None


def _as_given(one: Given, value: Tensor) -> Input:
    is_whole = not (value.is_floating_point() or value.is_complex())
    return Input(tuple(value.shape), "0..1" if is_whole else "uniform", dtype_name(value.dtype), one.name)


def _typed(wanted: Input, name: str | None) -> str:
    """Return an input as ``--input`` takes it, which draws fractions in the model's own dtype."""
    shape = ",".join(map(str, wanted.shape))
    text = f"{shape}:{wanted.dtype}:{wanted.sample}" if wanted.bounds else shape
    return f"{name}={text}" if name else text
