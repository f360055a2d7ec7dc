"""Random draws that are the same on every machine.

Only uniform integers and floats come from numpy's PCG64; every other distribution is computed from
them here by inversion, because numpy may change its own ways between versions. Times are rounded to
microseconds, so that the last bit of a logarithm decides nothing.
"""

from __future__ import annotations

import math
from statistics import NormalDist

import numpy as np

from pcache.types import F8, I8

__all__ = ["VOCABULARY", "Draws", "popularity"]

VOCABULARY = 32_000
"""Token ids lie below this, so that every current model can embed them."""

_NUM_PHRASES, _PHRASE_TOKENS = 4096, 16
_FRESH_TOKENS = 3
_NORMAL = NormalDist()


def popularity(num: int, exponent: float) -> F8:
    """Cumulative Zipf popularity of `num` things, the k-th with weight 1 / k**exponent."""
    weights = np.arange(1, num + 1, dtype=np.float64) ** -exponent
    return np.asarray(np.cumsum(weights) / weights.sum(), dtype=np.float64)


class Draws:
    """A seeded source of lengths, gaps, choices and texts."""

    def __init__(self, seed: int) -> None:
        self._generator = np.random.Generator(np.random.PCG64(seed))
        self._phrases = self._generator.integers(
            0, VOCABULARY, (_NUM_PHRASES, _PHRASE_TOKENS), dtype=np.int64
        )

    def uniform(self) -> float:
        """A float in (0, 1)."""
        return float(self._generator.integers(1, 1 << 53)) / (1 << 53)

    def below(self, num: int) -> int:
        """An integer from 0 to num - 1."""
        return int(self._generator.integers(0, num))

    def exponential(self, mean: float) -> float:
        """An exponential time, rounded to microseconds."""
        return round(-mean * math.log(self.uniform()), 6)

    def geometric(self, mean: float) -> int:
        """A count of at least 1 with this mean, each further one equally likely."""
        return 1 + int(math.log(self.uniform()) / math.log(1 - 1 / mean)) if mean > 1 else 1

    def length(self, mean: float, spread: float = 0.5) -> int:
        """A log-normal length of at least 1; `spread` is the standard deviation of its log."""
        normal = _NORMAL.inv_cdf(self.uniform())
        return max(1, round(mean * math.exp(spread * normal - spread * spread / 2)))

    def choose(self, cumulative: F8) -> int:
        """An index by cumulative popularity."""
        return int(np.searchsorted(cumulative, self.uniform()))

    def text(self, num_tokens: int) -> I8:
        """A new text, int64 [num_tokens]: no other begins with the same tokens.

        Texts are made of recurring phrases, as language is, and thus compress well; the first
        tokens are drawn on their own, so that two texts part at once.
        """
        phrases = self._generator.integers(0, _NUM_PHRASES, -(-num_tokens // _PHRASE_TOKENS))
        tokens = self._phrases[phrases].ravel()[:num_tokens]
        head = min(_FRESH_TOKENS, num_tokens)
        tokens[:head] = self._generator.integers(0, VOCABULARY, head)
        return tokens
