"""What the next step computes: running requests first, then admissions, within the token budget.

The rules are vLLM V1's for every policy: decodes and prefill chunks share a step; a request is
admitted only if its whole prompt fits; when a running request gets no block, the one admitted last
(under `priority`: the least urgent) loses its blocks and starts over. `continuous` and `static` are
the older ways of batching, as baselines.
"""

from __future__ import annotations

from pcache.cache.accounting import computing, count_misses, matchable, presented
from pcache.cache.contract import (
    BLOCK_SIZE,
    EXACT,
    HASH,
    KIND,
    RADIX,
    admit,
    extend,
    generated_hits,
    lookup,
    planned,
    rejects,
    release,
    unplan,
)  # fmt: skip
from pcache.cache.events import ADMIT, PREEMPT, emit
from pcache.cache.rows import bind_row
from pcache.jit import hot, inlined
from pcache.scheduler.state import CHUNKED, CONTINUOUS, PRIORITY, STATIC, Scheduler
from pcache.scheduler.waiting import enqueue, head_of_queue, pop_head, reorder

__all__ = ["arrive", "leave_running", "note_computed", "plan_step"]


@hot
def arrive(s: Scheduler, now_ns: int) -> None:
    """Let every request that has arrived by `now_ns` join the queue, or reject it for good."""
    state = s.state[0]
    while state.num_arrived < len(s.requests):
        at = s.requests[state.num_arrived]
        if at.arrival_ns > now_ns:
            break
        if rejects(s.cache, at.prompt + at.output - 1):
            at.rejected = 1
            state.num_rejected += 1
        else:
            enqueue(s, state.num_arrived, False)
        state.num_arrived += 1


@hot
def plan_step(s: Scheduler, now_ns: int) -> int:
    """Plan one step into slot `state.plan_slot`; the number of requests in it (0: nothing to do)."""
    state = s.state[0]
    slot = s.slots[state.plan_slot]
    slot.num_entries, slot.planned_at_ns = 0, now_ns
    if state.batching == CHUNKED:
        budget = _plan_running(s, state.token_budget)
        if budget >= 0:
            _admit_waiting(s, now_ns, budget)
    elif state.batching == CONTINUOUS:
        _admit_waiting(s, now_ns, state.token_budget)
    else:
        if state.num_running == 0:
            state.batch_left = min(state.num_waiting, state.max_running)
        if state.batch_left > 0:
            _admit_waiting(s, now_ns, state.token_budget)
    if state.batching != CHUNKED and slot.num_entries == 0:
        state.batch_left = 0
        _plan_running(s, state.max_running)
    slot.pure_decode = 1
    for k in range(slot.num_entries):
        if s.plans[state.plan_slot, k].decode == 0:
            slot.pure_decode = 0
    return slot.num_entries


@hot
def _plan_running(s: Scheduler, budget: int) -> int:
    """Next chunk or token of every running request; the budget left, or -1 after a preemption."""
    state = s.state[0]
    preemptions = state.num_preemptions
    k = 0
    while k < state.num_running and budget > 0:
        request = s.running[k]
        at = s.requests[request]
        if at.sampled == at.output:
            k += 1
            continue
        decode = at.planned >= at.target
        count = 1 if decode else min(at.target - at.planned, budget)
        within_block = decode and _stays_within_block(s, at.planned)
        allocated = within_block or _extend(s, request, count, decode)
        while not allocated:
            victim = _choose_victim(s)
            if victim < 0:
                return -1
            position, refund = _preempt(s, victim)
            budget += refund  # For those behind: `count` stays what the request was offered.
            if victim == request:
                break
            if position < k:
                k -= 1
            allocated = _extend(s, request, count, decode)
        if allocated:
            _schedule(s, request, count, decode, within_block)
            budget -= count
            k += 1
    return budget if state.num_preemptions == preemptions else -1


@inlined
def _extend(s: Scheduler, request: int, count: int, decode: bool) -> bool:
    """Allocate blocks for `count` more tokens of a running request, if they can be had."""
    at = s.requests[request]
    return extend(s.cache, at.row, at.planned + count, 0 if decode else count)


@inlined
def _stays_within_block(s: Scheduler, held_tokens: int) -> bool:
    """Whether a decode after `held_tokens` neither needs nor fills a block: the cache has no say."""
    within = held_tokens % s.cache.settings[BLOCK_SIZE]
    if s.cache.settings[KIND] == RADIX:
        return within != 0 and s.cache.radix.runs.state[0].free > 0
    return within != 0 and within + 1 != s.cache.settings[BLOCK_SIZE]


@inlined
def _schedule(s: Scheduler, request: int, count: int, decode: bool, within_block: bool) -> None:
    """Add `count` tokens of a request, whose blocks are allocated, to the plan."""
    state = s.state[0]
    slot = s.slots[state.plan_slot]
    entry, at = s.plans[state.plan_slot, slot.num_entries], s.requests[request]
    entry.request, entry.row, entry.start, entry.count = request, at.row, at.planned, count
    entry.decode, entry.life = int(decode), at.preemptions
    entry.indexed_before = s.cache.rows.at[at.row].indexed_blocks
    at.planned += count
    entry.samples = int(at.planned >= at.target)
    at.sampled += entry.samples
    slot.num_entries += 1
    if within_block:
        return
    planned(s.cache, at.row, at.planned, at.prompt)
    if s.cache.settings[KIND] in (HASH, EXACT):
        note_computed(s, request, at.planned)


