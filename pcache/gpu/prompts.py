"""The trace's tokens as ids of the model's vocabulary, for all requests at once.

Cache keys stay the trace's own 64-bit tokens; what the model reads need only be the same wherever
the keys are the same. Ids that the vocabulary has are kept. Everything else (virtual tokens of hash
blocks, images, outputs that the trace does not know) is scattered over the vocabulary by mixing its
bits: two keys may then share an id, never a place in the cache.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from pcache.types import I4, I8, Trace

__all__ = ["RequestTokens", "request_tokens"]

_UNKNOWN_OUTPUT = 1 << 62


@dataclass(frozen=True, slots=True)
class RequestTokens:
    """`ids[offsets[i] + p]` is the token at position p of request i's prompt and output."""

    ids: I4
    offsets: I8

    def take(self, requests: I8, starts: I8, counts: I8) -> I4:
        """Tokens starts ≤ p < starts + counts of each request, one after the other, int32."""
        ends = np.cumsum(counts)
        within = np.arange(ends[-1] if len(ends) else 0) - np.repeat(ends - counts, counts)
        ids: I4 = self.ids[np.repeat(self.offsets[requests] + starts, counts) + within]
        return ids


def request_tokens(trace: Trace, vocab_size: int) -> RequestTokens:
    """Map every prompt and output. Takes four bytes a token."""
    lengths = trace.prompt_tokens.astype(np.int64) + trace.output_tokens
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    ids = np.empty(offsets[-1], np.int32)
    own = trace.symbol_tokens == 1
    for request in range(len(trace)):
        first, middle = offsets[request], offsets[request] + trace.prompt_tokens[request]
        ids[first:middle] = _to_vocabulary(trace.prompt_token_keys(request), vocab_size, own)
        output = trace.known_output(request)
        if len(output) == 0:
            output = _UNKNOWN_OUTPUT + (request << 24) + np.arange(trace.output_tokens[request])
        ids[middle : offsets[request + 1]] = _to_vocabulary(output, vocab_size, own)
    return RequestTokens(ids, offsets[:-1])


def _to_vocabulary(keys: I8, vocab_size: int, own_ids: bool) -> I8:
    """Ids below `vocab_size`: keys that are ids themselves stay, the rest is mixed (splitmix64)."""
    x = keys.astype(np.uint64) + np.uint64(0x9E3779B97F4A7C15)
    x = (x ^ (x >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    x = (x ^ (x >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    mixed = ((x ^ (x >> np.uint64(31))) % np.uint64(vocab_size)).astype(np.int64)
    return np.where((keys >= 0) & (keys < vocab_size), keys, mixed) if own_ids else mixed
