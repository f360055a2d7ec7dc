"""The waiting queue and its orders.

`fcfs` is arrival, with preempted requests in front. `priority` keeps the most urgent first, then
arrival. `lpm` and `dfs-weight` sort the queue in place before every admission round, as SGLang 0.5.23
does: they look every waiting request up (which under `radix` refreshes what they find), and `lpm`
defers a request whose small match hides a prefix it shares with one ahead of it in the same round.
"""

from __future__ import annotations

from pcache.cache.contract import BLOCK_SIZE, HASH, KIND, MATCHED_NODE, NONE, RADIX, lookup
from pcache.cache.rows import bind_row
from pcache.cache.tree import TREE_ROOT
from pcache.jit import hot
from pcache.scheduler.state import DFS_WEIGHT, LPM, PRIORITY, Scheduler
from pcache.types import I8

__all__ = ["enqueue", "head_of_queue", "pop_head", "reorder"]

MOST_SORTED = 128
"""SGLang's WAITING_QUEUE_PREFIX_MATCH_MAX: a longer queue is left in order of arrival by lpm."""
SMALL_MATCH_TOKENS = 32
SHARED_IN_QUEUE_TOKENS = 32
"""SGLang's in-batch rule: a match of at most 32 tokens, and 32 or more shared within the queue."""
DEFERRED = -1


@hot
def _place(s: Scheduler, position: int) -> int:
    return (s.state[0].queue_head + position) % len(s.queue)


@hot
def head_of_queue(s: Scheduler) -> int:
    """The request to admit next."""
    return s.queue[_place(s, 0)]


@hot
def pop_head(s: Scheduler) -> None:
    """Remove the request at the head."""
    s.state[0].queue_head = _place(s, 1)
    s.state[0].num_waiting -= 1


@hot
def _goes_before(s: Scheduler, left: int, right: int) -> bool:
    a, b = s.requests[left], s.requests[right]
    if a.priority != b.priority:
        return a.priority > b.priority
    return left < right


@hot
def enqueue(s: Scheduler, request: int, at_head: bool) -> None:
    """Add an arrival at the tail, or a preempted request at the head; `priority` sorts it in."""
    state = s.state[0]
    by_priority = state.order == PRIORITY
    if at_head and not by_priority:
        state.queue_head = _place(s, len(s.queue) - 1)
        s.queue[state.queue_head] = request
        state.num_waiting += 1
        return
    position = state.num_waiting
    while by_priority and position > 0:
        ahead = s.queue[_place(s, position - 1)]
        if not _goes_before(s, request, ahead):
            break
        s.queue[_place(s, position)] = ahead
        position -= 1
    s.queue[_place(s, position)] = request
    state.num_waiting += 1


@hot
def reorder(s: Scheduler) -> None:
    """Sort the queue for the admission round that follows."""
    order, kind = s.state[0].order, s.cache.settings[KIND]
    if kind == NONE:
        return
    if order == LPM and s.state[0].num_waiting <= MOST_SORTED:
        _sort_by_longest_match(s)
    elif order == DFS_WEIGHT and kind == RADIX:
        _sort_by_subtree_weight(s)


@hot
def _match(s: Scheduler, request: int) -> int:
    """Cached tokens of a waiting request."""
    row = len(s.cache.rows.at) - 1
    bind_row(s.cache.keys, s.cache.rows, row, request)
    num_tokens = s.requests[request].prompt + s.requests[request].sampled
    return lookup(s.cache, row, num_tokens) * s.cache.settings[BLOCK_SIZE]


@hot
def _shared_in_queue(s: Scheduler, request: int, mark: int) -> int:
    """Leading tokens that the request shares with requests marked earlier in this round."""
    forest = s.books.forest
    node = s.books.output_node[request]
    depth = s.requests[request].prompt + s.requests[request].sampled
    while node != 0 and forest[node].mark != mark:
        depth = min(depth, forest[node].start)
        node = forest[node].parent
    return depth


