"""Simulations whose answers are known: from formulas, or from what can never happen."""

from __future__ import annotations

import numpy as np
import pytest
from small_traces import small_trace

from pcache.cache.contract import CacheConfig
from pcache.cost import CostModel, StepCost
from pcache.rundir import Run
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import gpu_shape, model_shape
from pcache.sim.roofline import roofline
from pcache.sim.simulate import simulate_policy
from pcache.types import Trace

MS = 1_000_000
LLAMA = roofline(model_shape("llama-3.1-8b"), gpu_shape("h100"))
A, B, C = ([letter] * 400 for letter in (1, 2, 3))


def fixed(step_ms: float) -> StepCost:
    """Every step takes the same time."""
    return StepCost(CostModel(np.array([0, 0, 0, 0, 0, 1, 1, 0, step_ms * MS], float)), "fixed")


def simulate(
    trace: Trace, cost: StepCost = LLAMA, *, kv_tokens: int | None = None, size: int = 16,
    index: str = "hash", **scheduler: object,
) -> Run:  # fmt: skip
    config = SchedulerConfig(**scheduler)  # type: ignore[arg-type]
    return simulate_policy(trace, CacheConfig(index, size, kv_tokens), config, cost)


def milliseconds(run: Run, column: str) -> list[float]:
    return run.requests[column].tolist()


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize("batching", ["chunked", "continuous", "static"])
def test_one_request_takes_what_the_roofline_says(overlap: int, batching: str) -> None:
    """Llama-3.1-8B on an H100, 40 tokens in, 3 out: memory decides every step.

    A step reads 15.009 GB of weights (layers 6.979e9, head 0.525e9, 2 bytes each) and per token
    of context read or written 131,072 B at 3.35e12 B/s, and adds 1 ms: 40 + 40, 41 + 1, 42 + 1.
    """
    run = simulate(small_trace([A[:40]], [3]), batching=batching, overlap=overlap)
    layers = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    weights = 2 * (layers + 128256 * 4096)
    want = [int((weights + 131072 * moved) / 3.35e12 * 1e9 + 1e6 + 0.5) for moved in (80, 42, 43)]
    assert run.steps is not None
    assert run.steps["duration_ns"].tolist() == want
    only = run.requests.iloc[0]
    assert only["first_token_at_ns"] == want[0]
    assert only["finished_at_ns"] == sum(want)
    assert only["ttft_ms"] == want[0] / MS
    assert only["tpot_ms"] == (want[1] + want[2]) / 2 / MS


