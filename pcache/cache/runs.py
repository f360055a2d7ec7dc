"""Physical blocks of the radix cache, handed out and kept as runs of consecutive ids.

A tree node or a request owns a linked list of runs; free blocks are a stack of runs. A prompt of
thousands of one-token blocks is then a handful of entries. Taking and giving back cost one operation
a run; run 0 means none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import Records

__all__ = ["BlockRuns", "block_runs", "free_runs", "split_runs", "take_run"]


class BlockRuns(NamedTuple):
    """`run[r]` has `first`, `count` and `next`; `stack[k]` the free runs' `first` and `count`.

    `state[0]`: `free` blocks, `height` of the stack, `spare` head of the given-back entries of
    `run`, and `unused`, the first entry that was never used.
    """

    run: Records
    stack: Records
    state: Records


def block_runs(num_blocks: int) -> BlockRuns:
    """All of blocks 1 … num_blocks free, as one run."""
    run = records(num_blocks + 2, first=np.int64, count=np.int64, next=np.int64)
    stack = records(num_blocks + 2, first=np.int64, count=np.int64)
    state = records(1, free=np.int64, height=np.int64, spare=np.int64, unused=np.int64)
    stack[0].first, stack[0].count = 1, num_blocks
    state[0].free, state[0].height, state[0].unused = num_blocks, int(num_blocks > 0), 1
    return BlockRuns(run, stack, state)


@hot
def _new_run(runs: BlockRuns, first: int, count: int) -> int:
    state = runs.state[0]
    run = state.spare
    if run != 0:
        state.spare = runs.run[run].next
    else:
        run = state.unused
        state.unused += 1
    here = runs.run[run]
    here.first, here.count, here.next = first, count, 0
    return run


@hot
def take_run(runs: BlockRuns, most: int) -> int:
    """A new run of 1 to `most` free blocks; the caller has checked that one is free."""
    state = runs.state[0]
    top = runs.stack[state.height - 1]
    first = top.first
    count = min(top.count, most)
    if count == top.count:
        state.height -= 1
    else:
        top.first += count
        top.count -= count
    state.free -= count
    return _new_run(runs, first, count)


@hot
def free_runs(runs: BlockRuns, run: int) -> int:
    """Give back all blocks of a list of runs; how many they were."""
    state = runs.state[0]
    freed = 0
    while run != 0:
        here = runs.run[run]
        top = runs.stack[max(0, state.height - 1)]
        if state.height > 0 and top.first + top.count == here.first:
            top.count += here.count
        elif state.height > 0 and here.first + here.count == top.first:
            top.first = here.first
            top.count += here.count
        else:
            above = runs.stack[state.height]
            above.first, above.count = here.first, here.count
            state.height += 1
        freed += here.count
        following = here.next
        here.next = state.spare
        state.spare = run
        run = following
    state.free += freed
    return freed


@hot
def split_runs(runs: BlockRuns, run: int, blocks: int) -> int:
    """Cut a list of runs after its first `blocks` ≥ 1 blocks; the head of the rest (0 if nothing)."""
    while runs.run[run].count < blocks:
        blocks -= runs.run[run].count
        run = runs.run[run].next
    here = runs.run[run]
    rest = here.next
    if here.count > blocks:
        rest = _new_run(runs, here.first + blocks, here.count - blocks)
        runs.run[rest].next = here.next
        here.count = blocks
    here.next = 0
    return rest
