"""What happens when a step has run: tokens are delivered, KV becomes matchable, requests finish."""

from __future__ import annotations

from pcache.cache.accounting import presented
from pcache.cache.contract import KIND, NONE, RADIX, computed, release
from pcache.cache.events import FINISH, emit
from pcache.jit import hot
from pcache.scheduler.plan import leave_running, note_computed
from pcache.scheduler.state import Scheduler

__all__ = ["commit_step"]


@hot
def commit_step(s: Scheduler, slot_index: int, ended_at_ns: int) -> None:
    """Book the step planned in `slot_index`, whose tokens reached the host at `ended_at_ns`."""
    for k in range(s.slots[slot_index].num_entries):
        entry = s.plans[slot_index, k]
        at = s.requests[entry.request]
        if entry.decode == 0 and entry.life == at.preemptions:
            _prefill_chunk_done(s, entry.request, entry.start + entry.count)
        if entry.samples == 0:
            continue
        at.delivered += 1
        if at.delivered == 1:
            at.first_token_at_ns = ended_at_ns
        if at.delivered == at.output:
            at.finished_at_ns = ended_at_ns
            _finish(s, entry.request)


@hot
def _prefill_chunk_done(s: Scheduler, request: int, num_tokens: int) -> None:
    at, kind = s.requests[request], s.cache.settings[KIND]
    if kind == RADIX:
        computed(s.cache, at.row, num_tokens, at.prompt, at.priority)
    if kind in (RADIX, NONE):
        note_computed(s, request, num_tokens)


@hot
def _finish(s: Scheduler, request: int) -> None:
    """Keep what the cache keeps of the prompt and all but the last output token, and leave."""
    at = s.requests[request]
    total = at.prompt + at.output - 1
    presented(s.books, request, total)
    if total > at.prompt:
        computed(s.cache, at.row, total, at.prompt, at.priority)
        note_computed(s, request, total)
    release(s.cache, at.row)
    leave_running(s, request)
    emit(s.cache.log, FINISH, request, 0, 0, 0)
    s.state[0].num_finished += 1
