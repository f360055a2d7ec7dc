"""Token ids of a trace's requests, as a peer is shown them, and long random traces."""

from __future__ import annotations

from itertools import accumulate

import numpy as np
from small_traces import all_tokens, small_trace

from pcache.types import Trace

__all__ = ["long_trace", "token_ids"]

UNKNOWN = 1 << 32
"""Generated tokens that the trace does not know get ids of their own from here on."""


def token_ids(trace: Trace, request: int) -> list[int]:
    """Prompt and output of a request as integers; equal ones are equal tokens."""
    return [
        UNKNOWN + (request << 20) + token[2] if isinstance(token, tuple) else int(token)
        for token in all_tokens(trace, request)
    ]


def long_trace(seed: int, num_requests: int) -> Trace:
    """Sessions that grow turn by turn, few-shot prompts and exact repeats, from two-letter texts.

    A turn continues an earlier request, cut anywhere with one chance in four, as branches are.
    """
    draws = np.random.default_rng(seed)
    whole: list[list[int]] = []
    prompts: list[list[int]] = []
    outputs: list[int | list[int]] = []
    longest = int(draws.choice([12, 40, 120]))
    for _ in range(num_requests):
        earlier: list[int] = []
        if whole and draws.random() < 0.85:
            recent = draws.random() < 0.7
            earlier = whole[
                int(draws.integers(max(0, len(whole) - 8) if recent else 0, len(whole)))
            ]
            if draws.random() < 0.25:
                earlier = earlier[: int(draws.integers(0, len(earlier) + 1))]
        added = draws.integers(1, 3, int(draws.integers(0 if earlier else 1, 20))).tolist()
        prompt = (earlier + added)[:longest] or [1]
        reply = draws.integers(1, 3, int(draws.integers(1, 10))).tolist()
        prompts.append(prompt)
        outputs.append(reply if draws.random() < 0.7 else len(reply))
        whole.append(prompt + (reply if isinstance(outputs[-1], list) else []))
    return small_trace(
        prompts, outputs, arrival_ns=list(accumulate(draws.integers(0, 4, num_requests).tolist())),
        priority=draws.integers(0, 3, num_requests).tolist(),
        salt=(draws.random(num_requests) < 0.1).astype(int).tolist(),
    )  # fmt: skip
