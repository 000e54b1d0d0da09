"""What a person means by a scheme that is spelled in another way: ``normal(std=0.01)`` is ``normal:std=0.01``."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any, Final, TypeAlias

from paraminspect.errors import UserError
from paraminspect.init.schemes.registry import SCHEMES, bind, canonical_name
from paraminspect.init.schemes.scheme import DECIMAL, Scheme
from paraminspect.spec.layer_table import TABLE

_Written: TypeAlias = tuple[str, dict[str, str]]
_KAIMING: Final = ("kaiming_normal", "kaiming_uniform")
_XAVIER: Final = ("xavier_normal", "xavier_uniform")
_NAMES: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("he", "kaiming", "msra", "he_init"), _KAIMING),
    **dict.fromkeys(("glorot", "xavier"), _XAVIER),
    "lecun": ("lecun_normal", "lecun_uniform"),
    **dict.fromkeys(("gaussian", "gauss", "randn", "norm", "n"), ("normal",)),
    **dict.fromkeys(("rand", "unif"), ("uniform",)),
    **dict.fromkeys(("truncnormal", "truncnorm", "trunc_norm"), ("trunc_normal",)),
    **dict.fromkeys(("zero", "0", "0.0", "none"), ("zeros",)),
    **dict.fromkeys(("one", "1", "1.0"), ("ones",)),
    **dict.fromkeys(("const", "fill", "full"), ("constant",)),
    **dict.fromkeys(("ortho", "orthonormal"), ("orthogonal",)),
    "mup": ("mup_readout",),
}
_ARGUMENTS: Final[Mapping[str, tuple[str, ...]]] = {
    **dict.fromkeys(("low", "min", "lower", "from"), ("a",)),
    **dict.fromkeys(("high", "max", "upper", "to"), ("b",)),
    **dict.fromkeys(("sigma", "stddev", "sd", "scale"), ("std",)),
    **dict.fromkeys(("mu", "loc"), ("mean",)),
    **dict.fromkeys(("value", "v", "c", "fill_value"), ("val",)),
    **dict.fromkeys(("activation", "act", "non_linearity"), ("nonlinearity",)),
    "fan": ("mode",),
    "negative_slope": ("a",),
}
_LAYERS: Final = frozenset(layer.lower() for layer in TABLE)


def explained(error: UserError, text: str) -> UserError:
    """Return the error about the scheme `text`, its hint the spelling that was meant where that can be told."""
    found = meant(text)
    if not found:
        return error
    hint = f"did you mean {' or '.join(map(repr, found))}?"
    if error.code == "unknown-scheme":
        hint += "; 'paraminspect schemes' lists them all"
    return UserError(error.message, where=error.where, hint=hint, code=error.code)


def meant(text: str) -> tuple[str, ...]:
    """Return the schemes, with their arguments, that `text` may mean: each is one that can run, and not `text` itself.

    For example ``constant:val=0.1`` for ``constant(0.1)``, and ``gain_normal:nonlinearity=gelu`` for
    ``kaiming_normal:nonlinearity=gelu``, whose gain torch does not know.
    """
    first = re.match(r"\s*([\w.+-]+)\s*(.*)", re.sub("['\"]", "", text[:200]), re.DOTALL)
    if not first:
        return ()
    parts = [part for part in re.split(r"[,;()\[\]{}\s]+", re.sub(r"\s*[:=]+\s*", "=", first[2]).strip("= ,")) if part]
    candidates = _of_activation(first[1], parts) or _of_name(first[1], parts)
    chosen = [next(filter(_binds, tries), None) for tries in candidates]
    return tuple(spelled for spelled in map(_spelled, filter(None, chosen)) if spelled != text)


def _of_name(name: str, parts: list[str]) -> list[list[_Written]]:
    """Return, for each scheme of that name or nickname, what it may be with these arguments, best first."""
    plain = name.casefold().replace("-", "_")
    canonical = canonical_name(plain)
    names = (canonical,) if canonical else _NAMES.get(plain.removesuffix("_"), ())
    if not names and DECIMAL.fullmatch(name) and not parts:
        return [[("constant", {"val": name})]]
    return [list(_with_arguments(SCHEMES[one], parts)) for one in names]


def _of_activation(name: str, parts: list[str]) -> list[list[_Written]]:
    """Read ``nonlinearity=gelu`` and ``gelu`` alone: the scheme that keeps the signal through that activation."""
    word = parts[0] if name.casefold() in ("nonlinearity", "activation") and parts else name
    word = word.rpartition(".")[2].casefold()
    return (
        [[(one, {"nonlinearity": word}) for one in ("kaiming_normal", "gain_normal")]] if _is_activation(word) else []
    )


def _with_arguments(scheme: Scheme, parts: list[str]) -> Iterator[_Written]:
    """Give each part to the argument that it names, or that can take it; yield what comes out."""
    args: dict[str, str] = {}
    names = [argument.name for argument in scheme.arguments]
    bare = [part for part in parts if "=" not in part]
    for part in parts:
        key, equals, value = part.partition("=")
        if not equals:
            key, value = _argument_for(scheme, part, args, len(bare) == 1), part
        elif key not in names:
            key = next((one for one in _ARGUMENTS.get(key.casefold(), ()) if one in names), key)
        args[key] = value if DECIMAL.fullmatch(value) else value.rpartition(".")[2].casefold().replace("-", "_")
    yield scheme.name, args
    if "nonlinearity" in args:  # an activation whose gain torch does not know, or a scheme that asks for none
        kind = "uniform" if scheme.name.endswith("uniform") else "normal"
        mode = {"mode": "fan_avg"} if scheme.name.startswith("xavier") else {}
        yield f"gain_{kind}", {key: args[key] for key in ("nonlinearity", "mode") if key in args} | mode


def _argument_for(scheme: Scheme, value: str, taken: Mapping[str, str], is_alone: bool) -> str:
    """Return the name of the argument that takes a value without a name, or an empty text."""
    names = [argument.name for argument in scheme.arguments if argument.name not in taken]
    if DECIMAL.fullmatch(value):
        return "std" if is_alone and "std" in names else next(iter(names), "")
    word = value.rpartition(".")[2].casefold().replace("-", "_")
    fitting = (one.name for one in scheme.arguments if word in one.choices)
    return next(fitting, "nonlinearity" if _is_activation(word) else "")


def _is_activation(name: str) -> bool:
    if name.replace("_", "").lower() not in _LAYERS:
        return False  # most words are none, and need not cost the import of numpy
    from paraminspect.theory.activations import known

    return known(name)


def _binds(written: _Written) -> bool:
    name, args = written
    try:
        bind(name, {key: _number(value) for key, value in args.items()})
    except UserError:
        return False
    return True


def _number(text: str) -> Any:
    return (float(text) if re.search(r"[.e]", text, re.IGNORECASE) else int(text)) if DECIMAL.fullmatch(text) else text


def _spelled(written: _Written) -> str:
    name, args = written
    return f"{name}:{','.join(f'{key}={value}' for key, value in args.items())}" if args else name
