"""Tokenizers by name: `bytes`, a Hugging Face directory, or a GGUF file."""

from __future__ import annotations

from pathlib import Path

from pcache.errors import ConfigError
from pcache.trace.tokenize.byte_level import ByteTokenizer
from pcache.trace.tokenize.contract import Chat, ChatRejected, Tokenizer
from pcache.trace.tokenize.gguf_file import load_gguf
from pcache.trace.tokenize.huggingface import load_huggingface

__all__ = ["ByteTokenizer", "Chat", "ChatRejected", "Tokenizer", "load_tokenizer"]


def load_tokenizer(name: str | Path) -> Tokenizer:
    """`bytes`, or the path of a Hugging Face directory or a GGUF file. Raises ConfigError."""
    if str(name) == ByteTokenizer.name:
        return ByteTokenizer()
    path = Path(name)
    if path.is_dir():
        return load_huggingface(path)
    if path.is_file() and path.suffix == ".gguf":
        return load_gguf(path)
    raise ConfigError(
        f"tokenizer '{name}' is neither 'bytes', nor a directory with tokenizer.json, nor a .gguf "
        "file; check the path"
    )