@hot
def _mark_in_queue(s: Scheduler, request: int, mark: int) -> None:
    forest = s.books.forest
    node = s.books.output_node[request]
    if s.requests[request].sampled == 0:
        node = s.books.prompt_node[request]
    while node != 0 and forest[node].mark != mark:
        forest[node].mark = mark
        node = forest[node].parent


@hot
def _sort_by_longest_match(s: Scheduler) -> None:
    waiting = s.state[0].num_waiting
    matched, sorted_requests = s.scratch[:waiting], s.scratch[waiting : 2 * waiting]
    forest_root = s.books.forest[0]
    forest_root.seen += 1  # the root holds no tokens: its field numbers the rounds
    mark = forest_root.seen
    shares_blocks = s.cache.settings[KIND] in (RADIX, HASH)
    for position in range(waiting):
        request = s.queue[_place(s, position)]
        key = _match(s, request)
        if shares_blocks and key <= SMALL_MATCH_TOKENS:
            if _shared_in_queue(s, request, mark) >= SHARED_IN_QUEUE_TOKENS:
                key = DEFERRED
            else:
                _mark_in_queue(s, request, mark)
        slot = position
        while slot > 0 and matched[slot - 1] < key:
            matched[slot], sorted_requests[slot] = matched[slot - 1], sorted_requests[slot - 1]
            slot -= 1
        matched[slot], sorted_requests[slot] = key, request
    for position in range(waiting):
        s.queue[_place(s, position)] = sorted_requests[position]


@hot
def _sort_by_subtree_weight(s: Scheduler) -> None:
    """Depth first from the root, heaviest child first, a node's own requests after its subtree's."""
    nodes = s.cache.radix.tree.nodes
    num, waiting = len(nodes), s.state[0].num_waiting
    weight, first_at = s.scratch[:num], s.scratch[num : 2 * num]
    last_node = s.scratch[2 * num : 2 * num + waiting]
    request_at = s.scratch[2 * num + waiting : 2 * num + 2 * waiting]
    next_at = s.scratch[2 * num + 2 * waiting : 2 * num + 3 * waiting]
    stack = s.scratch[2 * num + 3 * waiting : 3 * num + 3 * waiting]  # a node is on it once
    for position in range(waiting):
        request_at[position] = s.queue[_place(s, position)]
        _match(s, request_at[position])
        last_node[position] = s.cache.settings[MATCHED_NODE]
    for position in range(waiting - 1, -1, -1):
        node = last_node[position]
        next_at[position] = first_at[node]
        first_at[node] = position + 1
        while node != 0:
            weight[node] += 1
            node = nodes[node].parent
    _emit_heaviest_first(s, weight, first_at, next_at, request_at, stack)
    for position in range(waiting):
        node = last_node[position]
        first_at[node] = 0
        while node != 0 and weight[node] != 0:
            weight[node] = 0
            node = nodes[node].parent


@hot
def _emit_heaviest_first(
    s: Scheduler, weight: I8, first_at: I8, next_at: I8, request_at: I8, stack: I8
) -> None:
    """Refill the queue; `stack` holds a node negated once its children are above it."""
    nodes = s.cache.radix.tree.nodes
    stack[0] = TREE_ROOT
    height, emitted = 1, 0
    while height > 0:
        node = stack[height - 1]
        if node < 0:
            height -= 1
            position = first_at[-node]
            while position != 0:
                s.queue[_place(s, emitted)] = request_at[position - 1]
                emitted += 1
                position = next_at[position - 1]
            continue
        stack[height - 1] = -node
        base = height
        child = nodes[node].last_child
        while child != 0:
            if weight[child] > 0:
                slot = height
                while slot > base and weight[stack[slot - 1]] > weight[child]:
                    stack[slot] = stack[slot - 1]
                    slot -= 1
                stack[slot] = child
                height += 1
            child = nodes[child].previous_sibling
