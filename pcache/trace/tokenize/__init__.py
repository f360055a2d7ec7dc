"""Tokenizers by name: `bytes`, a Hugging Face directory, or a GGUF file."""

from __future__ import annotations

from pathlib import Path

from pcache.errors import ConfigError
from pcache.trace.tokenize.byte_level import ByteTokenizer
from pcache.trace.tokenize.contract import Chat, ChatRejected, Tokenizer

__all__ = ["ByteTokenizer", "Chat", "ChatRejected", "Tokenizer", "load_tokenizer"]


def load_tokenizer(name: str | Path) -> Tokenizer:
    """`bytes`, or the path of a Hugging Face directory or a GGUF file. Raises ConfigError."""
    if str(name) == ByteTokenizer.name:
        return ByteTokenizer()
    raise ConfigError(
        f"tokenizer '{name}' is unknown; expected 'bytes', a directory with tokenizer.json, "
        "or a .gguf file"
    )
