"""Sampled curves: near the exact one on shipped traces, with an error that says how near."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from pcache.prefixes import build_forest
from pcache.sim.lru_curve import CurveOptions, LruCurve
from pcache.sim.sampling import sampled, sampling_shares
from pcache.sim.segments import count_visits, segment_trace
from pcache.trace import read_trace
from pcache.types import F8

TRACES = Path(__file__).parents[2] / "traces"


def compared(path: Path, rate: float) -> tuple[F8, F8, F8]:
    """Hit rates by tokens, exact and sampled, and the stated errors, at thirty capacities."""
    trace = read_trace(path)
    blocks = segment_trace(trace, build_forest(trace), 16, outputs=False)
    prompts = trace.prompt_tokens.astype(np.int64)
    exact = LruCurve(blocks, prompts, CurveOptions())
    assert exact.full is not None
    places = np.rint(np.geomspace(exact.largest, exact.full, 30)).astype(np.int64)
    estimate, error = LruCurve(blocks, prompts, CurveOptions(sample=rate)).rates(places)
    return exact.rates(places)[0][0], estimate[0], error[0]


@pytest.mark.parametrize("name", ["rag", "multi-turn-chat", "few-shot", "image-prompts"])
def test_near_the_exact_curve(name: str) -> None:
    exact, estimate, error = compared(TRACES / f"{name}.jsonl.xz", 0.3)
    assert np.abs(estimate - exact).max() < 0.02
    assert (np.abs(estimate - exact) <= error + 1e-9).mean() > 0.6
    assert 0 < error.max() < 0.05


@pytest.mark.slow
def test_near_the_exact_curve_of_a_real_trace(shared: Path) -> None:
    exact, estimate, error = compared(shared / "traces" / "mooncake_conversation.jsonl.xz", 0.1)
    assert np.abs(estimate - exact).max() < 0.006
    assert error.max() < 0.02


def test_a_sample_is_a_smaller_trace_of_the_same_size() -> None:
    trace = read_trace(TRACES / "multi-turn-chat.jsonl.xz")
    blocks = segment_trace(trace, build_forest(trace), 16, outputs=False)
    before = blocks.segments.copy()
    shares = sampling_shares(blocks, 0.2)
    visits = count_visits(blocks)
    used = visits > 0
    rare = used & (shares < 1)
    assert visits[rare] @ shares[rare] < 0.3 * visits[used].sum()
    samples = [sampled(blocks, shares, seed) for seed in range(20)]
    total = before.blocks[used].sum()
    means = [float(one.segments.blocks[used].sum()) for one in samples]
    assert np.mean(means) == pytest.approx(total, rel=0.1)
    assert len(set(means)) > 10
    assert (blocks.segments == before).all()
    again = sampled(blocks, shares, 3)
    assert (again.segments == samples[3].segments).all()