def test_long_prefill_is_bound_by_arithmetic() -> None:
    """8,192 tokens: 2·N·S + 2·V·d + 4·L·h·d_h·S(S+1)/2 operations at 989e12 a second."""
    run = simulate(small_trace([list(range(8192))]))
    layers = 32 * (4096 * 4096 * 2 + 4096 * 1024 * 2 + 3 * 4096 * 14336)
    flops = 2 * layers * 8192 + 2 * 128256 * 4096 + 4 * 32 * 4096 * (8192 * 8193 // 2)
    assert milliseconds(run, "ttft_ms") == [pytest.approx(flops / 989e12 * 1e3 + 1, abs=1e-6)]


def test_tied_arrivals_go_in_trace_order() -> None:
    run = simulate(small_trace([A[:20], B[:20], C[:20]]), fixed(10), max_running=1, overlap=0)
    assert milliseconds(run, "ttft_ms") == [10, 20, 30]
    assert milliseconds(run, "queue_ms") == [0, 10, 20]


def test_prompt_of_exactly_one_block() -> None:
    """Nothing of it can be reused: its last token must be computed, and a block is all or none."""
    run = simulate(small_trace([A[:16]] * 2, arrival_ns=[0, 50 * MS]), fixed(10))
    assert run.requests["cached_tokens"].tolist() == [0, 0]
    assert run.requests["miss_rounding_tokens"].tolist() == [0, 16]


def test_same_step_sharing_is_for_hash_only() -> None:
    """Two equal prompts at once: `hash` shares within the step, `radix` sees the other in flight."""
    trace = small_trace([A[:33]] * 2)
    shared, separate = (simulate(trace, fixed(10), index=index) for index in ("hash", "radix"))
    assert shared.requests["cached_tokens"].tolist() == [0, 32]
    assert separate.requests["cached_tokens"].tolist() == [0, 0]
    assert separate.requests["miss_in_flight_tokens"].tolist() == [0, 33]


def test_a_pool_too_small_rejects_and_counts() -> None:
    run = simulate(small_trace([A[:100], B[:17], A[:15]], [1, 1, 2]), fixed(10), kv_tokens=16)
    assert run.requests["cached_tokens"].tolist() == [-1, -1, 0]
    assert run.summary["requests_rejected"] == 2
    assert run.summary["requests_finished"] == 1
    assert run.summary["miss_rejected"] == 117 / 132
    assert run.summary["complete"] is True


def test_empty_trace_is_an_empty_run() -> None:
    run = simulate(small_trace([]), fixed(10))
    assert len(run.requests) == 0
    assert run.steps is not None
    assert len(run.steps) == 0
    assert run.summary["hit_rate"] is None


def test_static_batch_holds_newcomers_until_its_last_request_ends() -> None:
    """Steps of 10 ms: prefill, then decodes. The batch of the first two runs 5 steps; the third
    request, there since 1 ms, waits for all of them. Continuous batching lets it in at once."""
    trace = small_trace([A[:8], B[:8], C[:8]], [2, 5, 1], arrival_ns=[0, 0, MS])
    held = simulate(trace, fixed(10), batching="static", overlap=0)
    assert milliseconds(held, "ttft_ms") == [10, 10, 59]
    free = simulate(trace, fixed(10), batching="continuous", overlap=0)
    assert milliseconds(free, "ttft_ms") == [10, 10, 19]


def test_chunks_share_steps_with_decodes() -> None:
    """Budget 10. B's 25 tokens take 9, 9 and 7 beside A's decodes, so A never stalls."""
    trace = small_trace([A[:5], B[:25]], [5, 1], arrival_ns=[0, MS])
    run = simulate(trace, fixed(10), token_budget=10, overlap=0)
    assert run.steps is not None
    assert run.steps["prefill_tokens"].tolist() == [5, 9, 9, 7, 0]
    assert run.steps["decode_tokens"].tolist() == [0, 1, 1, 1, 1]
    assert milliseconds(run, "ttft_ms") == [10, 39]


def test_overlap_plans_a_step_ahead() -> None:
    """B arrives at 5 ms. Without overlap it joins at 10; with it, step 2 was planned at 0, so B
    joins the plan made at 10 ms for step 3, which starts at 20."""
    trace = small_trace([A[:5], B[:5]], [4, 1], arrival_ns=[0, 5 * MS])
    assert milliseconds(simulate(trace, fixed(10), overlap=0), "ttft_ms") == [10, 15]
    assert milliseconds(simulate(trace, fixed(10), overlap=1), "ttft_ms") == [10, 25]


def test_preempted_request_starts_over_and_delivers_every_token_once() -> None:
    """4 blocks of 4. A and B fill 2 each; when A needs a third, B (admitted last) gives up its own.

    B comes back with prompt and the tokens it had; those are recomputed, not looked up again.
    """
    trace = small_trace([A[:7], B[:7]], [6, 6])
    run = simulate(trace, fixed(10), kv_tokens=16, size=4, index="none", overlap=0)
    assert run.requests["num_preemptions"].tolist() == [0, 1]
    # 9 tokens are prefilled; the last of them was sampled before but had no KV yet.
    assert run.requests["recomputed_tokens"].tolist() == [0, 8]
    assert milliseconds(run, "ttft_ms") == [10, 10]
    assert milliseconds(run, "e2e_ms") == [60, 100]
