"""Series over time against a plain walk through the steps."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st
from report_runs import HASH, RADIX, make_run

from pcache.report.runs import Run, load_runs
from pcache.report.series import (
    STEP_SLICES,
    hit_rate_over_requests,
    hit_rate_over_time,
    kv_over_time,
)
from pcache.rundir import REQUEST_COLUMNS, STEP_COLUMNS

BLOCK = 16


def run_of(steps: pd.DataFrame, requests: pd.DataFrame) -> Run:
    config = {"policy": {"index": "hash", "block_size_tokens": BLOCK}}
    summary = {"world": "simulated", "label": "hash", "complete": True}
    return Run(
        "hash", "#000", (0, None), Path(), config, summary, requests, requests, steps
    )  # fmt: skip


@st.composite
def walks(draw: st.DrawFn) -> list[tuple[int, int, int, int]]:
    """Steps as (gap before it, duration, pinned blocks, cached blocks)."""
    number = st.integers(0, 50)
    step = st.tuples(number, st.integers(1, 50), number, number)
    return draw(st.lists(step, min_size=1, max_size=12))


@given(walks())
def test_slice_means_integrate_the_steps_exactly(walk: list[tuple[int, int, int, int]]) -> None:
    """Every request ends with a step, so that nothing runs in a gap: compare tick by tick."""
    ticks: list[tuple[int, int]] = []
    rows, finished, now, held = [], [], 0, 0
    for gap, duration, pinned, cached in walk:
        ticks += [(held, 0)] * (gap if rows else 0)
        now += gap
        rows.append({"planned_at_ns": now, "launched_at_ns": now, "duration_ns": duration,
                     "ended_at_ns": now + duration,
                     "pinned_blocks": pinned, "cached_blocks": cached})  # fmt: skip
        held = pinned + cached
        ticks += [(held, pinned)] * duration
        finished.append((now, now + duration))
        now += duration
    steps = pd.DataFrame(rows).reindex(columns=list(STEP_COLUMNS), fill_value=0)
    requests = pd.DataFrame(0, index=range(len(rows)), columns=list(REQUEST_COLUMNS))
    requests["admitted_at_ns"], requests["finished_at_ns"] = zip(*finished, strict=True)
    series = kv_over_time(run_of(steps, requests))
    assert series is not None
    assert len(series) == STEP_SLICES
    expected = np.array(ticks, np.float64).mean(axis=0) * BLOCK
    assert series["kv_tokens"].mean() == pytest.approx(expected[0])
    assert series["pinned_tokens"].mean() == pytest.approx(expected[1])
    # A slice that lies inside one tick has that tick's value.
    fine = np.linspace(0, len(ticks), STEP_SLICES + 1)
    for low, high, value in zip(fine, fine[1:], series["pinned_tokens"], strict=False):
        if int(low) == int(high):
            assert value == pytest.approx(ticks[int(low)][1] * BLOCK, abs=1e-6)


def test_hit_rates_of_the_slices_average_to_the_hit_rate(tmp_path: Path) -> None:
    make_run(tmp_path / "clock", replace(HASH, num_warm_up=50))
    make_run(tmp_path / "replay", replace(RADIX, world="replayed"))
    clock, replay = load_runs([tmp_path])
    timed = hit_rate_over_time(clock)
    assert timed is not None
    assert timed["hit_rate"].between(0, 1).all()
    seconds = (clock.counted["arrival_ns"] - clock.start_ns) / 1e9
    middles = timed["seconds"].to_numpy()
    nearest = np.abs(seconds.to_numpy()[:, None] - middles).argmin(axis=1)
    prompt = clock.counted["prompt_tokens"].groupby(nearest).sum()
    weighted = np.average(timed["hit_rate"], weights=prompt)
    assert weighted == pytest.approx(clock.summary["hit_rate"])

    assert hit_rate_over_time(replay) is None
    assert kv_over_time(replay) is None
    along = hit_rate_over_requests(replay)
    assert along["request"].iloc[-1] < len(replay.requests)
    assert along["hit_rate"].between(0, 1).all()
