"""Attention of one query token a request over its paged context: split KV, GQA rows packed.

    out[b, h] = sum_j softmax_j(scale · q[b, h] · k[j, h / group]) v[j, h / group]

over all positions j of request b's context, the query's own included (its K and V are in the cache
before the call).

    q            [num_requests, num_heads, head_dim]  bf16, fp16 or fp32; last axis contiguous
    k_cache      [num_blocks, block_size, num_kv_heads, head_dim]  q's dtype; last axis contiguous
    v_cache      like k_cache, with the same strides
    block_table  [table_rows, max_blocks]  int32; entry j of a row: the block of positions from
                 j · block_size on
    plan         made for this step by `DecodePlan.update`: the table rows and context lengths
    out          [num_requests, num_heads, head_dim]  q's dtype; last axis contiguous; the caller's
    scale        softmax scale, positive

Grid: programs for the plan's work items (one request's context, or a chunk of it) and KV heads; fixed
by the plan's capacity, so a CUDA graph can hold it. Accumulation in float32,
softmax in base 2; fp32 products are IEEE. Bound by the bytes of KV read. Rows of `out` whose request
has an empty context stay as they are. Unsupported: as for extend attention.
"""

from __future__ import annotations

import torch
import triton

from pcache.gpu.kernels.attention.launch import launch_attention
from pcache.gpu.kernels.attention.plan import AttentionPlan, TileShape

__all__ = ["DecodePlan", "decode_attention", "decode_tile_shape"]


def decode_tile_shape(group_size: int, dtype: torch.dtype) -> TileShape:
    """The launch configuration; the rows of a tile are the query heads of one KV head."""
    rows = max(16, triton.next_power_of_2(group_size))
    if dtype == torch.float32:
        return TileShape(rows, 32, num_warps=4, num_stages=1, occupancy=2)
    return TileShape(rows, 128, num_warps=4, num_stages=3, occupancy=1)


class DecodePlan(AttentionPlan):
    """The work items of steps with at most `max_requests` requests of one query token each."""

    def __init__(
        self,
        *,
        max_requests: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        dtype: torch.dtype,
        device: torch.device,
        tile_shape: TileShape | None = None,
    ) -> None:
        group_size = num_heads // num_kv_heads
        super().__init__(
            tile_shape or decode_tile_shape(group_size, dtype),
            max_requests=max_requests,
            max_tokens=0,
            group_size=group_size,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            device=device,
        )

    def update(self, rows: torch.Tensor, context_lengths: torch.Tensor) -> None:
        """Plan one step. Both arguments are int32 on the device; one kernel is launched.

        rows             [num_requests] each request's row of the block table
        context_lengths  [num_requests] positions in its context, the new token's included; 0 for a
                         request that is not there
        """
        self.write_items(rows, context_lengths, None)


def decode_attention(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    plan: DecodePlan,
    out: torch.Tensor,
    scale: float,
) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    launch_attention(q, k_cache, v_cache, block_table, plan, out, scale)
