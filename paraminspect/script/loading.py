"""How a script loads weights from a file, and sets the mode, as a person would write it."""

from __future__ import annotations

from collections.abc import Iterator

from paraminspect.modules.subject import Loading
from paraminspect.script.network import quoted


def loading_imports(loading: Loading | None) -> list[str]:
    """Return the imports that come after torch's."""
    if loading is None or not loading.path.endswith(".safetensors"):
        return []
    return [f"from safetensors.torch import {'load_file' if _is_whole(loading) else 'load_model'}"]


def _is_whole(loading: Loading) -> bool:
    return loading.complete or bool(loading.less)


def loading_statements(loading: Loading | None, training: bool | None) -> Iterator[str]:
    """Write what loads the state_dict, and what sets the mode.

    A safetensors file leaves out the other names of a shared tensor; ``load_model`` knows of them.
    """
    if loading is not None:
        yield "\n".join(_load(loading))
    if training is not None:
        yield "net.train()" if training else "net.eval()"


def _load(loading: Loading) -> Iterator[str]:
    path, strict = quoted(loading.path), "" if loading.complete else ", strict=False"
    if loading.path.endswith(".safetensors"):
        if not _is_whole(loading):
            yield f"load_model(net, {path})"
            return
        state = f"load_file({path})"
    else:
        keys = "".join(f"[{quoted(key)}]" for key in loading.key.split(".")) if loading.key else ""
        state = f'torch.load({path}, map_location="cpu", weights_only=True){keys}'
    if loading.less:
        yield f"state = {state}"
        state = f"{{name.removeprefix({quoted(loading.less)}): tensor for name, tensor in state.items()}}"
    yield f"net.load_state_dict({state}{strict})"
