"""Inspect the parameters of PyTorch models: values, initialisation, gradients, sharing.

Importing this package imports nothing else; the names below are loaded when they are used.
"""

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from paraminspect.api import check as check, inspect as inspect, summary as summary
    from paraminspect.errors import UserError as UserError
    from paraminspect.report import Report as Report

__version__ = "0.1.0"
__all__ = ["Report", "UserError", "__version__", "check", "inspect", "summary"]

_HOMES = {
    "check": "paraminspect.api",
    "inspect": "paraminspect.api",
    "summary": "paraminspect.api",
    "Report": "paraminspect.report",
    "UserError": "paraminspect.errors",
}


def __getattr__(name: str) -> Any:
    if name in _HOMES:
        import random

        state = random.getstate()  # some of what is imported draws from it
        try:
            return getattr(import_module(_HOMES[name]), name)
        finally:
            random.setstate(state)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
