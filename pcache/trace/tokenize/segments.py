"""Encoding many texts that repeat each other, each distinct segment once.

A tokenizer cuts a text at its added tokens (`<|im_start|>`, …) before it does anything else, and
encodes the segments between them on their own. The turns of a chat share most segments, so encoding
each one once gives the same ids many times faster. Tokenizers in which a segment's ids depend on
its place are recognised by their parts and encode whole texts.
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence
from itertools import chain
from typing import TYPE_CHECKING, Any

import numpy as np

from pcache.types import I8

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

__all__ = ["SegmentEncoder"]

_PLACE_FREE = {"ByteLevel", "Split", "Digits", "Punctuation", "Whitespace", "WhitespaceSplit"}


class SegmentEncoder:
    """Encodes texts without adding special tokens, exactly as `backend` would."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        parts = json.loads(backend.to_str())
        added = sorted((token["content"] for token in parts["added_tokens"]), key=len, reverse=True)
        separable = _separable(parts) and added
        pattern = "|".join(map(re.escape, added))
        self._separator = re.compile(f"({pattern})") if separable else None

    def encode(self, texts: Sequence[str]) -> list[I8]:
        """Token ids of each text."""
        if self._separator is None:
            return self._encode_whole(texts)
        cut = [self._separator.split(text) for text in texts]
        distinct = list(dict.fromkeys(chain.from_iterable(cut)))
        ids = dict(zip(distinct, self._encode_whole(distinct), strict=True))
        return [np.concatenate([ids[segment] for segment in segments]) for segments in cut]

    def _encode_whole(self, texts: Sequence[str]) -> list[I8]:
        encoded = self._backend.encode_batch_fast(list(texts), add_special_tokens=False)
        return [np.array(one.ids, np.int64) for one in encoded]


def _separable(parts: dict[str, Any]) -> bool:
    plain = all(
        not (token["lstrip"] or token["rstrip"] or token["single_word"])
        and not (token["normalized"] and parts["normalizer"])
        for token in parts["added_tokens"]
    )
    pre_tokenizer = parts["pre_tokenizer"] or {"type": "Sequence", "pretokenizers": []}
    steps = pre_tokenizer.get("pretokenizers", [pre_tokenizer])
    return (
        plain
        and (parts["normalizer"] or {"type": "NFC"})["type"] in ("NFC", "NFKC", "NFD", "NFKD")
        and all(step["type"] in _PLACE_FREE for step in steps)
    )
