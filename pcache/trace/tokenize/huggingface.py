"""Tokenizer and chat template from a directory in Hugging Face's layout, without transformers.

`tokenizer.json` is needed; the template is `chat_template.jinja` or `chat_template` in
`tokenizer_config.json`, where the special tokens stand too.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pcache.errors import ConfigError
from pcache.trace.tokenize.backend import TrainedTokenizer
from pcache.trace.tokenize.libraries import tokenizers_library
from pcache.trace.tokenize.template import ChatTemplate

__all__ = ["load_huggingface"]


def load_huggingface(directory: Path) -> TrainedTokenizer:
    """Load a directory. Raises ConfigError naming the file that is missing or damaged."""
    path = directory / "tokenizer.json"
    if not path.is_file():
        raise ConfigError(
            f"{directory}: no tokenizer.json here; give the directory of a model with a fast "
            "tokenizer, or a .gguf file"
        )
    try:
        backend = tokenizers_library().Tokenizer.from_file(str(path))
    except Exception as error:  # the library raises bare Exception for any damage
        raise ConfigError(f"{path}: not a tokenizer ({error}); fetch it again") from error
    config = _read_config(directory / "tokenizer_config.json")
    special = _special_tokens(config)
    templates = {
        name: ChatTemplate(text, special, f"{directory}")
        for name, text in _templates(directory, config).items()
    }
    return TrainedTokenizer(directory.name, backend, templates, special.get("eos_token"))


def _read_config(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        config = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise ConfigError(f"{path}: cannot be read ({error}); fetch it again") from error
    if not isinstance(config, dict):
        raise ConfigError(f"{path}: expected a JSON object; fetch it again")
    return config


def _special_tokens(config: dict[str, Any]) -> dict[str, str]:
    tokens = {}
    for name, value in config.items():
        content = value.get("content") if isinstance(value, dict) else value
        if name.endswith("_token") and isinstance(content, str):
            tokens[name] = content
    return tokens


def _templates(directory: Path, config: dict[str, Any]) -> dict[str, str]:
    path = directory / "chat_template.jinja"
    if path.is_file():
        return {"default": path.read_text(encoding="utf-8")}
    template = config.get("chat_template")
    if template is None:
        return {}
    if isinstance(template, str):
        return {"default": template}
    try:
        named = {str(entry["name"]): str(entry["template"]) for entry in template}
        return {"default": named["default"], **named}
    except (TypeError, KeyError) as error:
        raise ConfigError(
            f"{directory}: chat_template is neither a text nor a list of named ones with a default; "
            "correct tokenizer_config.json"
        ) from error
