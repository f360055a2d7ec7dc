"""The summary against numbers worked out by hand and by plain loops."""

from __future__ import annotations

import json
import math
from fractions import Fraction
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from pcache.metrics import MISS_CAUSES, summarise, summary_table, summary_tables
from pcache.rundir import NOT_REACHED, REJECTED, REQUEST_COLUMNS, STEP_COLUMNS, SUMMARY_FIELDS

MS = 1_000_000
MISSES = [f"miss_{cause}_tokens" for cause in MISS_CAUSES]


def row(**changes: Any) -> dict[str, Any]:
    """A request of 100 prompt tokens, 40 cached, first token after 20 ms, 11 tokens in 120 ms."""
    base: dict[str, Any] = {
        "request_id": "r", "session_id": "", "turn": 0, "counted": True,
        "prompt_tokens": 100, "output_tokens": 11, "cached_tokens": 40,
        "miss_cold_tokens": 30, "miss_in_flight_tokens": 10, "miss_evicted_tokens": 15,
        "miss_rounding_tokens": 5, "recomputed_tokens": 0, "num_preemptions": 0,
        "arrival_ns": 0, "admitted_at_ns": 5 * MS, "first_token_at_ns": 20 * MS,
        "finished_at_ns": 120 * MS, "queue_ms": 5.0, "ttft_ms": 20.0, "tpot_ms": 10.0,
        "e2e_ms": 120.0,
    }  # fmt: skip
    assert list(base) == list(REQUEST_COLUMNS)
    return {**base, **changes}


NEVER: dict[str, Any] = {
    **dict.fromkeys(MISSES, 0),
    **dict.fromkeys(["admitted_at_ns", "first_token_at_ns", "finished_at_ns"], -1),
    **dict.fromkeys(["queue_ms", "ttft_ms", "tpot_ms", "e2e_ms"], math.nan),
}


def summary_of(rows: list[dict[str, Any]], **options: Any) -> dict[str, Any]:
    settings = {"world": "simulated", "label": "radix", "block_size_tokens": 16, **options}
    return summarise(pd.DataFrame(rows), settings.pop("steps", None), **settings)


def test_every_field_of_the_schema_is_there_and_is_plain_json() -> None:
    summary = summary_of([row()])
    assert set(SUMMARY_FIELDS) <= set(summary)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_one_request() -> None:
    summary = summary_of([row()], kv_capacity_tokens=1000)
    assert summary["hit_rate"] == summary["hit_rate_request_mean"] == 0.4
    assert [summary[f"miss_{cause}"] for cause in MISS_CAUSES] == [0.30, 0.10, 0.15, 0.05]
    assert summary["ttft_mean_ms"] == summary["ttft_p99_ms"] == 20.0
    assert summary["throughput_tokens_per_s"] == pytest.approx(11 / 0.120)
    assert summary["goodput_requests_per_s"] == summary["throughput_requests_per_s"]
    assert summary["kv_capacity_tokens"] == 1000


def test_hit_rate_is_token_weighted_and_rejected_requests_stay_in_the_denominator() -> None:
    rejected = row(prompt_tokens=300, cached_tokens=REJECTED, **NEVER)
    summary = summary_of([row(), rejected])
    assert summary["hit_rate"] == pytest.approx(40 / 400)
    assert summary["hit_rate_request_mean"] == pytest.approx((0.4 + 0) / 2)
    assert summary["miss_rejected"] == pytest.approx(300 / 400)
    assert summary["requests_rejected"] == 1
    assert summary["requests_counted"] == 2
    assert summary["requests_finished"] == 1


def test_warm_up_requests_stay_out_of_every_metric_but_are_named() -> None:
    warm_up = row(counted=False, cached_tokens=0, ttft_ms=900.0, num_preemptions=7)
    alone, after = summary_of([row()]), summary_of([warm_up, row()])
    differing = {key for key in alone if alone[key] != after[key]}
    assert differing == {"num_requests", "requests_finished"}


def test_requests_an_interrupted_run_never_reached_are_left_out() -> None:
    unreached = row(cached_tokens=NOT_REACHED, **NEVER)
    summary = summary_of([row(), unreached], complete=False)
    assert summary["complete"] is False
    assert (summary["num_requests"], summary["requests_counted"]) == (2, 1)
    assert summary["hit_rate"] == 0.4


def test_nothing_happened_gives_none_not_nan() -> None:
    for rows in ([row(cached_tokens=NOT_REACHED, **NEVER)], [row(cached_tokens=REJECTED, **NEVER)]):
        summary = summary_of(rows, complete=False)
        json.dumps(summary, allow_nan=False)
        assert summary["ttft_mean_ms"] is None
        assert summary["throughput_tokens_per_s"] is None
        assert summary["peak_kv_tokens"] is None


