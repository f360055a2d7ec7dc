"""Libraries that not every machine has, loaded when they are first needed."""

from __future__ import annotations

import importlib
from typing import Any

from pcache.errors import ConfigError

__all__ = ["gguf_library", "jinja2_library", "tokenizers_library"]


def tokenizers_library() -> Any:
    """The `tokenizers` module. Raises ConfigError."""
    return _load("tokenizers", "trained tokenizers need")


def gguf_library() -> Any:
    """The `gguf` module. Raises ConfigError."""
    return _load("gguf", "GGUF files need")


def jinja2_library() -> Any:
    """The `jinja2` module. Raises ConfigError."""
    return _load("jinja2", "chat templates need")


def _load(name: str, purpose: str) -> Any:
    try:
        return importlib.import_module(name)
    except ImportError as error:
        raise ConfigError(f"{purpose} the Python package {name}: pip install {name}") from error
