"""What the GPU part needs beyond the core package, asked for only when it is used.

This module imports without torch.
"""

from __future__ import annotations

import importlib
from types import ModuleType

from pcache.errors import DeviceError

__all__ = ["require"]


def require(package: str, purpose: str) -> ModuleType:
    """Import `package`, or raise DeviceError saying what it is for and how to install it."""
    try:
        return importlib.import_module(package)
    except ImportError as error:
        raise DeviceError(
            f"{purpose} needs the package {package}: in the checkout, pip install '.[gpu]' ({error})"
        ) from error
