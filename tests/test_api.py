"""The Python API: the command line's verbs, frames back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_traces import small_trace

import pcache
from pcache.errors import ConfigError
from pcache.rundir import REQUEST_COLUMNS, SUMMARY_FIELDS

TRACE = small_trace([[1, 2, 3, 4, 5], [1, 2, 3, 4, 6], [1, 2, 3, 4, 5]], [2, 2, 2])


def test_replay_returns_frames() -> None:
    results = pcache.replay(TRACE, "radix/1,exact,none")
    assert list(results.summary.label) == ["radix/1", "exact/16", "none/16"]
    assert results.summary.hit_rate[0] == pytest.approx((0 + 4 + 4) / 15)
    assert len(results.requests) == 9
    assert list(results.requests.columns[:2]) == ["policy", "request_id"]
    assert results.steps.empty
    assert results.complete


def test_simulate_returns_frames() -> None:
    results = pcache.simulate(TRACE, "radix/1,none", gpu="a100", model="qwen2.5-0.5b")
    assert set(results.summary) <= set(SUMMARY_FIELDS) | {
        f"{name}_{part}_ms"
        for name in ("ttft", "tpot", "queue", "e2e")
        for part in ("mean", "p50", "p90", "p99")
    } | {"miss_in_flight", "miss_evicted", "miss_rounding", "slo_tpot_ms", "kv_capacity_bytes"}
    assert list(results.requests) == ["policy", *REQUEST_COLUMNS]
    assert (results.requests.ttft_ms > 0).all()
    by_policy = results.steps.groupby("policy").prefill_tokens.sum()
    assert by_policy["none/16"] == 15
    assert (results.requests.ttft_ms <= results.requests.e2e_ms).all()


def test_results_are_written_and_reported(tmp_path: Path) -> None:
    paths = pcache.simulate(TRACE, "radix,hash").write(tmp_path / "runs")
    assert [path.name for path in paths] == ["radix-16", "hash-16"]
    page = pcache.write_report([tmp_path / "runs"], tmp_path / "report")
    assert Path(page).is_file()


def test_a_path_is_read(tmp_path: Path) -> None:
    path = tmp_path / "t.jsonl"
    pcache.trace.write_trace(TRACE, path)
    frame = pcache.replay(path, "hash/1").requests
    pd.testing.assert_frame_equal(frame, pcache.replay(str(path), "hash/1").requests)


def test_errors_are_raised() -> None:
    with pytest.raises(ConfigError, match="unknown policy 'x'"):
        pcache.simulate(TRACE, "x")
    with pytest.raises(ConfigError, match="holds none of the 3 requests"):
        pcache.replay(TRACE, "radix/1", kv_tokens=4)
    with pytest.raises(AttributeError, match="no attribute 'nonsense'"):
        pcache.nonsense  # noqa: B018
