"""Duration of a step as if the GPU reached its published peaks.

The larger of arithmetic and memory time, plus communication between GPUs and a fixed overhead:

    flops = 2·linear·tokens + 2·head·samples + 4·layers·heads·head_dim·pairs
    bytes = weights + kv_bytes·(context read + tokens written)
"""

from __future__ import annotations

from pcache.cost.contract import CostModel
from pcache.jit import hot
from pcache.types import Records

__all__ = ["roofline_ns"]


@hot
def roofline_ns(model: CostModel, step: Records) -> int:
    """Duration of a step in integer nanoseconds."""
    rates, sums = model.rates, step[0]
    tokens = sums.prefill_tokens + sums.decode_tokens
    flops = rates[0] * tokens + rates[1] * sums.samples + rates[2] * sums.pairs
    moved = rates[3] + rates[4] * (sums.context_tokens + tokens)
    busy = max(flops / rates[5], moved / rates[6])
    return int(busy * 1e9 + rates[7] * tokens + rates[8] + 0.5)
