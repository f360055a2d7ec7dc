"""The measured cost model against its formulas, and the laws that make it safe to go beyond them."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_profile import (
    CONTEXT,
    CONTEXT_KNOTS,
    KNOTS,
    LINEAR,
    SIZES,
    TERMS_NS,
    gpu_ns,
    made_up_cost,
    random_model,
)
from reference import cost as plain

from pcache.cost import CostModel, describe_request, run_step, step_record
from pcache.cost.profile import EngineSizes
from pcache.cost.profiled import profiled_ns, runs_in_graph
from pcache.types import Records

COST = made_up_cost()

parts = st.lists(
    st.tuples(st.integers(0, 5000), st.one_of(st.just(1), st.integers(1, 700)), st.integers(0, 1)),
    min_size=1, max_size=14,
)  # fmt: skip


def described(requests: list[tuple[int, int, int]]) -> Records:
    step = step_record()
    for start, count, samples in requests:
        describe_request(step, start, count, samples, count == 1)
    return step


@given(requests=parts, planned=st.integers(0, 10**9), busy=st.integers(-(10**7), 10**7),
       synchronous=st.booleans(), shared=st.integers(0, 20_000),
       loads=st.tuples(st.floats(0, 1), st.floats(0, 1)),
       eager=st.sampled_from([2_600_003.0, 30_000_007.0]))  # fmt: skip
def test_a_step_is_what_the_formulas_say(
    requests: list[tuple[int, int, int]],
    planned: int,
    busy: int,
    synchronous: bool,
    shared: int,
    loads: tuple[float, float],
    eager: float,
) -> None:
    model, step = (
        made_up_cost(synchronous=float(synchronous), eager=eager).model,
        described(requests),
    )
    at = step[0]
    at.shared_context, at.recent_load, at.lasting_load = shared, *loads
    run_step(model, step, planned, planned + busy)
    gpu = plain.Gpu(planned + busy, list(loads))
    want = plain.run_step(model, requests, shared, planned, gpu)
    got = (at.launched_at_ns, at.starts_at_ns, at.ends_at_ns, at.host_free_at_ns)
    assert got == (want.launched, want.starts, want.ends, want.host_free)
    assert [at.recent_load, at.lasting_load] == pytest.approx(gpu.loads)
    assert runs_in_graph(model, step) == (plain.graph_of(model, requests) is not None)


@given(requests=parts, more=parts, seed=st.integers(0, 1000))
def test_more_work_never_takes_less_time(
    requests: list[tuple[int, int, int]], more: list[tuple[int, int, int]], seed: int
) -> None:
    """Within what one way of running allows: leaving a graph may well save its padding."""
    model = random_model(np.random.default_rng(seed))._replace(sizes=EngineSizes().table())
    smaller = [(start, count, 1) for start, count, _ in requests]
    larger = [*smaller, *((start, count, 1) for start, count, _ in more)]
    longer = [(start + 100, count, 1) for start, count, _ in smaller]
    assert ns(model, larger) >= ns(model, smaller)
    assert ns(model, longer) >= ns(model, smaller)


def ns(model: CostModel, requests: list[tuple[int, int, int]]) -> float:
    return gpu_ns(model, *requests)


def test_a_graph_costs_its_padded_size_whatever_it_holds() -> None:
    base = LINEAR[KNOTS.index(8)] + TERMS_NS["head"] + 8 * TERMS_NS["sample"]
    slope = (CONTEXT[2] - CONTEXT[1]) / (CONTEXT_KNOTS[2] - CONTEXT_KNOTS[1])
    for batch in (5, 6, 7):
        own = batch * TERMS_NS["decode"] + CONTEXT[1] + slope * (128 * batch - CONTEXT_KNOTS[1])
        for cached in (127, 100, 0):  # a tile of attention, whatever it holds
            assert gpu_ns(COST.model, (cached, 1, batch)) == pytest.approx(base + own, abs=1)


def test_shared_context_has_its_own_price() -> None:
    step = described([(9999, 1, 1)] * 4)
    alone = profiled_ns(COST.model, step)
    step[0].shared_context = 30_000
    context = dict(zip(CONTEXT_KNOTS, CONTEXT, strict=True))
    slope = (context[50_000] - context[1000]) / 49_000
    assert alone - profiled_ns(COST.model, step) == pytest.approx(30_000 * (slope - 61))


def test_beyond_the_largest_size_the_last_slope_goes_on() -> None:
    def linear(tokens: int) -> float:
        bare = COST.model._replace(terms=np.zeros(len(TERMS_NS)))
        return gpu_ns(bare, (0, tokens, 1))

    slope = (LINEAR[-1] - LINEAR[-2]) / (KNOTS[-1] - KNOTS[-2])
    assert linear(8192) == pytest.approx(LINEAR[-1] + slope * (8192 - KNOTS[-1]))
    assert linear(1024) == LINEAR[-1]


def test_what_no_graph_holds_runs_eagerly() -> None:
    most = SIZES.max_extends
    assert runs_in_graph(COST.model, described([(0, 4, 1)] * most))
    assert not runs_in_graph(COST.model, described([(0, 4, 1)] * (most + 1)))
    assert runs_in_graph(COST.model, described([(0, 64, 1)]))
    assert not runs_in_graph(COST.model, described([(0, 65, 1)]))
    assert not runs_in_graph(COST.model, described([(9, 1, 1)] * 9))
