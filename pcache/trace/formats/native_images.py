"""Image spans of the native format: positions whose symbol comes from the image, not the tokens."""

from __future__ import annotations

from typing import Any

import numpy as np

from pcache.trace.records import MAX_TOKENS, Records
from pcache.types import I8, IMAGE_SYMBOL, Image

__all__ = ["place_images"]

_FIELDS = ("hash", "start", "num_tokens")


def place_images(
    records: Records, prompt_kinds: list[str], prompts: list[I8], samples: I8
) -> list[Image]:
    """Write the images' symbols into `prompts`; the images of all requests, samples included.

    Images are numbered by first appearance of their hash. Raises TraceError.
    """
    numbers: dict[str, int] = {}
    images: list[Image] = []
    first_request = np.cumsum(samples) - samples
    for at, fields in enumerate(records.objects):
        if "images" not in fields:
            continue
        if prompt_kinds[at] != "tokens":
            records.fail(at, "images need a prompt of tokens, where their place is known")
        spans = _spans(records, at, fields["images"])
        prompts[at] = prompts[at].copy()
        _check_places(records, at, spans, len(prompts[at]))
        for hash_, start, num_tokens in spans:
            number = numbers.setdefault(hash_, len(numbers))
            symbols = IMAGE_SYMBOL + (number << 24) + np.arange(num_tokens, dtype=np.int64)
            prompts[at][start : start + num_tokens] = symbols
        for sample in range(int(samples[at])):
            request = int(first_request[at]) + sample
            images += [Image(request, start, num, hash_) for hash_, start, num in spans]
    return images


def _spans(records: Records, at: int, value: Any) -> list[tuple[str, int, int]]:
    if not isinstance(value, list) or not all(isinstance(image, dict) for image in value):
        records.reject(at, "images", value, "a list of objects with hash, start and num_tokens")
    spans = Records(records.label, [records.lines[at]] * len(value), value, "images[].")
    spans.check_fields(_FIELDS)
    hashes = spans.strings("hash")
    starts = spans.integers("start", 0, MAX_TOKENS)
    lengths = spans.integers("num_tokens", 1, MAX_TOKENS)
    return list(zip(hashes, starts.tolist(), lengths.tolist(), strict=True))


def _check_places(
    records: Records, at: int, spans: list[tuple[str, int, int]], prompt_tokens: int
) -> None:
    end = 0
    for hash_, start, num_tokens in spans:
        if start < end or start + num_tokens > prompt_tokens:
            records.fail(
                at,
                f"image {hash_!r} at tokens {start:,} to {start + num_tokens:,} does not fit: "
                f"images stand in order, apart, within the prompt's {prompt_tokens:,} tokens",
            )
        end = start + num_tokens
