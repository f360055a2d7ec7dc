"""What is recorded of every step: one row of integers, the columns of `steps.parquet`."""

from __future__ import annotations

import pandas as pd

from pcache.cache.contract import (
    BLOCK_SIZE,
    cached_blocks,
    evicted_blocks,
    generated_blocks,
    pinned_blocks,
)
from pcache.cost import clear_sums, describe_request
from pcache.jit import hot
from pcache.rundir import STEP_COLUMNS
from pcache.scheduler.state import Scheduler
from pcache.types import I8, Records

__all__ = [
    "NUM_COLUMNS", "note_sharing", "record_end", "record_step", "steps_frame",
    "sum_up_plan",
]  # fmt: skip

NUM_COLUMNS = len(STEP_COLUMNS)


@hot
def sum_up_plan(s: Scheduler, slot: int, sums: Records) -> None:
    """Describe the step planned in `slot`."""
    clear_sums(sums)
    for k in range(s.slots[slot].num_entries):
        entry = s.plans[slot, k]
        describe_request(sums, entry.start, entry.count, entry.samples, entry.decode == 1)
    note_sharing(s, sums)


@hot
def note_sharing(s: Scheduler, sums: Records) -> None:
    """Fill in how much of the context is shared: more than there is in the blocks that are held."""
    held = pinned_blocks(s.cache) * s.cache.settings[BLOCK_SIZE]
    sums[0].shared_context = max(0, sums[0].context_tokens - held)


@hot
def record_step(s: Scheduler, row: I8, planned_at_ns: int, sums: Records) -> None:
    """Fill one row, in the order of STEP_COLUMNS, right after the step was launched; `record_end` fills
    in the rest."""
    state, step = s.state[0], sums[0]
    row[0] = planned_at_ns
    row[4], row[5], row[6] = step.prefill_tokens, step.decode_tokens, step.context_tokens
    row[7], row[8] = state.num_running, state.num_waiting
    row[9], row[10] = pinned_blocks(s.cache), cached_blocks(s.cache)
    row[11] = generated_blocks(s.cache)
    row[12] = evicted_blocks(s.cache) - state.evicted_before
    row[13] = state.num_preemptions - state.preempted_before
    state.evicted_before, state.preempted_before = evicted_blocks(s.cache), state.num_preemptions


@hot
def record_end(row: I8, duration_ns: int, ended_at_ns: int) -> None:
    """Fill in when the step began to run, how long it ran, and when its tokens were on the host."""
    row[1], row[2], row[3] = ended_at_ns - duration_ns, duration_ns, ended_at_ns


def steps_frame(rows: I8) -> pd.DataFrame:
    """Rows [n, NUM_COLUMNS] as a frame with named columns."""
    return pd.DataFrame(rows, columns=list(STEP_COLUMNS))
