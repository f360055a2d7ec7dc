"""Causal attention of new tokens over a paged cached prefix and themselves, for a ragged batch.

    out[t, h] = sum_j softmax_j(scale · q[t, h] · k[j, h / group]) v[j, h / group]

over the context positions j of t's request up to t's own. The keys and values of the new tokens are
in the cache before the call, like the prefix, so one loop serves both.

    q            [tokens, num_heads, head_dim]  bf16, fp16 or fp32; last axis contiguous
    k_cache      [num_blocks, block_size, num_kv_heads, head_dim]  q's dtype; last axis contiguous
    v_cache      like k_cache, with the same strides
    block_table  [table_rows, max_blocks]  int32; entry j of a row: the block of positions from
                 j · block_size on
    plan         made for this step by `ExtendPlan.update`: who owns which tokens, and the prefixes
    out          [tokens, num_heads, head_dim]  q's dtype; last axis contiguous; the caller's
    scale        softmax scale, positive

Grid: programs for the plan's work items (a tile of packed query rows, or a chunk of its context) and
KV heads; fixed by the plan's capacity, so a CUDA graph can hold it. Accumulation in float32, softmax
in base 2; fp32 products are IEEE (no TF32). KV blocks of at least 64 tokens are fetched by the
tensor memory accelerator, smaller ones gathered. On Hopper, 16-bit steps of more than a few tokens
run in the warp-specialised kernel of attention/hopper.py instead. Rows of `out` that no request owns
stay as they are. Unsupported: head_dim other than a power of two from 16 to 128, more than 128 query
heads a KV head, sliding windows.
"""

from __future__ import annotations

import torch
import triton

from pcache.gpu.kernels.attention.launch import launch_attention
from pcache.gpu.kernels.attention.plan import AttentionPlan, TileShape, has_specialised_kernel

__all__ = ["ExtendPlan", "extend_attention", "extend_tile_shape"]


_ROWS_THAT_FILL_A_GPU = 1 << 15


def extend_tile_shape(
    *,
    max_tokens: int,
    num_heads: int,
    num_kv_heads: int,
    block_size: int,
    dtype: torch.dtype,
    specialised: bool = False,
) -> TileShape:
    """The launch configuration for steps of `max_tokens` query tokens.

    Chosen by measurement on an H100 at head_dim 128. Large tiles read KV less often but leave too
    few of them to fill the GPU in a small step; gathers need larger tiles than descriptors. Where
    the kernel of `attention/hopper.py` can run (`specialised`), it takes all steps but the smallest.
    """
    least = max(16, triton.next_power_of_2(num_heads // num_kv_heads))
    rows = max(least, max_tokens * num_heads // num_kv_heads)
    fills = max_tokens * num_heads > _ROWS_THAT_FILL_A_GPU
    if dtype == torch.float32:
        return TileShape(max(32, least), 32, num_warps=4, num_stages=1, occupancy=2)
    if rows <= 16:
        return TileShape(16, 128, num_warps=4, num_stages=3, occupancy=1)
    if block_size < 64 and rows <= (128 if specialised else 64):
        return TileShape(64, 128, num_warps=4, num_stages=3, occupancy=1)
    if rows <= 64:
        return TileShape(64, 64, num_warps=4, num_stages=4, occupancy=1, use_tma=True)
    if specialised and block_size >= 16:
        return TileShape(128, 128, num_warps=8, num_stages=3, occupancy=1, specialised=True)
    if block_size >= 64:
        if fills:
            return TileShape(128, 64, num_warps=4, num_stages=2, occupancy=2, use_tma=True)
        return TileShape(max(64, least), 64, num_warps=4, num_stages=3, occupancy=2, use_tma=True)
    if fills:
        return TileShape(256, 64, num_warps=8, num_stages=3, occupancy=1)
    return TileShape(128, 128, num_warps=8, num_stages=3, occupancy=1)


class ExtendPlan(AttentionPlan):
    """The work items of steps with at most `max_tokens` query tokens."""

    def __init__(
        self,
        *,
        max_requests: int,
        max_tokens: int,
        num_heads: int,
        num_kv_heads: int,
        head_dim: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
        tile_shape: TileShape | None = None,
    ) -> None:
        if tile_shape is None:
            tile_shape = extend_tile_shape(
                max_tokens=max_tokens,
                num_heads=num_heads,
                num_kv_heads=num_kv_heads,
                block_size=block_size,
                dtype=dtype,
                specialised=head_dim in (64, 128) and has_specialised_kernel(device),
            )
        super().__init__(
            tile_shape,
            max_requests=max_requests,
            max_tokens=max_tokens,
            group_size=num_heads // num_kv_heads,
            num_kv_heads=num_kv_heads,
            head_dim=head_dim,
            device=device,
        )

    def update(
        self, rows: torch.Tensor, q_starts: torch.Tensor, prefix_lengths: torch.Tensor
    ) -> None:
        """Plan one step. All arguments are int32 on the device; one kernel is launched.

        rows            [num_requests] each request's row of the block table
        q_starts        [num_requests + 1] request b owns query tokens q_starts[b]:q_starts[b+1];
                        an empty range is a request that is not there
        prefix_lengths  [num_requests] context positions before the request's first query token
        """
        self.write_items(rows, prefix_lengths, q_starts)


def extend_attention(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    plan: ExtendPlan,
    out: torch.Tensor,
    scale: float,
) -> None:
    """Launch the kernel described above. Raises ValueError on arguments that do not fit together."""
    launch_attention(q, k_cache, v_cache, block_table, plan, out, scale)
