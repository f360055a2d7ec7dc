"""How long a step takes: the interface between scheduler loop, roofline and calibrated profiles.

A step is described by a few sums over its requests; a cost model turns them into nanoseconds. The
roofline takes the larger of arithmetic and memory time, as if the GPU reached its published peaks,
plus communication between GPUs and a fixed overhead a step:

    flops = 2·linear·tokens + 2·head·samples + 4·layers·heads·head_dim·pairs
    bytes = weights + kv_bytes·(context read + tokens written)

`pairs` counts (new token, token it attends to): Σ S·P + S(S+1)/2 for S new tokens after P cached.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from pcache.jit import hot, records
from pcache.types import F8, Records

__all__ = ["CostModel", "StepCost", "describe_request", "roofline_ns", "step_record"]


class CostModel(NamedTuple):
    """`rates`: flops/token, flops/sample, flops/pair, bytes/step, bytes/token, flops/s, bytes/s,
    link ns/token and fixed ns, each for one GPU of the group."""

    rates: F8


@dataclass(frozen=True, slots=True)
class StepCost:
    """A cost model with the name under which results quote it."""

    model: CostModel
    source: str


def step_record() -> Records:
    """One record of the sums that describe a step: `prefill_tokens`, `decode_tokens` (requests that
    decode), `samples` (rows of logits), `pairs` and `context_tokens` (KV read by attention)."""
    return records(
        1, prefill_tokens=np.int64, decode_tokens=np.int64, samples=np.int64, pairs=np.int64,
        context_tokens=np.int64,
    )  # fmt: skip


@hot
def describe_request(step: Records, start: int, count: int, samples: int, decode: bool) -> None:
    """Add a request that computes `count` tokens after `start` cached ones to the sums."""
    if decode:
        step[0].decode_tokens += count
    else:
        step[0].prefill_tokens += count
    step[0].samples += samples
    step[0].pairs += count * start + count * (count + 1) // 2
    step[0].context_tokens += start + count


@hot
def roofline_ns(model: CostModel, step: Records) -> int:
    """Duration of a step in integer nanoseconds."""
    rates, sums = model.rates, step[0]
    tokens = sums.prefill_tokens + sums.decode_tokens
    flops = rates[0] * tokens + rates[1] * sums.samples + rates[2] * sums.pairs
    moved = rates[3] + rates[4] * (sums.context_tokens + tokens)
    busy = max(flops / rates[5], moved / rates[6])
    return int(busy * 1e9 + rates[7] * tokens + rates[8] + 0.5)
