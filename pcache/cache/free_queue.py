"""Physical blocks 1 … N with reference counts, and the queue of the free ones.

One doubly linked list is free list and recency order at once: new blocks come from its head, and a
block that still carries a key stays matchable there until it is handed out again. Block 0 is never
handed out; it closes the ring. Every operation takes constant time.

Links are stored as differences to the neighbour by number, so that a fresh array of zeros already is
the queue 1, 2, …, N, and a pool far larger than what a trace touches costs no memory.
"""

from __future__ import annotations

from pcache.jit import hot
from pcache.types import Records

__all__ = ["close_ring", "pop_free", "push_free", "unlink"]


def close_ring(blocks: Records) -> None:
    """Make a zeroed array of blocks (`next_shift`, `previous_shift`) the queue 1, 2, …, N."""
    blocks[-1].next_shift = -len(blocks)
    blocks[0].previous_shift = len(blocks)


@hot
def _link(blocks: Records, left: int, right: int) -> None:
    blocks[left].next_shift = right - left - 1
    blocks[right].previous_shift = left - right + 1


@hot
def unlink(blocks: Records, block: int) -> None:
    """Take a free block out of the queue."""
    here = blocks[block]
    _link(blocks, block - 1 + here.previous_shift, block + 1 + here.next_shift)


@hot
def push_free(blocks: Records, block: int, at_head: bool) -> None:
    """Put a block into the queue: at the head it is reused first, at the tail last."""
    if at_head:
        first = 1 + blocks[0].next_shift
        _link(blocks, 0, block)
        _link(blocks, block, first)
    else:
        last = -1 + blocks[0].previous_shift
        _link(blocks, last, block)
        _link(blocks, block, 0)


@hot
def pop_free(blocks: Records) -> int:
    """Take the head of the queue; the caller has checked that there is one."""
    block = 1 + blocks[0].next_shift
    unlink(blocks, block)
    return block