def test_one_token_outputs_have_no_tpot_and_are_counted() -> None:
    short = row(output_tokens=1, tpot_ms=math.nan, finished_at_ns=20 * MS, e2e_ms=20.0)
    summary = summary_of([row(), short], slo_tpot_ms=10.0)
    assert summary["tpot_mean_ms"] == 10.0
    assert summary["requests_without_tpot"] == 1
    assert summary["goodput_requests_per_s"] == summary["throughput_requests_per_s"]


def test_goodput_needs_both_targets() -> None:
    rows = [row(), row(ttft_ms=50.0), row(tpot_ms=30.0)]
    summary = summary_of(rows, slo_ttft_ms=20.0, slo_tpot_ms=10.0)
    assert summary["goodput_requests_per_s"] == pytest.approx(1 / 0.120)
    assert summary["throughput_requests_per_s"] == pytest.approx(3 / 0.120)


def test_a_replay_has_no_latency() -> None:
    clockless = pd.DataFrame([row()])[list(REQUEST_COLUMNS)[:11]]
    assert clockless.columns[-1] == "miss_rounding_tokens"
    summary = summarise(clockless, None, world="replayed", label="hash", block_size_tokens=16)
    assert summary["hit_rate"] == 0.4
    assert summary["requests_finished"] == 1
    assert all(value is None for key, value in summary.items() if key.endswith("_ms"))
    assert list(summary_tables([summary])) == ["cache"]


def test_peaks_add_pinned_and_cached_in_the_same_step() -> None:
    steps = pd.DataFrame(0, index=range(3), columns=list(STEP_COLUMNS))
    steps["pinned_blocks"], steps["cached_blocks"] = [5, 9, 1], [8, 2, 9]
    summary = summary_of([row()], steps=steps)
    assert (summary["peak_kv_tokens"], summary["peak_pinned_tokens"]) == (13 * 16, 9 * 16)


def percentile(values: list[int], percent: int) -> Fraction:
    """Linear interpolation at rank (n − 1)·p, in exact arithmetic."""
    ordered = sorted(values)
    rank = Fraction(percent, 100) * (len(ordered) - 1)
    below = ordered[math.floor(rank)]
    return below + (ordered[math.ceil(rank)] - below) * (rank - math.floor(rank))


@given(st.lists(st.integers(0, 10**6), min_size=1, max_size=40))
def test_percentiles_interpolate_linearly(values: list[int]) -> None:
    summary = summary_of([row(ttft_ms=float(value)) for value in values])
    for percent in (50, 90, 99):
        expected = float(percentile(values, percent))
        assert summary[f"ttft_p{percent}_ms"] == pytest.approx(expected, rel=1e-9, abs=1e-9)
    assert summary["ttft_mean_ms"] == pytest.approx(sum(values) / len(values))


@st.composite
def lookups(draw: st.DrawFn) -> dict[str, Any]:
    parts = draw(st.lists(st.integers(0, 500), min_size=5, max_size=5))
    if draw(st.booleans()) or not sum(parts):
        return row(prompt_tokens=draw(st.integers(1, 500)), cached_tokens=REJECTED, **NEVER)
    misses = dict(zip(MISSES, parts[1:], strict=True))
    return row(prompt_tokens=sum(parts), cached_tokens=parts[0], **misses)


@given(st.lists(lookups(), min_size=1, max_size=20))
def test_hit_and_miss_shares_sum_to_one(rows: list[dict[str, Any]]) -> None:
    summary = summary_of(rows)
    shares = [summary["hit_rate"], *(summary[f"miss_{c}"] for c in (*MISS_CAUSES, "rejected"))]
    assert sum(shares) == pytest.approx(1.0)
    assert all(0 <= share <= 1 for share in shares)


def test_tables_are_narrow_and_show_the_share_of_the_ceiling() -> None:
    summaries = [summary_of([row()], label=label) for label in ("radix", "a-long-policy/16-lru")]
    tables = summary_tables(summaries, [0.5, None])
    assert list(tables["cache"]["of ceiling %"].fillna(-1)) == [80.0, -1.0]
    assert "rejected %" not in tables["cache"]
    assert all(len(table.columns) <= 8 for table in tables.values())
    wide = summary_table(summaries, [0.5, None])
    assert list(wide["policy"]) == ["radix", "a-long-policy/16-lru"]
    assert len(wide.columns) == 1 + sum(len(table.columns) - 1 for table in tables.values())
    assert np.isclose(wide["TTFT mean ms"], 20.0).all()
