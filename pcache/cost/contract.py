"""A step as a few sums over its requests, and what a cost model knows to turn them into time.

There are two kinds of cost model. A roofline has `rates` alone. A profile, measured on one GPU with
one model, has tables and terms (`cost.profiled`) and the host's part of a step (`cost.timing`).
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import F8, I8, Records

__all__ = ["CONTEXT_TILE", "CostModel", "StepCost", "clear_sums", "describe_request", "step_record"]

CONTEXT_TILE = 128
"""Positions that attention takes at a time. A decode with less context takes as long as with these;
what reads more may be split."""
_TILE_TOKENS = 32
"""New tokens that read their context together, as large tiles of attention have it on a model with
four query heads a KV head."""


class CostModel(NamedTuple):
    """`rates` of a roofline: flops/token, flops/sample, flops/pair, bytes/step, bytes/token,
    flops/s, bytes/s, link ns/token and fixed ns, each for one GPU of the group.

    Of a profile: `terms` as `profiled.TERMS`, in ns; `linear` [knots, 2], padded tokens and ns, and
    `context` [knots, 2], KV tokens that decodes read and ns, both ascending; `sizes` [4, width], rows
    filled up with -1: of CUDA graphs, ascending, decodes alone, extend tokens, and decodes beside
    extends; then the most extends of a graph; `host` as `timing.HOST`, in ns; `throttle` as
    `throttle.STAGE`, a row a stage, none where the GPU keeps its clock; `power` as `throttle.POWER`.
    """

    rates: F8
    terms: F8 = np.zeros(0)
    linear: F8 = np.zeros((0, 2))
    context: F8 = np.zeros((0, 2))
    sizes: I8 = np.zeros((4, 0), np.int64)
    host: F8 = np.zeros(0)
    throttle: F8 = np.zeros((0, 4))
    power: F8 = np.zeros(2)


@dataclass(frozen=True, slots=True)
class StepCost:
    """A cost model with the name under which results quote it."""

    model: CostModel
    source: str


def step_record() -> Records:
    """One record of the sums that describe a step, and of its instants.

    Sums: `prefill_tokens`, `decode_tokens` (requests that decode), `num_requests`, `samples` (rows
    of logits), `pairs` of a new token and one it attends to (S·P + S(S+1)/2 for S after P cached),
    `context_tokens` (KV read by attention); of the requests with more than one new token alone
    `num_extends`, `extend_tokens`, `extend_context` and `tile_context`, the context of each tile of
    32 new tokens (T·P + 32·T(T+1)/2 for T tiles after P cached); `longest_extend` and
    `longest_decode`, the longest context of either; `decode_padding`, what contexts of decodes lack
    to CONTEXT_TILE positions; and `shared_context`, KV tokens read from blocks that another request
    of the step reads too. Instants, by `timing.run_step`: `launched_at_ns` (on the host),
    `starts_at_ns`, `ends_at_ns` (on the GPU), `host_free_at_ns`. And what one step leaves to the
    next: `recent_load` and `lasting_load` of the GPU (`cost.throttle`), for which one record has to
    describe all steps of a run in turn.
    """
    sums = (
        "prefill_tokens", "decode_tokens", "num_requests", "samples", "pairs", "context_tokens",
        "num_extends", "extend_tokens", "extend_context", "tile_context", "longest_extend",
        "longest_decode", "decode_padding", "shared_context",
    )  # fmt: skip
    instants = ("launched_at_ns", "starts_at_ns", "ends_at_ns", "host_free_at_ns")
    loads = dict.fromkeys(("recent_load", "lasting_load"), np.float64)
    return records(1, **dict.fromkeys(sums + instants, np.int64), **loads)


@hot
def clear_sums(step: Records) -> None:
    """Describe a step of nothing."""
    at = step[0]
    at.prefill_tokens = at.decode_tokens = at.num_requests = at.samples = 0
    at.pairs = at.context_tokens = at.shared_context = 0
    at.num_extends = at.extend_tokens = at.extend_context = at.tile_context = 0
    at.longest_extend = at.longest_decode = at.decode_padding = 0


@hot
def describe_request(step: Records, start: int, count: int, samples: int, decode: bool) -> None:
    """Add a request that computes `count` tokens after `start` cached ones to the sums."""
    at = step[0]
    if decode:
        at.decode_tokens += count
    else:
        at.prefill_tokens += count
    at.num_requests += 1
    at.samples += samples
    at.pairs += count * start + count * (count + 1) // 2
    at.context_tokens += start + count
    if count > 1:
        at.num_extends += 1
        at.extend_tokens += count
        at.extend_context += start + count
        tiles = (count + _TILE_TOKENS - 1) // _TILE_TOKENS
        at.tile_context += tiles * start + _TILE_TOKENS * (tiles * (tiles + 1) // 2)
        at.longest_extend = max(at.longest_extend, start + count)
    else:
        at.longest_decode = max(at.longest_decode, start + count)
        at.decode_padding += max(0, CONTEXT_TILE - (start + count))
