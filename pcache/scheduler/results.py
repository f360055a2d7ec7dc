"""From the scheduler's arrays to the frames and numbers of a run directory."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd

from pcache.metrics import summarise
from pcache.rundir import NOT_REACHED, REJECTED, Run
from pcache.scheduler.state import Scheduler
from pcache.types import F8, I8, Trace

__all__ = ["RunFacts", "requests_frame", "run_from_scheduler"]


@dataclass(frozen=True, slots=True)
class RunFacts:
    """What a summary needs and the scheduler does not know."""

    world: str
    label: str
    block_size: int
    latency_source: str
    complete: bool
    warm_up: int = 0
    slo_ttft_ms: float | None = None
    slo_tpot_ms: float | None = None
    kv_capacity_tokens: int | None = None
    kv_capacity_bytes: int | None = None


def requests_frame(trace: Trace, s: Scheduler, warm_up: int) -> pd.DataFrame:
    """REQUEST_COLUMNS of every request; the first `warm_up` are not counted."""
    at, num = s.requests, len(trace)
    cached = np.where(at.cached >= 0, at.cached, NOT_REACHED)
    cached = np.where(at.rejected == 1, REJECTED, cached)
    more = at.output > 1
    tpot = _milliseconds(at.finished_at_ns, at.first_token_at_ns) / np.maximum(at.output - 1, 1)
    return pd.DataFrame(
        {
            "request_id": trace.request_ids,
            "session_id": trace.session_ids,
            "turn": trace.turn,
            "counted": np.arange(num) >= warm_up,
            "prompt_tokens": trace.prompt_tokens,
            "output_tokens": trace.output_tokens,
            "cached_tokens": cached,
            "miss_cold_tokens": s.misses[:, 0],
            "miss_in_flight_tokens": s.misses[:, 1],
            "miss_evicted_tokens": s.misses[:, 2],
            "miss_rounding_tokens": s.misses[:, 3],
            "recomputed_tokens": at.recomputed,
            "num_preemptions": at.preemptions,
            "arrival_ns": trace.arrival_ns,
            "admitted_at_ns": at.admitted_at_ns,
            "first_token_at_ns": at.first_token_at_ns,
            "finished_at_ns": at.finished_at_ns,
            "queue_ms": _milliseconds(at.admitted_at_ns, at.arrival_ns),
            "ttft_ms": _milliseconds(at.first_token_at_ns, at.arrival_ns),
            "tpot_ms": np.where(more, tpot, np.nan),
            "e2e_ms": _milliseconds(at.finished_at_ns, at.arrival_ns),
        }
    )


def _milliseconds(until: I8, since: I8) -> F8:
    """Duration in milliseconds, NaN where `until` did not happen."""
    return np.where(until >= 0, (until - since) / 1e6, np.nan)


def run_from_scheduler(
    trace: Trace, s: Scheduler, steps: pd.DataFrame, config: dict[str, Any], facts: RunFacts
) -> Run:
    """Frames and summary of what the scheduler has done so far."""
    requests = requests_frame(trace, s, facts.warm_up)
    busy = steps["duration_ns"].to_numpy(np.float64)
    held = steps["generated_blocks"].to_numpy(np.float64) * facts.block_size
    generated = float(np.average(held, weights=busy)) if busy.sum() > 0 else None
    summary = summarise(
        requests,
        steps,
        world=facts.world,
        label=facts.label,
        block_size_tokens=facts.block_size,
        complete=facts.complete,
        slo_ttft_ms=facts.slo_ttft_ms,
        slo_tpot_ms=facts.slo_tpot_ms,
        kv_capacity_tokens=facts.kv_capacity_tokens,
        kv_capacity_bytes=facts.kv_capacity_bytes,
        latency_source=facts.latency_source,
        output_hit_tokens=int(s.requests.generated_hits[facts.warm_up :].sum()),
        output_cached_tokens=generated,
    )
    return Run(config, summary, requests, steps)
