"""Sampled curves: near the exact one, with an error that holds as often as it says."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from small_traces import small_trace

from pcache.errors import ConfigError
from pcache.prefixes import build_forest
from pcache.sim.lru_curve import CurveOptions, LruCurve
from pcache.sim.sampling import (
    NUM_PARTS,
    check_sample,
    draw,
    grown,
    relative_errors,
    sampling_shares,
)
from pcache.sim.segments import SegmentTrace, count_visits, segment_trace
from pcache.trace import read_trace
from pcache.types import F8, I8, Trace

TRACES = Path(__file__).parents[2] / "traces"
SEEDS = range(20)


def shipped(name: str) -> Trace:
    return read_trace(TRACES / f"{name}.jsonl.xz")


def repeated_prompts() -> Trace:
    """Whole prompts again and again: in blocks of one token, each leaves copies behind."""
    rng = np.random.default_rng(1)
    texts = [rng.integers(1, 10**6, rng.integers(2, 30)).tolist() for _ in range(300)]
    return small_trace([texts[text] for text in rng.integers(0, len(texts), 3000)])


def in_blocks(trace: Trace, size: int = 16) -> tuple[SegmentTrace, I8]:
    blocks = segment_trace(trace, build_forest(trace), size, outputs=False)
    return blocks, trace.prompt_tokens.astype(np.int64)


def differences(trace: Trace, rate: float, size: int = 16) -> tuple[F8, F8]:
    """Distance from the exact hit rates and the stated errors, [seeds, 2, 20 capacities]."""
    blocks, prompts = in_blocks(trace, size)
    exact = LruCurve(blocks, prompts, CurveOptions(size))
    assert exact.full is not None
    places = np.rint(np.geomspace(exact.largest, exact.full, 20)).astype(np.int64)
    options = [CurveOptions(size, sample=rate, seed=seed) for seed in SEEDS]
    found = np.array([LruCurve(blocks, prompts, one).rates(places) for one in options])
    return np.abs(found[:, 0] - exact.rates(places)[0]), found[:, 1]


@pytest.mark.parametrize("name", ["rag", "multi-turn-chat", "few-shot", "shared-system-prompt"])
def test_the_stated_error_holds_as_often_as_it_says(name: str) -> None:
    off, error = differences(shipped(name), 0.3)
    assert off.max() < 0.04
    assert 0.9 < (off <= error).mean() < 0.985
    assert error.mean() < 4.5 * off.mean()


def test_it_holds_where_copies_stay_behind() -> None:
    off, error = differences(repeated_prompts(), 0.3, size=1)
    assert off.mean() < 0.01
    assert (off <= error + 1e-12).mean() > 0.92


@pytest.mark.slow
@pytest.mark.parametrize("name", ["mooncake_conversation", "tau_airline"])
def test_it_holds_for_real_traces(name: str, shared: Path) -> None:
    off, error = differences(read_trace(shared / "traces" / f"{name}.jsonl.xz"), 0.1)
    assert off.mean() < 0.007
    assert 0.92 < (off <= error).mean() < 0.985


def test_the_whole_trace_is_exact() -> None:
    blocks, prompts = in_blocks(read_trace(TRACES / "rag.jsonl.xz", limit=100))
    exact, whole = (LruCurve(blocks, prompts, CurveOptions(sample=rate)) for rate in (None, 1.0))
    assert exact.full is not None
    places = np.arange(1, exact.full, 97)
    rates, errors = whole.rates(places)
    assert rates == pytest.approx(exact.rates(places)[0])
    assert not errors.any()


@pytest.mark.parametrize("name", ["rag", "multi-turn-chat", "agent-tools"])
def test_too_small_a_sample_is_refused(name: str) -> None:
    blocks, _ = in_blocks(shipped(name))

    def check(rate: float) -> None:
        check_sample(blocks, rate, sampling_shares(blocks, rate))

    with pytest.raises(ConfigError, match="too small to state an error") as refused:
        check(0.004)
    named = float(str(refused.value).rsplit(maxsplit=1)[-1])
    check(named)
    with pytest.raises(ConfigError):
        check(0.9 * named)


def test_relative_errors_are_those_of_many_samples() -> None:
    """Without the scaling to the trace's size, which would hide them: kept segments, by themselves."""
    blocks, _ = in_blocks(shipped("multi-turn-chat"))
    shares = sampling_shares(blocks, 0.2)
    visits = count_visits(blocks)
    sizes = np.where(visits > 0, blocks.segments.blocks, 0)
    rng = np.random.default_rng(2)
    weights = (rng.random((4000, len(shares))) < shares) / shares
    for size, stated in zip(
        (sizes, sizes * np.maximum(visits - 1, 0)), relative_errors(blocks, shares), strict=True
    ):
        assert stated == pytest.approx(float((weights @ size).std() / size.sum()), rel=0.05)


def test_a_sample_is_a_smaller_trace_of_the_same_size() -> None:
    blocks, _ = in_blocks(shipped("multi-turn-chat"))
    before = blocks.segments.copy()
    shares = sampling_shares(blocks, 0.2)
    visits = count_visits(blocks)
    used = visits > 0
    total, certain = (blocks.segments.blocks[some].sum() for some in (used, used & (shares == 1)))
    samples = [draw(blocks, shares, seed) for seed in (0, 0, 1)]
    for sample in samples:
        for one in grown(sample), grown(sample, 3):
            there = count_visits(one) > 0
            always = there & (sample.shares == 1)
            assert one.segments.blocks[there].sum() == pytest.approx(total, rel=0.01)
            assert one.segments.blocks[always].sum() == certain
            rare = there & (sample.shares < 1)
            assert count_visits(one)[rare].sum() < 0.25 * visits[used & (shares < 1)].sum()
    first, again, other = (sample.trace.segments.blocks.tolist() for sample in samples)
    assert first == again != other
    assert (blocks.segments == before).all()


def test_parts_split_the_sample() -> None:
    """Each kept segment is missing from one of the sub-samples, or from none."""
    blocks, _ = in_blocks(shipped("multi-turn-chat"))
    sample = draw(blocks, sampling_shares(blocks, 0.2), 0)
    kept = grown(sample).segments.blocks > 0
    without = [grown(sample, part).segments.blocks > 0 for part in range(NUM_PARTS)]
    missing = (kept & ~np.array(without)).sum(axis=0)
    assert set(missing) == {0, 1}
    assert (missing[sample.shares == 1] == 0).all()
    assert all((one != kept).any() for one in without)
