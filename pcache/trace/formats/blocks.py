"""What the two hash-block formats share: ids of fixed-size blocks that must fit a length."""

from __future__ import annotations

import numpy as np

from pcache.trace.records import MAX_SYMBOL, MAX_TOKENS, Records
from pcache.types import I8

__all__ = ["largest_block_id", "read_blocks"]

_GUESSES = [1 << bits for bits in range(13)]


def largest_block_id(block_tokens: int) -> int:
    """Largest id whose tokens (`id * block_tokens + position`) still have 64-bit keys."""
    return min(MAX_SYMBOL, (1 << 61) // block_tokens - 1)


def read_blocks(
    records: Records, ids_field: str, length_field: str, block_tokens: int, remedy: str
) -> tuple[I8, I8, I8]:
    """Prompt lengths [len], block ids end to end, and their number for each record [len].

    A prompt of L tokens has ceil(L / block_tokens) ids; the last block may be partial. `remedy` is
    a sentence with `{}` for a block size that would fit every line.
    """
    length = records.integers(length_field, 1, MAX_TOKENS)
    ids, counts = records.integer_lists(ids_field, 0, largest_block_id(block_tokens))
    wrong = np.flatnonzero(counts != -(-length // block_tokens))
    if len(wrong):
        at = int(wrong[0])
        needed = -(-int(length[at]) // block_tokens)
        fitting = [size for size in _GUESSES if np.array_equal(counts, -(-length // size))]
        advice = remedy.format(fitting[-1]) if fitting else "correct or remove the line"
        records.fail(
            at,
            f"'{records.path}{ids_field}' has {counts[at]:,} ids, but "
            f"'{records.path}{length_field}' {length[at]:,} needs {needed:,} blocks of "
            f"{block_tokens} tokens; {advice}",
        )
    return length, ids, counts
