"""The kernel behind extend and decode attention: one work item of a plan at a time.

Extend and decode differ in how the plan cuts a step and in tile shapes, not in what is computed, so
they share this body. Its arguments are described in extend_attention/kernel.py and
decode_attention/kernel.py. Grid: a program for each work item and KV head that the plan could
hold; those past the ones it does hold, as it says on the device, return at once.
"""

from __future__ import annotations

import math

import torch
import triton
import triton.language as tl
from triton.tools.tensor_descriptor import TensorDescriptor

from pcache.gpu.kernels.attention.check import check_paged_arguments
from pcache.gpu.kernels.attention.merge import merge_partials, store_tile
from pcache.gpu.kernels.attention.plan import ITEM_FIELDS, AttentionPlan
from pcache.gpu.kernels.attention.tile import attend

__all__ = ["launch_attention"]


def launch_attention(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    plan: AttentionPlan,
    out: torch.Tensor,
    scale: float,
) -> None:
    """Run the plan's items and join the split ones. Raises ValueError on arguments that do not fit."""
    check_paged_arguments(q, k_cache, v_cache, block_table, out)
    if _specialised(plan, k_cache, v_cache):
        from pcache.gpu.kernels.attention.hopper import launch_hopper

        launch_hopper(q, k_cache, v_cache, block_table, plan, out, scale)
    else:
        _launch_triton(q, k_cache, v_cache, block_table, plan, out, scale)
    merge_partials(plan, out)


def _launch_triton(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    plan: AttentionPlan,
    out: torch.Tensor,
    scale: float,
) -> None:
    block_size, num_kv_heads, head_dim = k_cache.shape[1:]
    shape = plan.shape
    use_tma = plan.use_tma and block_size >= shape.block_n
    use_tma = use_tma and _fits_tma(k_cache) and _fits_tma(v_cache)
    box = [1, shape.block_n, 1, head_dim]
    _attention_kernel[(plan.grid,)](
        q, k_cache, v_cache,
        TensorDescriptor.from_tensor(k_cache, box) if use_tma else k_cache,
        TensorDescriptor.from_tensor(v_cache, box) if use_tma else v_cache,
        block_table, plan.items, plan.counts, plan.partial_out, plan.partial_lse, out,
        scale * math.log2(math.e), q.stride(0), q.stride(1), out.stride(0), out.stride(1),
        k_cache.stride(0), k_cache.stride(1), k_cache.stride(2), block_table.stride(0),
        GROUP=q.shape[1] // num_kv_heads, NUM_KV_HEADS=num_kv_heads, HEAD_DIM=head_dim,
        BLOCK_SIZE=block_size, BLOCK_M=shape.block_m, BLOCK_N=shape.block_n, USE_TMA=use_tma,
        num_warps=shape.num_warps, num_stages=shape.num_stages,
    )  # fmt: skip


def _specialised(plan: AttentionPlan, k_cache: torch.Tensor, v_cache: torch.Tensor) -> bool:
    """Whether the kernel of `hopper.py` computes the plan's items over these caches."""
    _, block_size, _, head_dim = k_cache.shape
    fits = k_cache.element_size() == 2 and head_dim in (64, 128) and block_size >= 16
    return plan.specialised and fits and _fits_tma(k_cache) and _fits_tma(v_cache)


def _fits_tma(cache: torch.Tensor) -> bool:
    """Whether address and strides are whole units of 16 bytes, as descriptors need."""
    size = cache.element_size()
    return cache.data_ptr() % 16 == 0 and all(s * size % 16 == 0 for s in cache.stride()[:-1])


@triton.jit
def _attention_kernel(q_ptr, k_ptr, v_ptr, k_desc, v_desc, table_ptr, items_ptr, counts_ptr,
                      partial_out_ptr, partial_lse_ptr, out_ptr, scale_log2,
                      stride_q_token, stride_q_head, stride_out_token, stride_out_head,
                      stride_block, stride_slot, stride_head, stride_table_row,
                      GROUP: tl.constexpr, NUM_KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr,
                      BLOCK_SIZE: tl.constexpr, BLOCK_M: tl.constexpr, BLOCK_N: tl.constexpr,
                      USE_TMA: tl.constexpr):  # fmt: skip
    d = tl.arange(0, HEAD_DIM)
    row = tl.arange(0, BLOCK_M)
    work = tl.program_id(0)
    if work >= tl.load(counts_ptr) * NUM_KV_HEADS:
        return
    item_ptr = items_ptr + work // NUM_KV_HEADS * ITEM_FIELDS
    head = work % NUM_KV_HEADS
    first_token = tl.load(item_ptr)
    tile_tokens = tl.load(item_ptr + 1)
    position = tl.load(item_ptr + 2)
    lo = tl.load(item_ptr + 3)
    hi = tl.load(item_ptr + 4)
    table_row = tl.load(item_ptr + 5).to(tl.int64)
    slot = tl.load(item_ptr + 6)

    row_mask = row < tile_tokens * GROUP
    token = (first_token + row // GROUP).to(tl.int64)
    q_head = head * GROUP + row % GROUP
    q_offsets = (token * stride_q_token + q_head * stride_q_head)[:, None] + d[None, :]
    q = tl.load(q_ptr + q_offsets, mask=row_mask[:, None], other=0.0)  # [BLOCK_M, HEAD_DIM]
    m = tl.full([BLOCK_M], -float("inf"), tl.float32)
    denom = tl.zeros([BLOCK_M], tl.float32)
    acc = tl.zeros([BLOCK_M, HEAD_DIM], tl.float32)
    acc, m, denom = attend(
        q, acc, m, denom, position + row // GROUP, lo, (position + 1) // BLOCK_N * BLOCK_N, hi,
        head, k_ptr, v_ptr, k_desc, v_desc, table_ptr + table_row * stride_table_row,
        stride_block, stride_slot, stride_head, scale_log2,
        HEAD_DIM, BLOCK_SIZE, BLOCK_N, USE_TMA,
    )  # fmt: skip
    # Loaded again, not kept: 64-bit offsets held through the loop would spill its accumulators.
    token = (tl.load(item_ptr, volatile=True) + row // GROUP).to(tl.int64)
    row_mask = row < tl.load(item_ptr + 1, volatile=True) * GROUP
    out_offsets = (token * stride_out_token + q_head * stride_out_head)[:, None] + d[None, :]
    store_tile(acc, m, denom, out_ptr, partial_out_ptr, partial_lse_ptr, out_offsets, row_mask,
               slot, head, NUM_KV_HEADS, HEAD_DIM, BLOCK_M)  # fmt: skip
