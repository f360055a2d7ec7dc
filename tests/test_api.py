"""The Python API: the command line's verbs, frames back."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest
from small_traces import small_trace

import pcache
from pcache.errors import ConfigError
from pcache.hit_curve import CURVE_COLUMNS
from pcache.rundir import REQUEST_COLUMNS, SUMMARY_FIELDS
from pcache.shapes import MODELS

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


def test_curve_returns_a_frame() -> None:
    prompts = [[1, 2, 3], [4, 5, 6], [1, 2, 3], [4, 5, 6]]
    curve = pcache.curve(small_trace(prompts), block_size=1, model="tiny", gpu="rtx4090")
    assert list(curve.points) == list(CURVE_COLUMNS)
    assert (curve.policy, curve.ceiling) == ("hash/1", pytest.approx(4 / 12))
    assert (curve.working_set_tokens, curve.largest_request_tokens) == (6, 3)
    assert (curve.full_tokens, curve.best_full_tokens) == (5, 5)
    by_capacity = curve.points.set_index("capacity_tokens")
    assert by_capacity.hit_rate[4] == pytest.approx(2 / 12)
    assert by_capacity.hit_rate.iloc[-1] == curve.ceiling
    assert by_capacity.kv_bytes[4] == 4 * MODELS["tiny"].kv_bytes_per_token
    assert by_capacity.mark[3] == "largest request"
    assert by_capacity.mark.iloc[-1] == "tiny on rtx4090"
    mixed = small_trace([*prompts, [7]])
    chosen = pcache.curve(mixed, block_size=1, kv_tokens="2,4", bound=False).points
    assert {2, 4} <= set(chosen.capacity_tokens)
    assert chosen.bound_hit_rate.isna().all()
    assert chosen.set_index("capacity_tokens").rejected_requests.to_dict()[2] == 4


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
