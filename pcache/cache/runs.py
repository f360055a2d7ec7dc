"""Physical blocks of the radix cache, handed out and kept as runs of consecutive ids.

A tree node or a request owns a linked list of runs; free blocks are a stack of runs. A prompt of
thousands of one-token blocks is then a handful of entries. Taking and giving back cost one operation
a run; run 0 means none.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import I8, Records

__all__ = ["BlockRuns", "block_runs", "free_runs", "split_runs", "take_run"]


LONG_RUN = 16
"""Free runs of fewer blocks are kept apart, for decodes: one block at a time would shred the long
runs, and prompts would then be made of single blocks."""
SHORT, LONG = range(2)


class BlockRuns(NamedTuple):
    """`run[r]` has `first`, `count` and `next`; `stack[kind, k]` the free runs' `first` and `count`,
    for kinds SHORT and LONG.

    `state[0]`: `free` blocks, `spare` head of the given-back entries of `run`, and `unused`, the
    first entry that was never used. `height[kind]` is the height of a stack.
    """

    run: Records
    stack: Records
    height: I8
    state: Records


def block_runs(num_blocks: int) -> BlockRuns:
    """All of blocks 1 … num_blocks free, as one run."""
    run = records(num_blocks + 2, first=np.int64, count=np.int64, next=np.int64)
    stack = records(2 * (num_blocks + 2), first=np.int64, count=np.int64).reshape(2, -1)
    state = records(1, free=np.int64, spare=np.int64, unused=np.int64)
    stack[LONG, 0].first, stack[LONG, 0].count = 1, num_blocks
    state[0].free, state[0].unused = num_blocks, 1
    return BlockRuns(run, stack, np.array([0, int(num_blocks > 0)]), state)


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
    kind = LONG if most >= LONG_RUN else SHORT
    if runs.height[kind] == 0:
        kind = 1 - kind
    top = runs.stack[kind, runs.height[kind] - 1]
    first = top.first
    count = min(top.count, most)
    if count == top.count:
        runs.height[kind] -= 1
    else:
        top.first += count
        top.count -= count
    runs.state[0].free -= count
    return _new_run(runs, first, count)


@hot
def _push_free_run(runs: BlockRuns, first: int, count: int) -> None:
    """Put a run on its stack, joined with the top of either stack where that continues it."""
    for kind in range(2):
        if runs.height[kind] > 0:
            top = runs.stack[kind, runs.height[kind] - 1]
            if top.first + top.count == first or first + count == top.first:
                top.first = min(top.first, first)
                top.count += count
                return
    kind = LONG if count >= LONG_RUN else SHORT
    above = runs.stack[kind, runs.height[kind]]
    above.first, above.count = first, count
    runs.height[kind] += 1


@hot
def free_runs(runs: BlockRuns, run: int) -> int:
    """Give back all blocks of a list of runs; how many they were."""
    state = runs.state[0]
    freed = 0
    while run != 0:
        here = runs.run[run]
        _push_free_run(runs, here.first, here.count)
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
