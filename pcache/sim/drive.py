"""The simulator's driver: carries out the loop's actions on a virtual clock, compiled.

Stretches of decode steps in which nothing can happen (no arrival, no admission, no finish, no
shortage of blocks) are passed over by `_jump`, which keeps every allocation, duration and record of
stepping and leaves out only the planning.
"""

from __future__ import annotations

from pcache.cache.contract import BLOCK_SIZE, EXACT, HASH, KIND, NOW_NS, RADIX, extend, planned
from pcache.cache.events import room
from pcache.cost import CONTEXT_TILE, CostModel, clear_sums, commit_ns, describe_request, run_step
from pcache.jit import hot
from pcache.scheduler.loop import (
    COMMIT,
    DONE,
    LAUNCH,
    PLAN,
    commit,
    launched,
    make_plan,
    next_action,
    oldest_slot,
    resume_at,
)  # fmt: skip
from pcache.scheduler.plan import note_computed
from pcache.scheduler.state import CHUNKED, STATIC, Scheduler
from pcache.scheduler.steps import note_sharing, record_end, record_step, sum_up_plan
from pcache.types import I8, Records

__all__ = ["advance"]


@hot
def advance(s: Scheduler, model: CostModel, sums: Records, rows: I8, log_margin: int) -> int:
    """Simulate until `rows` is full, the log is nearly full, or everything is done; rows written.

    `sums` carries the GPU's loads from step to step. Everything is done when fewer rows than asked
    came back and the log had room.
    """
    state = s.state[0]
    count = 0
    while count < len(rows) and room(s.cache.log, log_margin):
        action = next_action(s)
        if action == PLAN:
            jumped = _jump(s, model, sums, rows[count:], log_margin) if state.jump == 1 else 0
            count += jumped
            if jumped == 0:
                make_plan(s, state.now_ns)
        elif action == LAUNCH:
            slot = s.slots[launched(s)]
            sum_up_plan(s, 1 - state.plan_slot, sums)
            _run(s, model, sums, rows[count], slot.planned_at_ns)
            slot.ends_at_ns = state.gpu_free_at_ns
            count += 1
        elif action == COMMIT:
            slot = s.slots[oldest_slot(s)]
            commit(s, slot.ends_at_ns)
            state.now_ns += commit_ns(model, slot.num_entries)
        elif action == DONE:
            break
        else:
            resume_at(s, s.requests[state.num_arrived].arrival_ns)
    return count


@hot
def _run(s: Scheduler, model: CostModel, sums: Records, row: I8, planned_at_ns: int) -> None:
    """Run the step that `sums` describes; the host goes on when its launch is done."""
    state, step = s.state[0], sums[0]
    run_step(model, sums, planned_at_ns, state.gpu_free_at_ns)
    record_step(s, row, planned_at_ns, sums)
    record_end(row, step.ends_at_ns - step.starts_at_ns, step.ends_at_ns)
    state.now_ns, state.gpu_free_at_ns = step.host_free_at_ns, step.ends_at_ns


@hot
def _uneventful_steps(s: Scheduler) -> int:
    """How many of the next steps can only be decodes of all running requests: none finishes in
    them, none can be admitted, and the step in flight is of the same kind."""
    state = s.state[0]
    if state.num_running == 0 or state.num_in_flight != state.overlap:
        return 0
    closed = state.batching == STATIC and state.batch_left == 0
    if state.num_waiting > 0 and state.num_running < state.max_running and not closed:
        return 0
    if state.batching == CHUNKED and state.num_running > state.token_budget:
        return 0
    if state.overlap == 1:
        in_flight = s.slots[1 - state.plan_slot]
        if in_flight.pure_decode == 0 or in_flight.num_entries != state.num_running:
            return 0
    steps = 1 << 40
    for k in range(state.num_running):
        at = s.requests[s.running[k]]
        if at.planned < at.target:
            return 0
        steps = min(steps, at.output - at.sampled - 1)
    return max(steps, 0)


