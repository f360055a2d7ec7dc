"""What is recorded of every step: one row of integers, the columns of `steps.parquet`."""

from __future__ import annotations

import pandas as pd

from pcache.cache.contract import cached_blocks, evicted_blocks, generated_blocks, pinned_blocks
from pcache.jit import hot
from pcache.rundir import STEP_COLUMNS
from pcache.scheduler.state import Scheduler
from pcache.types import I8, Records

__all__ = ["NUM_COLUMNS", "record_step", "steps_frame"]

NUM_COLUMNS = len(STEP_COLUMNS)


@hot
def record_step(
    s: Scheduler, row: I8, planned_at_ns: int, launched_at_ns: int, duration_ns: int, sums: Records
) -> None:
    """Fill one row, in the order of STEP_COLUMNS, right after the step was launched."""
    state, step = s.state[0], sums[0]
    row[0], row[1], row[2] = planned_at_ns, launched_at_ns, duration_ns
    row[3], row[4], row[5] = step.prefill_tokens, step.decode_tokens, step.context_tokens
    row[6], row[7] = state.num_running, state.num_waiting
    row[8], row[9] = pinned_blocks(s.cache), cached_blocks(s.cache)
    row[10] = generated_blocks(s.cache)
    row[11] = evicted_blocks(s.cache) - state.evicted_before
    row[12] = state.num_preemptions - state.preempted_before


def steps_frame(rows: I8) -> pd.DataFrame:
    """Rows [n, NUM_COLUMNS] as a frame with named columns."""
    return pd.DataFrame(rows, columns=list(STEP_COLUMNS))
