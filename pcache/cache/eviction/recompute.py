"""What it costs to compute a block again, by its place in the prompt."""

from __future__ import annotations

from pcache.cache.eviction.compiled import PolicyState
from pcache.jit import hot

__all__ = ["cost_a_block"]

ATTENTION_DOUBLES_TOKENS = 26_623
"""Context at which a token's attention costs as much as all else: 2 * N_lin / (4 * L * h * d_h), for
Llama-3.1-8B, 6.979e9 / (2 * 32 * 4096). Other models of 7B and more lie between 20,000 and 40,000."""


@hot
def cost_a_block(p: PolicyState, unit: int) -> float:
    """FLOPs of computing one of the unit's blocks again, in units of a block at the prompt's start: a
    deep block attends to all that comes before it."""
    here = p.units[unit]
    middle = (here.position + 0.5 * here.blocks) * p.facts[0].block_size
    return 1.0 + middle / ATTENTION_DOUBLES_TOKENS
