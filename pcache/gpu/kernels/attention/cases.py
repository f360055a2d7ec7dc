"""Random paged attention problems, hostile on purpose, for tests and benchmarks.

Blocks are shuffled over the pool, requests over the rows of the block table; every slot that no
context owns, and all of `out`, hold NaN.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

__all__ = ["PagedCase", "paged_case"]


@dataclass(frozen=True, slots=True)
class PagedCase:
    """Arguments of the attention references; shapes as in the kernels' docstrings."""

    q: torch.Tensor
    k_cache: torch.Tensor
    v_cache: torch.Tensor
    block_table: torch.Tensor
    rows: torch.Tensor
    q_starts: torch.Tensor
    prefix_lengths: torch.Tensor
    out: torch.Tensor
    scale: float

    @property
    def context_lengths(self) -> torch.Tensor:
        """[num_requests] positions of each context, new tokens included; 0 without new tokens."""
        tokens = self.q_starts.diff()
        return ((self.prefix_lengths + tokens) * (tokens > 0)).int()


def paged_case(
    q_lengths: Sequence[int],
    prefix_lengths: Sequence[int],
    *,
    num_heads: int,
    num_kv_heads: int,
    head_dim: int,
    block_size: int,
    dtype: torch.dtype,
    device: torch.device,
    seed: int = 0,
    num_padding_tokens: int = 0,
) -> PagedCase:
    """A problem of len(q_lengths) requests; `num_padding_tokens` rows of q and out belong to none."""
    generator = torch.Generator(device).manual_seed(seed)

    def normal(*size: int) -> torch.Tensor:
        return torch.randn(size, generator=generator, device=device).to(dtype)

    def ints(values: Sequence[int]) -> torch.Tensor:
        return torch.tensor(values, dtype=torch.int32, device=device)

    num_requests = len(q_lengths)
    contexts = [q + p for q, p in zip(q_lengths, prefix_lengths, strict=True)]
    max_blocks = max(-(-c // block_size) for c in contexts)
    num_blocks = num_requests * max_blocks + 1
    order = torch.randperm(num_blocks, generator=generator, device=device)
    table = order[1:].int().view(num_requests, max_blocks)
    rows = torch.randperm(num_requests, generator=generator, device=device).int()
    shape = (num_blocks, block_size, num_kv_heads, head_dim)
    k_cache, v_cache = normal(*shape), normal(*shape)
    owned = torch.zeros(num_blocks, block_size, dtype=torch.bool, device=device)
    for row, context in zip(rows.tolist(), contexts, strict=True):
        positions = torch.arange(context, device=device)
        owned[table[row, positions // block_size].long(), positions % block_size] = True
    k_cache[~owned] = float("nan")
    v_cache[~owned] = float("nan")
    q = normal(sum(q_lengths) + num_padding_tokens, num_heads, head_dim)
    starts = [sum(q_lengths[:b]) for b in range(num_requests + 1)]
    return PagedCase(
        q, k_cache, v_cache, table, rows, ints(starts), ints(prefix_lengths),
        torch.full_like(q, float("nan")), head_dim**-0.5,
    )  # fmt: skip
