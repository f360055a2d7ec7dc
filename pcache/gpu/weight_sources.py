"""Where weights come from: a Hugging Face directory or a GGUF file.

A source names its shape and hands out tensors by their Hugging Face names. Both kinds are read
through a memory map, so a tensor costs its own size and no model is instantiated.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Protocol

import torch

from pcache.errors import ConfigError
from pcache.gpu.extra import require
from pcache.gpu.families import shape_from_config
from pcache.gpu.gguf_source import GgufSource
from pcache.shapes import ModelShape

__all__ = ["SafetensorsSource", "WeightSource", "open_source"]

_INDEX = "model.safetensors.index.json"
_SINGLE = "model.safetensors"


class WeightSource(Protocol):
    """Tensors of one model by name."""

    name: str
    shape: ModelShape

    def tensor(self, name: str) -> torch.Tensor:
        """The tensor called `name`, on the CPU. Raises ConfigError if there is none."""
        ...


def open_source(path: Path) -> WeightSource:
    """A Hugging Face directory or a GGUF file. Raises ConfigError if it is neither."""
    if path.is_dir():
        return SafetensorsSource(path)
    if path.is_file() and path.suffix == ".gguf":
        return GgufSource(path)
    raise ConfigError(
        f"{path}: expected a directory with config.json and {_SINGLE}, or a .gguf file"
    )


class SafetensorsSource:
    """config.json and one or several safetensors files in a directory."""

    def __init__(self, directory: Path) -> None:
        self.name = str(directory)
        self.shape = shape_from_config(_read_json(directory / "config.json"), self.name)
        self._library = require("safetensors", "reading a Hugging Face directory")
        if (directory / _INDEX).is_file():
            files = _read_json(directory / _INDEX).get("weight_map")
            if not isinstance(files, dict):
                raise ConfigError(f"{directory / _INDEX}: expected an object with a weight_map")
            opened = {file: self._open(directory / str(file)) for file in set(files.values())}
            self._files = {name: opened[file] for name, file in files.items()}
        else:
            single = self._open(directory / _SINGLE)
            self._files = dict.fromkeys(single.keys(), single)

    def _open(self, path: Path) -> Any:
        if not path.is_file():
            raise ConfigError(f"{path}: no such file; only safetensors weights are read")
        try:
            return self._library.safe_open(path, framework="pt", device="cpu")
        except (OSError, self._library.SafetensorError) as error:
            raise ConfigError(f"{path}: not a complete safetensors file ({error})") from error

    def tensor(self, name: str) -> torch.Tensor:
        if name not in self._files:
            raise ConfigError(f"{self.name}: no tensor {name} among {len(self._files)}")
        loaded: torch.Tensor = self._files[name].get_tensor(name)
        return loaded


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ConfigError(f"{path}: no such file; expected a Hugging Face model directory")
    try:
        value = json.loads(path.read_text(encoding="utf-8"))
    except (json.JSONDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path}: not JSON ({error})") from error
    if not isinstance(value, dict):
        raise ConfigError(f"{path}: expected a JSON object")
    return value
