"""Inspect the parameters of PyTorch models: values, initialisation, gradients, sharing.

Importing this package does not import torch.
"""

from paraminspect.errors import UserError as UserError
from paraminspect.report import Report as Report

__version__ = "0.1.0"
__all__ = ["Report", "UserError", "__version__"]