@hot
def _allocate_decodes(s: Scheduler, ahead: int) -> bool:
    """Allocate and key what `ahead` steps on each running request needs for its token, in order;
    False, changing nothing, where that would take a preemption."""
    cache, state, size = s.cache, s.state[0], s.cache.settings[BLOCK_SIZE]
    radix = cache.settings[KIND] == RADIX
    free = cache.flat.state[0].free
    if radix:
        free = cache.radix.runs.state[0].free + cache.radix.tree.state[0].evictable
    needed = 0
    for k in range(state.num_running):
        needed += (s.requests[s.running[k]].planned + ahead) % size == 0
    if needed > free:
        return False
    short = radix and cache.radix.runs.state[0].free <= needed
    if needed == 0 and not short and size > 1 and radix:
        return True
    for k in range(state.num_running):
        at = s.requests[s.running[k]]
        have = at.planned + ahead
        if short or have % size == 0:
            extend(cache, at.row, have + 1, 0)
        if not radix and (have + 1) % size == 0:
            planned(cache, at.row, have + 1, at.prompt)
    return True


@hot
def _jump(s: Scheduler, model: CostModel, sums: Records, rows: I8, log_margin: int) -> int:
    """Pass over uneventful decode steps; how many."""
    state = s.state[0]
    most = min(_uneventful_steps(s), len(rows))
    if most < 2:
        return 0
    clear_sums(sums)
    num_short = 0
    for k in range(state.num_running):
        planned_tokens = s.requests[s.running[k]].planned
        describe_request(sums, planned_tokens, 1, 1, True)
        if planned_tokens + 1 < CONTEXT_TILE:  # until it is as long, it takes as long
            num_short += 1
            most = min(most, CONTEXT_TILE - planned_tokens)
    if most < 2:
        return 0
    next_arrival = 1 << 62
    if state.num_arrived < len(s.requests):
        next_arrival = s.requests[state.num_arrived].arrival_ns
    steps = 0
    planned_at = state.now_ns
    in_flight_ends_at = s.slots[1 - state.plan_slot].ends_at_ns
    while steps < most and next_arrival > state.now_ns and room(s.cache.log, log_margin):
        s.cache.log.cursor[0].step = state.num_steps + steps
        s.cache.settings[NOW_NS] = max(s.cache.settings[NOW_NS], state.now_ns)
        if not _allocate_decodes(s, steps):
            break
        planned_at = state.now_ns
        note_sharing(s, sums)
        _run(s, model, sums, rows[steps], planned_at)
        if state.overlap == 0:
            in_flight_ends_at = state.gpu_free_at_ns
        state.now_ns = max(state.now_ns, in_flight_ends_at) + commit_ns(model, state.num_running)
        in_flight_ends_at = state.gpu_free_at_ns
        sums[0].pairs += state.num_running
        sums[0].context_tokens += state.num_running
        sums[0].longest_decode += 1
        sums[0].decode_padding -= num_short
        steps += 1
    if steps > 0:
        _land(s, steps, planned_at)
    return steps


@hot
def _land(s: Scheduler, steps: int, planned_at_ns: int) -> None:
    """Bring requests and the step in flight to where `steps` decode steps have brought them."""
    state = s.state[0]
    for k in range(state.num_running):
        at = s.requests[s.running[k]]
        at.planned += steps
        at.sampled += steps
        at.delivered += steps
        if s.cache.settings[KIND] in (HASH, EXACT):
            note_computed(s, s.running[k], at.planned)
    state.num_steps += steps
    if state.overlap == 0:
        return
    old = 1 - state.plan_slot
    if steps % 2 == 1:
        state.plan_slot = old
    new = 1 - state.plan_slot
    for k in range(state.num_running):
        entry = s.plans[new, k]
        s.plans[new, k] = s.plans[old, k]
        entry.start = s.requests[entry.request].planned - 1
    slot = s.slots[new]
    slot.num_entries, slot.pure_decode = state.num_running, 1
    slot.planned_at_ns, slot.ends_at_ns = planned_at_ns, state.gpu_free_at_ns
