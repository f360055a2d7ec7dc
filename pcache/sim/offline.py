"""The best hit rate of any eviction that knows the future, in serial replay under the prefix rule.

The rules are those of `hash`: a request holds all its blocks while it runs, found and computed ones;
afterwards any of its full blocks may be kept, and at any time any kept block may be dropped. What is
kept is a choice of intervals, each from one use of a block to its next: it is worth one block of hits
if that next use is a look-up, and needs one of C − n blocks at every request in between that has a
footprint of n blocks. All intervals are worth the same and all points in time are ordered, so when
too many are open it is best to close those that end last: Belady's rule, which is optimal for any
sequence of capacities.

The prefix rule costs nothing here: whoever uses a block uses its parent, so the parent's interval
ends no later, and where both end together the deeper block goes first. Hence what this schedule
keeps is closed under parents, and its hits are prefixes.

There is one exception, and it is the gap between the two numbers. A block that its next request
computes again (the last block of a prompt, generated blocks) is worth nothing until then, yet its
children cannot stay without it. *Bound* drops it and lets the children stay, which no eviction
exceeds. *Feasible* keeps it as long as it has a child in the cache, and so respects the prefix rule.

Cost: O(visits · log requests) a capacity, whatever the number of blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records, wide
from pcache.sim.segments import SegmentTrace, path_sizes
from pcache.types import I8, Records

__all__ = ["Future", "look_ahead", "offline_hits"]


class Future(NamedTuple):
    """For each visit of a segment, the request that visits it next (their number if none does).

    Visits are numbered in order of requests, and within one from its leaf up; request i's begin at
    `first[i]`.
    """

    first: I8
    following: I8


class _Plan(NamedTuple):
    """`held[s]` has how many leading `blocks` of segment s are kept, the request that uses it
    `next`, and how many `children` of it are kept. `ends` is a heap, last first, of requests that
    kept segments wait for, `waiting[i]` whether request i is in it; `state[0]` has its length, the
    `blocks` held in all and `first_counted`."""

    segments: Records
    requests: Records
    held: Records
    ends: I8
    waiting: I8
    state: Records


def look_ahead(trace: SegmentTrace, num_blocks: int) -> Future:
    """The future of every visit, without the requests that exceed `num_blocks`."""
    segments, requests = trace
    visits, _ = path_sizes(segments, requests)
    first, following = np.zeros(len(requests), np.int64), np.zeros(visits, np.int64)
    latest = np.full(len(segments), len(requests), np.int64)
    _look_ahead(segments, requests, num_blocks, first, following, latest)
    return Future(first, following)


@hot
def _look_ahead(
    segments: Records, requests: Records, num_blocks: int, first: I8, following: I8, latest: I8
) -> None:
    visit = len(following)
    for request in range(len(requests) - 1, -1, -1):
        here = requests[request]
        length = 0
        at = wide(here.leaf)
        while at != 0:
            length += 1
            at = wide(segments[at].parent)
        visit -= length
        first[request] = visit
        if here.footprint > num_blocks:
            continue
        at = wide(here.leaf)
        for place in range(length):
            following[visit + place] = latest[at]
            latest[at] = request
            at = wide(segments[at].parent)


def offline_hits(
    trace: SegmentTrace, future: Future, num_blocks: int, *, bound: bool, first_counted: int = 0
) -> int:
    """Most blocks that requests from `first_counted` on can hit with `num_blocks` blocks.

    With `bound` a number that nothing exceeds, otherwise what a schedule reaches that keeps no block
    without its parent. `future` must leave out the same requests as `num_blocks` does: those that
    exceed it.
    """
    segments, requests = trace
    num = len(requests)
    plan = _Plan(
        segments, requests,
        records(len(segments), blocks=np.int64, next=np.int64, children=np.int64),
        np.zeros(num + 1, np.int64), np.zeros(num + 1, np.int64),
        records(1, length=np.int64, blocks=np.int64, first_counted=np.int64),
    )  # fmt: skip
    plan.state[0].first_counted = first_counted
    return _serve(plan, future, num_blocks, bound)


@hot
def _serve(plan: _Plan, future: Future, num_blocks: int, bound: bool) -> int:
    hits = 0
    for request in range(len(plan.requests)):
        here = plan.requests[request]
        if here.footprint > num_blocks:
            continue
        own = 0
        at = wide(here.leaf)
        while at != 0:
            own += plan.held[at].blocks
            if _worth(plan, at, request):
                hits += plan.held[at].blocks
            at = wide(plan.segments[at].parent)
        _make_room(plan, request, plan.state[0].blocks - own + here.footprint - num_blocks)
        visit = future.first[request]
        at = wide(here.leaf)
        while at != 0:
            _keep(plan, at, future.following[visit], bound)
            visit += 1
            at = wide(plan.segments[at].parent)
    return hits


@hot
def _worth(plan: _Plan, segment: int, request: int) -> bool:
    """Whether keeping the segment until `request` gives hits that count."""
    if request == len(plan.requests) or request < plan.state[0].first_counted:
        return False
    return plan.segments[segment].end <= plan.requests[request].limit


@hot
def _keep(plan: _Plan, segment: int, following: int, bound: bool) -> None:
    """Decide whether a segment that has just been used stays for its next use."""
    held = plan.held[segment]
    worth = _worth(plan, segment, following)
    before = wide(held.blocks)
    held.next = following
    stays = worth or (not bound and held.children > 0)
    held.blocks = plan.segments[segment].blocks if stays else 0
    plan.state[0].blocks += held.blocks - before
    plan.held[plan.segments[segment].parent].children += (held.blocks > 0) - (before > 0)
    if worth and plan.waiting[following] == 0:
        plan.waiting[following] = 1
        _push(plan.ends, plan.state[0].length, following)
        plan.state[0].length += 1


@hot
def _make_room(plan: _Plan, now: int, excess: int) -> None:
    """Drop `excess` blocks, those whose use is farthest first and of these the deepest."""
    while excess > 0:
        farthest = plan.ends[0]
        at = wide(plan.requests[farthest].leaf)
        while at != 0 and excess > 0:
            held = plan.held[at]
            if held.blocks > 0 and held.next == farthest and _worth(plan, at, farthest):
                dropped = min(excess, wide(held.blocks))
                held.blocks -= dropped
                plan.state[0].blocks -= dropped
                excess -= dropped
                if held.blocks == 0:
                    excess -= _orphan(plan, wide(plan.segments[at].parent), now)
            at = wide(plan.segments[at].parent)
        if excess > 0:
            plan.waiting[farthest] = 0
            plan.state[0].length -= 1
            _pop(plan.ends, plan.state[0].length)


@hot
def _orphan(plan: _Plan, parent: int, now: int) -> int:
    """A child of `parent` went: drop it too if it was kept for its children only, and so on up. The
    blocks that this frees; what the request `now` uses stays."""
    freed = 0
    while parent != 0:
        held = plan.held[parent]
        held.children -= 1
        kept_for_children = held.blocks > 0 and not _worth(plan, parent, held.next)
        if held.children > 0 or held.next == now or not kept_for_children:
            break
        freed += held.blocks
        plan.state[0].blocks -= held.blocks
        held.blocks = 0
        parent = wide(plan.segments[parent].parent)
    return freed


@hot
def _push(heap: I8, length: int, value: int) -> None:
    """Put a value on a heap of `length` values, the largest first."""
    at = length
    while at > 0 and heap[(at - 1) // 2] < value:
        heap[at] = heap[(at - 1) // 2]
        at = (at - 1) // 2
    heap[at] = value


@hot
def _pop(heap: I8, length: int) -> None:
    """Take the largest value off a heap that has `length` others."""
    value = heap[length]
    at, child = 0, 1
    while child < length:
        if child + 1 < length and heap[child + 1] > heap[child]:
            child += 1
        if heap[child] <= value:
            break
        heap[at] = heap[child]
        at, child = child, 2 * child + 1
    heap[at] = value
