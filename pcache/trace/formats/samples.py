"""Sampling width: one line that asks for n samples becomes n requests."""

from __future__ import annotations

from pcache.types import I8

__all__ = ["MAX_SAMPLES", "sample_ids", "spread"]

MAX_SAMPLES = 4096


def spread(column: list[str], samples: I8) -> list[str]:
    """The value of line i `samples[i]` times."""
    return [value for value, n in zip(column, samples, strict=True) for _ in range(n)]


def sample_ids(ids: list[str], samples: I8) -> list[str]:
    """`ID#0` … `ID#n-1` for a line with n > 1 samples, else `ID`."""
    return [
        name if n == 1 else f"{name}#{sample}"
        for name, n in zip(ids, samples, strict=True)
        for sample in range(n)
    ]
