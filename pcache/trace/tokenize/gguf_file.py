"""Tokenizer and chat template from the metadata of a GGUF file.

Byte-level BPE vocabularies only (`tokenizer.ggml.model` is `gpt2`: Llama 3, Qwen, SmolLM, Mistral's
Tekken and most others since 2024). The file does not carry the pattern that splits text before
merging, only its name, so the known patterns are listed here.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pcache.errors import ConfigError
from pcache.trace.tokenize.backend import TrainedTokenizer
from pcache.trace.tokenize.libraries import gguf_library, tokenizers_library
from pcache.trace.tokenize.template import ChatTemplate

__all__ = ["load_gguf"]

_CONTROL, _USER_DEFINED = 3, 4
_WORDS = r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+"
_REST = r" ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+"
_PATTERNS = {
    "llama-bpe": rf"{_WORDS}|\p{{N}}{{1,3}}|{_REST}",
    "qwen2": rf"{_WORDS}|\p{{N}}|{_REST}",
}
_BYTE_LEVEL = ("default", "gpt-2", "smollm")
"""Split by the byte-level pre-tokenizer's own pattern. SmolLM splits digits too, but has no token
with two of them, which comes to the same."""


def load_gguf(path: Path) -> TrainedTokenizer:
    """Load a file. Raises ConfigError for damage and for vocabularies of another kind."""
    metadata = _read_metadata(path)
    backend = _build(path, metadata)
    tokens = metadata["tokenizer.ggml.tokens"]
    special = {
        f"{name}_token": tokens[metadata[f"tokenizer.ggml.{key}_token_id"]]
        for name, key in (("bos", "bos"), ("eos", "eos"), ("unk", "unknown"), ("pad", "padding"))
        if f"tokenizer.ggml.{key}_token_id" in metadata
    }
    text = metadata.get("tokenizer.chat_template")
    templates = {"default": ChatTemplate(text, special, str(path))} if text else {}
    if metadata.get("tokenizer.ggml.add_bos_token") and "bos_token" in special:
        bos = special["bos_token"]
        backend.post_processor = tokenizers_library().processors.TemplateProcessing(
            single=f"{bos} $A", special_tokens=[(bos, backend.token_to_id(bos))]
        )
    return TrainedTokenizer(path.stem, backend, templates, special.get("eos_token"))


def _read_metadata(path: Path) -> dict[str, Any]:
    """Fields of the `tokenizer` section by name."""
    try:
        reader = gguf_library().GGUFReader(str(path))
        return {
            name: field.contents()
            for name, field in reader.fields.items()
            if name.startswith("tokenizer.")
        }
    except (OSError, ValueError, KeyError, IndexError) as error:
        raise ConfigError(f"{path}: not a readable GGUF file ({error}); fetch it again") from error


def _build(path: Path, metadata: dict[str, Any]) -> Any:
    library = tokenizers_library()
    kind = metadata.get("tokenizer.ggml.model")
    pre = metadata.get("tokenizer.ggml.pre", "default")
    if kind != "gpt2" or not (pre in _BYTE_LEVEL or pre in _PATTERNS):
        raise ConfigError(
            f"{path}: holds a tokenizer of kind '{kind}' with splitting '{pre}', which pcache "
            "cannot rebuild; give the model's Hugging Face directory with tokenizer.json"
        )
    tokens = metadata["tokenizer.ggml.tokens"]
    merges = [tuple(merge.split(" ")) for merge in metadata["tokenizer.ggml.merges"]]
    backend = library.Tokenizer(
        library.models.BPE(
            vocab={token: number for number, token in enumerate(tokens)},
            merges=merges,
            # Llama 3 takes a word that is a token as a whole, whatever the merges say.
            ignore_merges=pre == "llama-bpe",
        )
    )
    byte_level = library.pre_tokenizers.ByteLevel(
        add_prefix_space=False, use_regex=pre in _BYTE_LEVEL
    )
    if pre in _PATTERNS:
        split = library.pre_tokenizers.Split(library.Regex(_PATTERNS[pre]), behavior="isolated")
        backend.pre_tokenizer = library.pre_tokenizers.Sequence([split, byte_level])
    else:
        backend.pre_tokenizer = byte_level
    backend.decoder = library.decoders.ByteLevel()
    if pre == "qwen2":
        backend.normalizer = library.normalizers.NFC()
    types = metadata.get("tokenizer.ggml.token_type", [])
    for token, token_type in zip(tokens, types, strict=False):
        if token_type in (_CONTROL, _USER_DEFINED):
            special = token_type == _CONTROL
            added = library.AddedToken(token, normalized=False, special=special)
            (backend.add_special_tokens if special else backend.add_tokens)([added])
    return backend
