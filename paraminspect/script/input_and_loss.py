"""How a script draws the input, runs the network and takes the loss."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.init.schemes.bound_scheme import LOW_PRECISION
from paraminspect.isolation.importing import import_statement, is_reference
from paraminspect.script.network import quoted, walk
from paraminspect.spec.inputs import default_dtype, layer_dtypes
from paraminspect.spec.model import Input, LayerItem, Spec
from paraminspect.spec.signatures import resolve

_DRAW = {"uniform": "rand", "normal": "randn", "zeros": "zeros", "ones": "ones"}
_LOSS = {
    "sum": "loss = Y.sum()",
    "mean": "loss = Y.mean()",
    "mse": "loss = nn.functional.mse_loss(Y, torch.zeros_like(Y))",
    "cross_entropy": """\
logits = Y.reshape(-1, Y.shape[-1])
targets = torch.arange(logits.shape[0], device=logits.device) % logits.shape[1]
loss = nn.functional.cross_entropy(logits, targets)""",
}
_TENSORS_IN = '''\
def tensors_in(output):
    """Return the tensors in nested tuples, in order."""
    if isinstance(output, torch.Tensor):
        return [output]
    return [tensor for item in output for tensor in tensors_in(item)]'''
_RANDOM = '''\
def random_loss(outputs):
    """Return the inner product of the outputs with a random cotangent of norm 1."""
    outputs = [y for y in outputs if y.is_floating_point() or y.is_complex()]
    exact = (torch.float64, torch.complex64, torch.complex128)
    drawn = [
        torch.randn(y.shape, dtype=dtype, device="meta" if y.is_meta else "cpu")
        for y, dtype in [(y, y.dtype if y.dtype in exact else torch.float32) for y in outputs]
    ]
    norms = [torch.linalg.vector_norm(c) for c in drawn]
    norm = norms[0] if len(norms) == 1 else torch.linalg.vector_norm(torch.stack(norms))
    products = [(c / norm).to(y).conj() * y for c, y in zip(drawn, outputs)]
    losses = [product.sum().real if product.is_complex() else product.sum() for product in products]
    return losses[0] if len(losses) == 1 else torch.stack(losses).sum()'''
_TUPLES = ("RNN", "LSTM", "GRU", "LSTMCell", "MultiheadAttention", "AdaptiveLogSoftmaxWithLoss")


def loss_helpers(spec: Spec) -> Iterator[str]:
    """Yield the source, or the import, of what the loss calls."""
    if is_reference(spec.loss):
        yield import_statement(spec.loss)
    elif _may_give_tuple(spec):
        yield _TENSORS_IN
    if spec.loss == "random" and not _one_known_output(spec):
        yield _RANDOM


def input_statement(wanted: Input, spec: Spec) -> str:
    """Write the call that draws the input X."""
    device = spec.device or "cpu"
    shape = ", ".join(map(str, wanted.shape))
    meta = ', device="meta"' if device == "meta" else ""
    move = f".to({quoted(device)})" if device not in ("cpu", "meta") else ""
    if wanted.bounds:
        low, high = wanted.bounds
        dtype = f", dtype=torch.{wanted.dtype}" if wanted.dtype not in (None, "int64") else ""
        return f"X = torch.randint({low}, {high + 1}, {wanted.shape}{dtype}{meta}){move}"
    dtype = wanted.dtype or default_dtype(spec)
    suffix = "" if dtype == "float32" else f", dtype=torch.{dtype}"
    return f"X = torch.{_DRAW[wanted.sample]}({shape}{suffix}{meta}){move}"


def _may_give_tuple(spec: Spec) -> bool:
    """Tell whether some layer returns more than one tensor, so that the last one may be it."""
    layers = [item for item in walk(spec.layers) if isinstance(item, LayerItem)]
    return any(
        layer.type in _TUPLES or resolve(layer.type, layer.args, layer.kwargs).get("return_indices") is True
        for layer in layers
    )


def _one_known_output(spec: Spec) -> bool:
    """Tell whether the network returns one tensor, of the dtype of all of it."""
    return not _may_give_tuple(spec) and (spec.dtype is not None or not any(layer_dtypes(spec.layers)))


def _random(spec: Spec) -> str:
    """Write the inner product with a random cotangent for the one output of the network."""
    dtype, device = spec.dtype or "float32", spec.device or "cpu"
    drawn_in = f", dtype=torch.{dtype}" if dtype == "float64" or "complex" in dtype else ""
    meta = ', device="meta"' if device == "meta" else ""
    is_moved = dtype in LOW_PRECISION or device not in ("cpu", "meta")
    product = f"({'C.to(Y)' if is_moved else 'C'}{'.conj()' if 'complex' in dtype else ''} * Y).sum()"
    return (
        f"C = torch.randn(Y.shape{drawn_in}{meta})\nC = C / torch.linalg.vector_norm(C)\n"
        f"loss = {product}{'.real' if 'complex' in dtype else ''}"
    )


def _loss(spec: Spec) -> str:
    """Write the loss, which is of all the tensors that the network returns where these may be several."""
    outputs = "tensors_in(Y)" if _may_give_tuple(spec) else "[Y]"
    if is_reference(spec.loss):
        return f"loss = {spec.loss.rpartition(':')[2]}(Y)"
    if spec.loss == "random":
        return _random(spec) if _one_known_output(spec) else f"loss = random_loss({outputs})"
    if not _may_give_tuple(spec):
        return _LOSS[spec.loss]
    found = f"outputs = [tensor for tensor in {outputs} if tensor.is_floating_point()]"
    if spec.loss in ("sum", "mean"):
        return f"{found}\nloss = torch.stack([tensor.{spec.loss}() for tensor in outputs]).sum()"
    return f"{found}\n{_LOSS[spec.loss].replace('Y', 'outputs[0]')}"


def pass_statements(spec: Spec) -> Iterator[str]:
    """Write forward, loss and backward, and between them the lines that print."""
    yield "Y = net(X)"
    yield _loss(spec)
    yield 'print("net", net)\nprint("X", X)\nprint("Y", Y)\nprint("loss", loss)'
    yield "if loss.requires_grad:\n    loss.backward()"
