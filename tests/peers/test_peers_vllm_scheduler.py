"""The scheduler with `hash` and vLLM's `Scheduler`, under concurrent requests, step by step.

Compared at every call for a plan: who is scheduled, in which order and with how many tokens, cached
tokens at admission, preemptions, finishes, block tables, and the free queue after the step.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from functools import partial
from types import ModuleType

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from peer_lane import LONG_TRACES, TRACES, agrees, saw
from peer_traces import long_trace
from served_step import PcacheServer, free_blocks
from small_traces import traces

from pcache.cache.contract import CacheConfig
from pcache.scheduler.state import SchedulerConfig
from pcache.types import Trace

pytestmark = pytest.mark.peers

LONG = [
    (1, 80, 1000, 8), (2, 100, 16, 4), (4, 64, 8, 100), (4, 160, 1, 3), (8, None, 20, 5),
    (1, 60, 20, 20), (16, 320, 30, 10),
]  # fmt: skip
"""Block size, capacity in tokens, token budget, most running."""


def compare(
    server: ModuleType, trace: Trace, cache: CacheConfig, rules: SchedulerConfig,
    *, take_back: bool = True, to_the_end: bool = False,
) -> int:  # fmt: skip
    """Serve the trace on both sides; preemptions. Arrivals are numbers of plans.

    A request that can never fit does not reach vLLM's scheduler: its front end refuses it. With
    overlap the comparison ends where vLLM preempts an `unsettled` request, unless `to_the_end`.
    """
    ours = PcacheServer(trace, cache, rules)
    theirs = server.VllmServer(trace, cache, rules, take_back=take_back)
    totals = (trace.prompt_tokens + trace.output_tokens - 1).tolist()
    arrived = now = preemptions = hits = stopped = 0
    while arrived < len(trace) or not theirs.done:
        while arrived < len(trace) and trace.arrival_ns[arrived] <= now:
            if not cache.rejects(totals[arrived]):
                theirs.add(arrived)
            arrived += 1
        unsettled = theirs.unsettled
        plan, their_plan = ours.plan(now), theirs.plan()
        preemptions += len(plan.preempted)
        if unsettled & their_plan.preempted and not to_the_end:
            stopped = 1
            break
        assert plan == their_plan, now
        in_flight = len(theirs.in_flight)
        if in_flight > rules.overlap or (in_flight > 0 and not plan.tokens):
            assert ours.commit(now) == theirs.commit(), now
        if cache.kv_tokens is not None:
            assert free_blocks(ours.scheduler.cache) == theirs.free_blocks, now
        hits += sum(cached > 0 for cached in plan.admitted.values())
        now += 1
    else:
        state = ours.scheduler.state[0]
        assert state.num_finished + state.num_rejected == len(trace)
    kind = "AsyncScheduler" if rules.overlap == 1 else "Scheduler"
    saw(
        f"vLLM {kind}, {rules.order}", traces=1, requests=arrived, plans=now, hits=hits,
        preemptions=preemptions, stopped_before_the_end=stopped,
    )  # fmt: skip
    return preemptions


def only_prompts(trace: Trace) -> Trace:
    """The same trace with generated tokens that it does not know: each request has its own."""
    prompts = [trace.prompt_symbols(request) for request in range(len(trace))]
    offsets = np.cumsum([0, *map(len, prompts)])
    return replace(trace, symbols=np.concatenate(prompts), symbol_offsets=offsets)


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize("order", ["fcfs", "priority"])
@settings(max_examples=TRACES)
@given(
    trace=traces(max_suffix=20, max_output=12, max_gap_ns=4), size=st.sampled_from([1, 2, 4, 8]),
    kv_tokens=st.one_of(st.none(), st.integers(12, 120)), budget=st.sampled_from([1, 3, 8, 20, 999]),
    most=st.sampled_from([1, 2, 4, 100]),
)  # fmt: skip
def test_small_traces(
    vllm_server: ModuleType, order: str, overlap: int, trace: Trace, size: int,
    kv_tokens: int | None, budget: int, most: int,
) -> None:  # fmt: skip
    rules = SchedulerConfig(order=order, token_budget=budget, max_running=most, overlap=overlap)
    shown = only_prompts(trace) if overlap == 1 else trace
    compare(vllm_server, shown, CacheConfig("hash", size, kv_tokens), rules)


@pytest.mark.parametrize("overlap", [0, 1])
@pytest.mark.parametrize("order", ["fcfs", "priority"])
def test_long_traces(vllm_server: ModuleType, order: str, overlap: int) -> None:
    preemptions = 0
    for seed in range(LONG_TRACES):
        size, kv_tokens, budget, most = LONG[seed % len(LONG)]
        rules = SchedulerConfig(order=order, token_budget=budget, max_running=most, overlap=overlap)
        trace = long_trace(seed, 40)
        shown = only_prompts(trace) if overlap == 1 else trace
        preemptions += compare(vllm_server, shown, CacheConfig("hash", size, kv_tokens), rules)
    assert preemptions > 0


def test_taken_back_hashes_do_differ(vllm_server: ModuleType) -> None:
    """Hashes of a request that was dropped from the plan: vLLM keeps them, pcache takes them back."""
    rules = SchedulerConfig(order="priority", token_budget=16, max_running=4, overlap=0)
    cache, agreements = CacheConfig("hash", 2, 100), Counter[bool]()
    for seed in range(60):
        trace = long_trace(seed, 40)
        for take_back in (True, False):
            agreements[take_back] += agrees(
                partial(compare, vllm_server, trace, cache, rules, take_back=take_back)
            )
    assert agreements[True] == 60 > agreements[False]


def test_generated_tokens_with_overlap_do_differ(vllm_server: ModuleType) -> None:
    """vLLM hashes a block when its last token has reached the host; pcache knows it from the trace."""
    rules = SchedulerConfig(token_budget=20, max_running=5, overlap=1)
    cache, agreements = CacheConfig("hash", 1, None), Counter[bool]()
    for seed in range(60):
        trace = long_trace(seed, 40)
        for known in (True, False):
            shown = trace if known else only_prompts(trace)
            agreements[known] += agrees(partial(compare, vllm_server, shown, cache, rules))
    assert agreements[False] == 60 > agreements[True]


def test_preemption_with_overlap_does_differ(vllm_server: ModuleType) -> None:
    """vLLM may preempt a request of which a token in flight matters; pcache knows that token."""
    rules = SchedulerConfig(token_budget=20, max_running=20, overlap=1)
    cache, agreements = CacheConfig("hash", 1, 60), Counter[bool]()
    for seed in range(60):
        shown = only_prompts(long_trace(seed, 40))
        for to_the_end in (True, False):
            agreements[to_the_end] += agrees(
                partial(compare, vllm_server, shown, cache, rules, to_the_end=to_the_end)
            )
    assert agreements[False] == 60 > agreements[True]
