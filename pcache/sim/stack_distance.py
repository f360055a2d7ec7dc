"""Stack distances of block LRU under prefix semantics: one pass gives the hits at every capacity.

The cache is `hash` in serial replay. Let S be its free queue with unlimited memory, most recent
block first. A request moves the blocks it found to the front, together with those it computed, in
the order of its prompt, because it gives them back tail first. By induction over requests, the queue
of a cache of C blocks that holds every request is the first C − p blocks of S, where p is 1 if the
last request ended in a partial block: that block waits at the other end, to be reused first. (A
request that ends in no partial block computes at least one block anew, which takes the place of the
partial one before it.) So the block at depth d of S is a hit exactly if d + p ≤ C, and since depths
along a prompt grow, what hits is a prefix. With vLLM's older free order the partial block stays in S
where it is given back, and p is 0.

One case needs more than S. A block that is computed again although it is cached has two copies, and
look-up takes the older one that is left: in a cache that still has the older copy the newer one
stays behind, in a smaller one it moves. Copies that stay behind this way are kept apart, each with
the smallest capacity that has it, and are counted for caches of at least that.

All blocks of a segment have the same neighbours in S, so a Fenwick tree over segment visits answers
for whole segments. Cost: O(visits · log visits), plus one operation a visit for each copy that
stayed behind.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import compiled, hot, records, wide
from pcache.sim.segments import SegmentTrace, fill_segments, path_sizes
from pcache.types import I8, Records

__all__ = ["stack_distances"]


class _Stack(NamedTuple):
    """`weight` is a Fenwick tree of the blocks at each slot; slots are given out in order of recency.

    `copies[s]` has the slots of the `oldest` and the `newest` copy of segment s (0: none), and
    `newer[slot]` leads from one to the next. `state[0]` has the last slot given out, `blocks` of
    all, and `partial`: blocks of the last request that wait at the queue's other end.
    """

    weight: I8
    copies: Records
    newer: I8
    state: Records


def stack_distances(trace: SegmentTrace, num_blocks: int, *, append_unkeyed: bool = False) -> I8:
    """Which capacities hit: rows (low, count, request), int64 [ranges, 3].

    A row says that for k = 1 … count one block of the request is a hit for C ≥ low + k blocks.
    Requests of more than `num_blocks` blocks are left out, as a cache of that size rejects them; so
    the answer is that of `hash` for every C from the largest of the others to `num_blocks`, and
    beyond where none was left out.
    """
    segments, requests = trace
    visits, longest = path_sizes(segments, requests)
    slots = 1 + visits + len(requests)
    stack = _Stack(
        np.zeros(slots, np.int64),
        records(len(segments), oldest=np.int64, newest=np.int64),
        np.zeros(slots, np.int64),
        records(1, slot=np.int64, blocks=np.int64, partial=np.int64),
    )
    path = np.zeros(longest, np.int64)
    return _pass(segments, requests, num_blocks, append_unkeyed, stack, path, visits)


@compiled
def _pass(
    segments: Records, requests: Records, num_blocks: int, append_unkeyed: bool,
    stack: _Stack, path: I8, room: int,
) -> I8:  # fmt: skip
    ranges = np.zeros((room, 3), np.int64)
    behind = np.zeros((16, 2), np.int64)  # by smallest capacity: that capacity, slot of the copy
    num = known = 0
    for request in range(len(requests)):
        here = requests[request]
        if here.footprint > num_blocks:
            continue
        length = fill_segments(segments, here.leaf, path)
        found = known
        for place in range(length - 1, -1, -1):
            segment = path[place]
            copy = stack.copies[segment]
            if segments[segment].end > here.limit or copy.newest == 0:
                break
            blocks = segments[segment].blocks
            while num + known >= len(ranges):
                ranges = np.concatenate((ranges, ranges))
            num = _distances(stack, copy.newest, blocks, behind, known, ranges, num, request)
            if copy.oldest != copy.newest:
                behind, found = _leave_behind(stack, copy.oldest, blocks, behind, known, found)
        _give_back_partial(stack, here.partial, append_unkeyed)
        _touch(stack, segments, path, length, here.limit)
        _sort_in(behind, known, found)
        known = found
    return ranges[:num]


@hot
def _distances(
    stack: _Stack, slot: int, blocks: int, behind: I8, known: int, ranges: I8, num: int, tag: int
) -> int:
    """Write from `num` on from which capacities the copy at `slot` is there: (low, count, tag), at
    most known + 1 rows; the number of rows then.

    Every copy that stayed behind above it lowers what a capacity reaches by a block from its own
    smallest capacity on.
    """
    state = stack.state[0]
    low = state.blocks - _blocks_up_to(stack.weight, slot) + state.partial
    done = 0
    for other in range(known):
        if behind[other, 1] <= slot:
            continue
        upto = min(blocks, behind[other, 0] - 1 - low)
        if upto > done:
            ranges[num, 0], ranges[num, 1], ranges[num, 2] = low + done, upto - done, tag
            num += 1
            done = upto
        if done == blocks:
            return num
        low += 1
    ranges[num, 0], ranges[num, 1], ranges[num, 2] = low + done, blocks - done, tag
    return num + 1


@compiled
def _leave_behind(
    stack: _Stack, slot: int, blocks: int, behind: I8, known: int, found: int
) -> tuple[I8, int]:
    """Add to `behind`, from `found` on, the copies newer than the one at `slot`, which is looked up.

    Each stays behind where the one before it in age is there to be taken instead.
    """
    ranges = np.zeros((known + 1, 3), np.int64)
    while stack.newer[slot] != 0:
        num = _distances(stack, slot, blocks, behind, known, ranges, 0, 0)
        while found + blocks > len(behind):
            behind = np.concatenate((behind, behind))
        for row in range(num):
            for block in range(ranges[row, 1]):
                behind[found, 0] = ranges[row, 0] + block + 1
                behind[found, 1] = stack.newer[slot]
                found += 1
        slot = stack.newer[slot]
    return behind, found


@hot
def _sort_in(behind: I8, known: int, found: int) -> None:
    """Bring rows known ≤ k < found in among those before them, which are sorted."""
    for row in range(known, found):
        capacity, slot = behind[row, 0], behind[row, 1]
        while row > 0 and behind[row - 1, 0] > capacity:
            behind[row, 0], behind[row, 1] = behind[row - 1, 0], behind[row - 1, 1]
            row -= 1
        behind[row, 0], behind[row, 1] = capacity, slot


@hot
def _touch(stack: _Stack, segments: Records, path: I8, length: int, limit: int) -> None:
    """Give the blocks of a path back, tail first: those up to `limit` move, the rest is added."""
    state = stack.state[0]
    for place in range(length):
        segment = path[place]
        copy, blocks = stack.copies[segment], segments[segment].blocks
        state.slot += 1
        if segments[segment].end <= limit:
            slot = wide(copy.oldest)
            while slot != 0:  # one copy moves; those that stay behind are counted apart
                _add(stack.weight, slot, -blocks)
                state.blocks -= blocks
                slot = stack.newer[slot]
            copy.oldest = state.slot
        elif copy.newest == 0:
            copy.oldest = state.slot
        else:
            stack.newer[copy.newest] = state.slot
        copy.newest = state.slot
        _add(stack.weight, state.slot, blocks)
        state.blocks += blocks


@hot
def _give_back_partial(stack: _Stack, partial: int, append_unkeyed: bool) -> None:
    """A partial block waits to be reused first, or is given back before the blocks ahead of it."""
    state = stack.state[0]
    state.partial = 0
    if not append_unkeyed:
        state.partial = partial
    elif partial:
        state.slot += 1
        _add(stack.weight, state.slot, 1)
        state.blocks += 1


@hot
def _blocks_up_to(weight: I8, slot: int) -> int:
    """Blocks at slots 1 … `slot`."""
    total = 0
    while slot > 0:
        total += weight[slot]
        slot &= slot - 1
    return total


@hot
def _add(weight: I8, slot: int, blocks: int) -> None:
    while slot < len(weight):
        weight[slot] += blocks
        slot += slot & -slot
