"""Join the partial results of tiles whose context was cut into chunks.

    lse = log2 sum_c 2^lse_c,   out = sum_c out_c · 2^(lse_c - lse)

over a tile's chunks c, in float32. A chunk with nothing visible to a row has lse -inf, weight 0.
Fixed grid: each program takes (tile, KV head, ROWS packed rows) pieces in turn, as many as the plan
on the device says; without split tiles it returns at once. CHUNKS partials a row are loaded at a
time: small tiles have many chunks, and one after the other each would wait for memory.
"""

from __future__ import annotations

import torch
import triton
import triton.language as tl

from pcache.gpu.kernels.attention.plan import MERGE_FIELDS, AttentionPlan

__all__ = ["merge_partials", "store_tile"]

_MANY_CHUNKS, _FEW_CHUNKS = 16, 4
"""Partials a row loaded at a time. Small tiles are often cut into 16 chunks, those of 128 rows into
few, and with more at a time their many rows take longer (H200)."""


def merge_partials(plan: AttentionPlan, out: torch.Tensor) -> None:
    """Write the split tiles' rows of `out` [tokens, num_heads, head_dim] from the plan's partials."""
    num_heads, head_dim, block_m = out.shape[1], out.shape[2], plan.shape.block_m
    _merge_kernel[(plan.merge_programs,)](
        plan.counts, plan.merges, plan.partial_out, plan.partial_lse, out, out.stride(0), out.stride(1),
        GROUP=num_heads // plan.num_kv_heads, NUM_KV_HEADS=plan.num_kv_heads, HEAD_DIM=head_dim,
        BLOCK_M=block_m, ROWS=4, CHUNKS=_MANY_CHUNKS if block_m <= 64 else _FEW_CHUNKS,
    )  # fmt: skip


@triton.jit
def store_tile(acc, m, denom, out_ptr, partial_out_ptr, partial_lse_ptr, out_offsets, row_mask,
               slot, head, NUM_KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr,
               BLOCK_M: tl.constexpr):  # fmt: skip
    """Write a finished tile to `out`, or a chunk of one to its partial slot."""
    d = tl.arange(0, HEAD_DIM)
    if slot < 0:
        acc = acc / denom[:, None]
        tl.store(out_ptr + out_offsets, acc.to(out_ptr.dtype.element_ty), mask=row_mask[:, None])
    else:
        seen = denom > 0.0
        rows = (slot.to(tl.int64) * NUM_KV_HEADS + head) * BLOCK_M + tl.arange(0, BLOCK_M)
        acc = acc / tl.where(seen, denom, 1.0)[:, None]
        lse = tl.where(seen, m + tl.math.log2(tl.where(seen, denom, 1.0)), -float("inf"))
        tl.store(partial_out_ptr + rows[:, None] * HEAD_DIM + d[None, :], acc)
        tl.store(partial_lse_ptr + rows, lse)


@triton.jit
def _merge_kernel(counts_ptr, merges_ptr, partial_out_ptr, partial_lse_ptr, out_ptr,
                  stride_out_token, stride_out_head,
                  GROUP: tl.constexpr, NUM_KV_HEADS: tl.constexpr, HEAD_DIM: tl.constexpr,
                  BLOCK_M: tl.constexpr, ROWS: tl.constexpr, CHUNKS: tl.constexpr):  # fmt: skip
    PIECES: tl.constexpr = BLOCK_M // ROWS
    d = tl.arange(0, HEAD_DIM)
    num_pieces = tl.load(counts_ptr + 1) * NUM_KV_HEADS * PIECES
    for piece in tl.range(tl.program_id(0), num_pieces, tl.num_programs(0)):
        merge_ptr = merges_ptr + piece // PIECES // NUM_KV_HEADS * MERGE_FIELDS
        head = piece // PIECES % NUM_KV_HEADS
        first_token = tl.load(merge_ptr)
        tile_tokens = tl.load(merge_ptr + 1)
        num_chunks = tl.load(merge_ptr + 2)
        first_slot = tl.load(merge_ptr + 3)
        slot_stride = tl.load(merge_ptr + 4)
        row = piece % PIECES * ROWS + tl.arange(0, ROWS)
        if piece % PIECES * ROWS < tile_tokens * GROUP:
            m = tl.full([ROWS], -float("inf"), tl.float32)
            denom = tl.zeros([ROWS], tl.float32)
            acc = tl.zeros([ROWS, HEAD_DIM], tl.float32)
            for first_chunk in tl.range(0, num_chunks, CHUNKS):
                chunk = first_chunk + tl.arange(0, CHUNKS)
                mask = (chunk < num_chunks)[None, :]
                slot = (first_slot + chunk * slot_stride).to(tl.int64)
                rows = ((slot * NUM_KV_HEADS + head) * BLOCK_M)[None, :] + row[:, None]
                lse = tl.load(partial_lse_ptr + rows, mask=mask, other=-float("inf"))
                part = tl.load(
                    partial_out_ptr + rows[:, :, None] * HEAD_DIM + d[None, None, :],
                    mask=mask[:, :, None],
                    other=0.0,
                )  # [ROWS, CHUNKS, HEAD_DIM]
                m_new = tl.maximum(m, tl.max(lse, 1))
                shift = tl.where(m_new == -float("inf"), 0.0, m_new)
                weight = tl.math.exp2(lse - shift[:, None])
                alpha = tl.math.exp2(m - shift)
                denom = denom * alpha + tl.sum(weight, 1)
                acc = acc * alpha[:, None] + tl.sum(part * weight[:, :, None], 1)
                m = m_new
            token = (first_token + row // GROUP).to(tl.int64)
            offsets = token * stride_out_token + (head * GROUP + row % GROUP) * stride_out_head
            out = (acc / denom[:, None]).to(out_ptr.dtype.element_ty)
            tl.store(
                out_ptr + offsets[:, None] + d[None, :],
                out,
                mask=(row < tile_tokens * GROUP)[:, None],
            )
