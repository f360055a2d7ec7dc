"""Small traces: written out by hand, or drawn at random with much sharing."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from itertools import accumulate, chain
from typing import Any

import numpy as np
from hypothesis import strategies as st

from pcache.types import Trace


def small_trace(
    prompts: Sequence[Sequence[int]],
    outputs: Sequence[int | Sequence[int]] | None = None,
    *,
    arrival_ns: Sequence[int] | None = None,
    priority: Sequence[int] | None = None,
    salt: Sequence[int] | None = None,
) -> Trace:
    """A trace of token ids. An output is a length, or the known token ids; 1 where not given."""
    num = len(prompts)
    given = list(outputs) if outputs is not None else [1] * num
    known = [[] if isinstance(output, int) else list(output) for output in given]
    lengths = [output if isinstance(output, int) else len(output) for output in given]
    symbols = [list(prompt) + tail for prompt, tail in zip(prompts, known, strict=True)]
    salts = list(salt) if salt is not None else [0] * num
    return Trace(
        name="small", source_format="native", sha256="", symbol_tokens=1,
        request_ids=[f"r{i}" for i in range(num)], session_ids=[""] * num,
        turn=np.zeros(num, np.int32),
        arrival_ns=np.array(arrival_ns if arrival_ns is not None else [0] * num, np.int64),
        prompt_tokens=np.array([len(prompt) for prompt in prompts], np.int32),
        output_tokens=np.array(lengths, np.int32),
        priority=np.array(priority if priority is not None else [0] * num, np.int32),
        salt=np.array(salts, np.int32),
        salts=["", *(f"s{i}" for i in range(1, 1 + max(salts, default=0)))],
        workload_class=np.zeros(num, np.int32), classes=[""],
        symbols=np.array(list(chain.from_iterable(symbols)), np.int64),
        symbol_offsets=np.array([0, *accumulate(map(len, symbols))], np.int64),
    )  # fmt: skip


def all_tokens(trace: Trace, request: int) -> list[Any]:
    """Prompt and output of a request; tokens that the trace does not know are unique."""
    known = trace.known_output(request).tolist()
    unknown = [("output", request, j) for j in range(trace.output_tokens[request] - len(known))]
    return [*trace.prompt_token_keys(request).tolist(), *known, *unknown]


@st.composite
def traces(
    draw: st.DrawFn, *, max_requests: int = 12, max_suffix: int = 14, max_output: int = 6,
    max_gap_ns: int = 0,
) -> Trace:  # fmt: skip
    """Requests that continue a prefix of an earlier one's prompt and output, from few tokens."""

    def some(most: int) -> st.SearchStrategy[list[int]]:
        return st.lists(st.integers(1, 3), min_size=1, max_size=most)

    request = st.tuples(
        st.integers(0, max_requests), st.integers(0, 60), some(max_suffix),
        st.one_of(st.integers(1, max_output), some(max_output)),
        st.integers(0, max_gap_ns), st.integers(0, 2), st.integers(0, 7),
    )  # fmt: skip
    drawn = draw(st.lists(request, min_size=1, max_size=max_requests))
    prompts: list[list[int]] = []
    whole: list[list[int]] = []
    for parent, cut, suffix, output, *_ in drawn:
        prompts.append((whole[parent % len(whole)][:cut] if whole else []) + suffix)
        whole.append(prompts[-1] + (output if isinstance(output, list) else []))
    _, _, _, outputs, gaps, priority, salt = zip(*drawn, strict=True)
    return small_trace(
        prompts, outputs, arrival_ns=list(accumulate(gaps)), priority=priority,
        salt=[int(value == 7) for value in salt],
    )  # fmt: skip


@st.composite
def repeating_traces(draw: st.DrawFn, *, max_requests: int = 20, longest: int = 16) -> Trace:
    """Prompts that are prefixes of a few texts, so that many end where others go on or end too.

    Half of the outputs continue the text.
    """
    text = st.lists(st.integers(1, 2), min_size=longest, max_size=longest)
    texts = draw(st.lists(text, min_size=1, max_size=3))
    length = st.one_of(st.sampled_from([1, 2, 4, 8, longest]), st.integers(1, longest))
    request = st.tuples(
        st.integers(0, len(texts) - 1), length, st.sampled_from([1, 1, 3, 9]), st.booleans()
    )
    drawn = draw(st.lists(request, min_size=1, max_size=max_requests))
    prompts = [texts[at][:cut] for at, cut, _, _ in drawn]
    outputs = [
        (texts[at] + [1] * 9)[cut : cut + count] if known else count
        for at, cut, count, known in drawn
    ]
    return small_trace(prompts, outputs)


@st.composite
def session_traces(draw: st.DrawFn, *, max_requests: int = 12, max_gap_ns: int = 0) -> Trace:
    """As `traces`, with sessions, their turns and workload classes. Some requests have no session."""
    trace = draw(traces(max_requests=max_requests, max_gap_ns=max_gap_ns))
    num = len(trace)
    sessions = draw(st.lists(st.sampled_from(["", "a", "b"]), min_size=num, max_size=num))
    classes = draw(st.lists(st.integers(0, 2), min_size=num, max_size=num))
    so_far: Counter[str] = Counter()
    turns = []
    for session in sessions:
        turns.append(so_far[session] if session else 0)
        so_far[session] += 1
    return replace(
        trace, session_ids=sessions, turn=np.array(turns, np.int32),
        workload_class=np.array(classes, np.int32), classes=["", "chat", "agent"],
    )  # fmt: skip
