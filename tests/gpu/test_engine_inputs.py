"""What the engine is fed with: token ids of the model's vocabulary, and the time."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from small_traces import all_tokens, small_trace, traces

from pcache.gpu.clock import Clock
from pcache.gpu.prompts import RequestTokens, request_tokens
from pcache.types import IMAGE_SYMBOL, Trace

keys = st.one_of(st.integers(0, 40), st.integers(0, 2**60), st.integers(IMAGE_SYMBOL, 2**62))


def tokens_of(tokens: RequestTokens, trace: Trace, request: int) -> list[int]:
    length = int(trace.prompt_tokens[request] + trace.output_tokens[request])
    first = int(tokens.offsets[request])
    return tokens.ids[first : first + length].tolist()


@given(
    prompts=st.lists(st.lists(keys, min_size=1, max_size=12), min_size=1, max_size=5),
    vocab_size=st.sampled_from([1, 30, 128_256]),
)
def test_the_same_key_is_the_same_id_everywhere(prompts: list[list[int]], vocab_size: int) -> None:
    trace = small_trace(prompts, [2] * len(prompts))
    tokens = request_tokens(trace, vocab_size)
    assert tokens.ids.dtype == np.int32
    assert ((tokens.ids >= 0) & (tokens.ids < vocab_size)).all()
    id_of: dict[object, int] = {}
    for request in range(len(trace)):
        pairs = zip(all_tokens(trace, request), tokens_of(tokens, trace, request), strict=True)
        for key, token in pairs:
            assert id_of.setdefault(key, token) == token
            if isinstance(key, int) and key < vocab_size:
                assert token == key, "a real token id was changed"


@given(trace=traces())
def test_known_outputs_are_fed_back_and_parts_are_taken(trace: Trace) -> None:
    tokens = request_tokens(trace, 500)
    everything = [tokens_of(tokens, trace, request) for request in range(len(trace))]
    for request, whole in enumerate(everything):
        known = trace.known_output(request).tolist()
        assert whole[trace.prompt_tokens[request] :][: len(known)] == known
    requests = np.arange(len(trace))
    starts = np.array([len(whole) // 3 for whole in everything])
    counts = np.array([len(whole) // 2 for whole in everything])
    taken = tokens.take(requests, starts, counts).tolist()
    parts = zip(everything, starts, counts, strict=True)
    assert taken == [token for whole, start, n in parts for token in whole[start : start + n]]


def test_unknown_outputs_differ_between_requests_and_keys_spread() -> None:
    trace = small_trace([[1], [1]], [200, 200])
    first, second = (tokens_of(request_tokens(trace, 128_256), trace, r) for r in (0, 1))
    assert len(set(first)) > 195
    assert len(set(first[1:]) & set(second[1:])) < 5


def test_hash_blocks_are_spread_over_the_vocabulary() -> None:
    """Block ids are small numbers, and still no tokens: none is kept as it is."""
    trace = small_trace([[0, 1]])
    object.__setattr__(trace, "symbol_tokens", 16)
    trace.prompt_tokens[0] = 32
    ids = request_tokens(trace, 128_256).ids[:32]
    assert len(set(ids.tolist())) == 32
    assert ids.max() > 10_000


def nothing() -> None:
    """Go on waiting."""


def test_the_clock_waits() -> None:
    clock = Clock(skip_idle=False)
    looks = 0

    def look() -> None:
        nonlocal looks
        looks += 1

    assert 0 <= clock.now_ns() < 1_000_000_000
    until = clock.now_ns() + 60_000_000
    clock.wait_until(until, look)
    assert until <= clock.now_ns()
    assert looks >= 2
    before = looks
    clock.wait_until(until - 1, look)
    assert looks == before


def test_a_wait_can_be_ended() -> None:
    def press() -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        Clock(skip_idle=False).wait_until(3_600_000_000_000, press)


def test_skipping_sets_the_clock_forward_and_never_back() -> None:
    clock = Clock(skip_idle=True)
    hour = 3_600_000_000_000
    clock.wait_until(hour, nothing)
    now = clock.now_ns()
    assert hour <= now < hour + 1_000_000_000
    assert clock.of(time.perf_counter_ns()) >= now
    clock.wait_until(5, nothing)
    assert clock.now_ns() >= now