@hot
def note_computed(s: Scheduler, request: int, num_tokens: int) -> None:
    """Book that the request's first `num_tokens` tokens are matchable, or for `none` were computed."""
    at, rows, kind = s.requests[request], s.cache.rows, s.cache.settings[KIND]
    path, length = rows.path[at.row], rows.at[at.row].path_length
    size = s.cache.settings[BLOCK_SIZE]
    if at.progress < at.target:
        computing(s.books, path, length, at.progress, num_tokens, at.target, -1)
        at.progress = num_tokens
    if kind == EXACT and num_tokens < at.prompt:
        return
    matchable(s.books, path, length, num_tokens // size * size if kind > 0 else num_tokens)


@hot
def _last_token_launched(s: Scheduler, request: int) -> bool:
    """Whether a step that runs already gives the request its last token."""
    if s.requests[request].sampled < s.requests[request].output:
        return False
    slot, in_this_plan = s.state[0].plan_slot, False
    for k in range(s.slots[slot].num_entries):
        in_this_plan |= s.plans[slot, k].request == request
    return not in_this_plan


@hot
def _choose_victim(s: Scheduler) -> int:
    """The running request to preempt, or -1; never one whose last token is already on its way."""
    victim = -1
    for k in range(s.state[0].num_running - 1, -1, -1):
        request = s.running[k]
        if _last_token_launched(s, request):
            continue
        if victim < 0:
            victim = request
            if s.state[0].order != PRIORITY:
                break
        elif s.requests[request].priority < s.requests[victim].priority:
            victim = request
    return victim


@hot
def _preempt(s: Scheduler, victim: int) -> tuple[int, int]:
    """Take everything from a running request and put it back into the queue; its position among
    the running, and the tokens that it gives back to this plan's budget."""
    state, at = s.state[0], s.requests[victim]
    slot = s.slots[state.plan_slot]
    refund = 0
    for k in range(slot.num_entries):
        entry = s.plans[state.plan_slot, k]
        if entry.request == victim:
            refund = entry.count
            at.sampled -= entry.samples
            unplan(s.cache, at.row, entry.indexed_before)
            for later in range(k + 1, slot.num_entries):
                s.plans[state.plan_slot, later - 1] = s.plans[state.plan_slot, later]
            slot.num_entries -= 1
            break
    rows = s.cache.rows
    computing(s.books, rows.path[at.row], rows.at[at.row].path_length, at.progress, at.target,
              at.target, -1)  # fmt: skip
    release(s.cache, at.row)
    emit(s.cache.log, PREEMPT, victim, 0, 0, 0)
    position = leave_running(s, victim)
    at.lost = at.planned - refund
    at.planned, at.preemptions = 0, at.preemptions + 1
    state.num_preemptions += 1
    enqueue(s, victim, True)
    return position, refund


@hot
def leave_running(s: Scheduler, request: int) -> int:
    """Drop a request from the running list and give its row back; the position it had."""
    state = s.state[0]
    position = 0
    while s.running[position] != request:
        position += 1
    for k in range(position + 1, state.num_running):
        s.running[k - 1] = s.running[k]
    state.num_running -= 1
    s.free_rows[state.num_free_rows] = s.requests[request].row
    state.num_free_rows += 1
    s.requests[request].row = -1
    return position


@hot
def _admit_waiting(s: Scheduler, now_ns: int, budget: int) -> None:
    """Admit from the head of the queue until budget, rows or memory run out."""
    state = s.state[0]
    if state.num_waiting > 0 and state.num_running < state.max_running and budget > 0:
        reorder(s)
    whole = state.batching != CHUNKED
    scheduled = False
    while state.num_waiting > 0 and state.num_running < state.max_running and budget > 0:
        if state.batching == STATIC and state.batch_left == 0:
            break
        used = _admit(s, head_of_queue(s), now_ns, budget, whole, scheduled)
        if used == 0:
            break
        scheduled = True
        budget -= used


@hot
def _admit(
    s: Scheduler, request: int, now_ns: int, budget: int, whole: bool, scheduled: bool
) -> int:
    """Admit the head of the queue if it fits; the tokens it computes in this step (0: stays).

    `whole` prompts are not cut to the budget: one that exceeds it goes alone.
    """
    state, at, size = s.state[0], s.requests[request], s.cache.settings[BLOCK_SIZE]
    row = s.free_rows[state.num_free_rows - 1]
    bind_row(s.cache.keys, s.cache.rows, row, request)
    target = at.prompt + at.sampled
    hits = lookup(s.cache, row, target)
    matched = hits * size
    count = target - matched
    if whole:
        if scheduled and count > budget:
            return 0
    else:
        count = min(count, budget)
    fit = at.prompt + at.output - 1 if state.batching == STATIC else target
    if not admit(s.cache, row, hits, fit, fit if state.batching == STATIC else matched + count):
        return 0
    pop_head(s)
    state.batch_left -= 1
    state.num_free_rows -= 1
    s.running[state.num_running] = request
    state.num_running += 1
    at.row, at.target, at.planned, at.progress = row, target, matched, matched
    if at.admitted_at_ns < 0:
        at.admitted_at_ns, at.cached = now_ns, matched
        at.generated_hits = generated_hits(s.cache) * size
        count_misses(s.books, request, s.cache.rows.path[row], s.cache.rows.at[row].path_length,
                     at.prompt, matched, size, s.misses[request])  # fmt: skip
        presented(s.books, request, at.prompt)
    else:
        at.recomputed += max(0, at.lost - matched)
    emit(s.cache.log, ADMIT, request, at.preemptions, row, matched)
    computing(s.books, s.cache.rows.path[row], s.cache.rows.at[row].path_length, matched, target,
              target, 1)  # fmt: skip
    _schedule(s, request, count, False, False)
    return count
