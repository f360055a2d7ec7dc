"""Large extends on Hopper: the same work items as `launch.py`, by specialised warps.

Written in Gluon, as Triton does not overlap the two products of one warp group with its softmax. A
program keeps one multiprocessor and takes work items in turn, a round of items forward and the next
one backward, so that each gets as many long ones. Its warps divide the labour:

- two warps copy, one K and one V, into rings of NUM_STAGES tiles of shared memory, with the tensor
  memory accelerator: a copy for each KV block and 64 elements of its head, whatever the block size;
- two groups of four warps own 64 packed query rows each, and never wait for each other.

A group walks the keys of an item backwards, masked tiles first. While the tensor cores compute
s = q k^T of a tile and add p v of the tile before it, the group waits only for s and turns it into
its p: softmax hides behind the second product.

Rings: a `full` barrier completes when the bytes of a tile are there, an `empty` one when both groups
are done with it. Tile number i of a program is in stage i % NUM_STAGES, and its barriers are in phase
i // NUM_STAGES. Nothing at or beyond `hi` is used: blocks past it are read as zeros from beyond the
end of the cache, and the rest of `hi`'s own block is cleared in shared memory before v is read.

Needs blocks of at least 16 tokens, 16-bit elements and head_dim 64 or 128.
"""

from __future__ import annotations

import math

import torch
from triton.experimental import gluon
from triton.experimental.gluon import language as gl
from triton.experimental.gluon.language.nvidia.hopper import (
    fence_async_shared,
    mbarrier,
    tma,
    warpgroup_mma,
    warpgroup_mma_wait,
)
from triton.experimental.gluon.nvidia.hopper import TensorDescriptor

from pcache.gpu.kernels.attention.plan import ITEM_FIELDS, AttentionPlan

__all__ = ["launch_hopper"]

_PANEL = gl.constexpr(64)  # elements in the 128 bytes that shared memory swizzles
_ROWS = gl.constexpr(64)  # query rows of a warp group
_GROUPS = gl.constexpr(2)
_ATOM = gl.constexpr(8)  # rows that repeat the swizzle
_NUM_STAGES = 2


def launch_hopper(
    q: torch.Tensor,
    k_cache: torch.Tensor,
    v_cache: torch.Tensor,
    block_table: torch.Tensor,
    plan: AttentionPlan,
    out: torch.Tensor,
    scale: float,
) -> None:
    """Run the plan's items; the caller has checked the arguments and joins the split items."""
    block_size, num_kv_heads, head_dim = k_cache.shape[1:]
    block_n = plan.shape.block_n
    box = [1, min(block_size, block_n), 1, _PANEL.value]
    layout = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16, rank=4)
    _hopper_kernel[(min(plan.grid, plan.programs),)](
        TensorDescriptor.from_tensor(k_cache, box, layout),
        TensorDescriptor.from_tensor(v_cache, box, layout),
        q, out, block_table, plan.items, plan.counts, plan.partial_out, plan.partial_lse,
        scale * math.log2(math.e), q.stride(0), q.stride(1), out.stride(0), out.stride(1),
        block_table.stride(0), k_cache.shape[0],
        GROUP=q.shape[1] // num_kv_heads, NUM_KV_HEADS=num_kv_heads, HEAD_DIM=head_dim,
        BLOCK_SIZE=block_size, BLOCK_N=block_n, NUM_STAGES=_NUM_STAGES, num_warps=4,
    )  # fmt: skip


@gluon.jit
def _rounds(counts_ptr, NUM_KV_HEADS: gl.constexpr):
    """Work items of this program."""
    total = gl.load(counts_ptr) * NUM_KV_HEADS
    rounds = total // gl.num_programs(0)
    return rounds + (_place(rounds) < total % gl.num_programs(0)).to(gl.int32)


@gluon.jit
def _place(round_):
    """This program's place in a round."""
    program = gl.program_id(0)
    return gl.where(round_ % 2 == 0, program, gl.num_programs(0) - 1 - program)


@gluon.jit
def _item(items_ptr, round_, NUM_KV_HEADS: gl.constexpr):
    """Pointer to the fields of the program's item of a round, and the KV head."""
    work = round_ * gl.num_programs(0) + _place(round_)
    return items_ptr + work // NUM_KV_HEADS * ITEM_FIELDS, work % NUM_KV_HEADS


@gluon.jit
def _num_tiles(lo, hi, BLOCK_N: gl.constexpr):
    """Tiles of keys to visit: one even if there is nothing to see, so that the first needs no test."""
    return gl.maximum(gl.cdiv(hi - lo, BLOCK_N), 1)


@gluon.jit
def _softmax_step(s, m, denom, scale_log2, limit, n, MASKED: gl.constexpr, layout: gl.constexpr):
    """p, m, denom and alpha after a tile of scores; `limit`: the last position that a row sees."""
    if MASKED:
        position = n + gl.arange(0, s.shape[1], layout=gl.SliceLayout(0, layout))
        s = gl.where(position[None, :] <= limit[:, None], s, -float("inf"))
    m_new = gl.maximum(m, gl.max(s, 1) * scale_log2)
    shift = m_new
    if MASKED:  # a row that has seen nothing yet: -inf - -inf would be NaN
        shift = gl.where(m_new == -float("inf"), 0.0, m_new)
    alpha = gl.exp2(m - shift)
    p = gl.exp2(s * scale_log2 - shift[:, None])
    return p, m_new, denom * alpha + gl.sum(p, 1), alpha


@gluon.jit
def _rows(x, layout: gl.constexpr):
    """A value for each row, in the layout of an accumulator of another width: nothing moves."""
    return gl.convert_layout(x, gl.SliceLayout(1, layout), assert_trivial=True)


@gluon.jit
def _operand(p, dtype: gl.constexpr, layout: gl.constexpr):
    """p as the left operand of a product: each thread already holds the elements it needs."""
    return gl.convert_layout(p.to(dtype), gl.DotOperandLayout(0, layout, 2), assert_trivial=True)


@gluon.jit
def _step(q_smem, k_smem, v_smem, bars, tile, n, p, acc, m, denom, scale_log2, limit,
          MASKED: gl.constexpr, NUM_STAGES: gl.constexpr, layout: gl.constexpr):  # fmt: skip
    """Add p v of the tile before `tile`, and make the p of `tile`, whose first position is n."""
    out_layout: gl.constexpr = acc.type.layout
    k_full, k_empty, v_full, v_empty = bars
    BLOCK_N: gl.constexpr = k_smem.shape[1]
    zeros = gl.zeros([_ROWS, BLOCK_N], gl.float32, layout)
    stage = tile % NUM_STAGES
    mbarrier.wait(k_full.index(stage), tile // NUM_STAGES & 1)
    s = warpgroup_mma(
        q_smem, k_smem.index(stage).permute((1, 0)), zeros, use_acc=False, is_async=True
    )
    last = tile - 1
    v_stage = last % NUM_STAGES
    mbarrier.wait(v_full.index(v_stage), last // NUM_STAGES & 1)
    acc = warpgroup_mma(p, v_smem.index(v_stage), acc, is_async=True)
    s = warpgroup_mma_wait(1, deps=[s])
    mbarrier.arrive(k_empty.index(stage), count=1)
    new, m, denom, alpha = _softmax_step(s, m, denom, scale_log2, limit, n, MASKED, layout)
    new = _operand(new, q_smem.dtype, out_layout)
    # Complete already, but a branch: without it the assembler waits for acc before the softmax.
    mbarrier.wait(v_full.index(v_stage), last // NUM_STAGES & 1)
    acc, p = warpgroup_mma_wait(0, deps=[acc, p])
    mbarrier.arrive(v_empty.index(v_stage), count=1)
    return new, acc * _rows(alpha, out_layout)[:, None], m, denom


@gluon.jit
def _load_query(q_ptr, item_ptr, head, row, stride_token, stride_head, q_smem,
                GROUP: gl.constexpr, layout: gl.constexpr):  # fmt: skip
    token = (gl.load(item_ptr) + row // GROUP).to(gl.int64)
    offsets = token * stride_token + (head * GROUP + row % GROUP) * stride_head
    d = gl.arange(0, q_smem.shape[1], layout=gl.SliceLayout(0, layout))
    mask = row < gl.load(item_ptr + 1) * GROUP
    q_smem.store(gl.load(q_ptr + offsets[:, None] + d[None, :], mask=mask[:, None], other=0.0))
    fence_async_shared()


@gluon.jit
def _store_rows(acc, out_ptr, item_ptr, head, row, stride_token, stride_head, smem,
                GROUP: gl.constexpr, layout: gl.constexpr):  # fmt: skip
    """Write finished rows, by way of shared memory so that a warp writes whole rows."""
    smem.store(acc.to(smem.dtype))
    token = (gl.load(item_ptr) + row // GROUP).to(gl.int64)
    offsets = token * stride_token + (head * GROUP + row % GROUP) * stride_head
    d = gl.arange(0, smem.shape[1], layout=gl.SliceLayout(0, layout))
    mask = row < gl.load(item_ptr + 1) * GROUP
    gl.store(out_ptr + offsets[:, None] + d[None, :], smem.load(layout), mask=mask[:, None])


@gluon.jit
def _store_partial(acc, m, denom, first_row, partial_out_ptr, partial_lse_ptr,
                   HEAD_DIM: gl.constexpr, layout: gl.constexpr):  # fmt: skip
    """Write a chunk's rows, normalised, and the base-2 logarithms of their denominators."""
    d = gl.arange(0, HEAD_DIM, layout=gl.SliceLayout(0, layout))
    rows = first_row + gl.arange(0, _ROWS, layout=gl.SliceLayout(1, layout))
    seen = denom > 0.0
    denom = gl.where(seen, denom, 1.0)
    gl.store(partial_out_ptr + rows[:, None] * HEAD_DIM + d[None, :], acc / denom[:, None])
    gl.store(partial_lse_ptr + rows, gl.where(seen, m + gl.log2(denom), -float("inf")))


@gluon.jit
def _attend(group: gl.constexpr, q_smem, rings, q, out, plan, scale_log2,
            GROUP: gl.constexpr, NUM_KV_HEADS: gl.constexpr, HEAD_DIM: gl.constexpr,
            BLOCK_N: gl.constexpr, NUM_STAGES: gl.constexpr):  # fmt: skip
    """One group of warps: the rows _ROWS · group + [0, _ROWS) of each item."""
    layout: gl.constexpr = gl.NVMMADistributedLayout((3, 0), (4, 1), (16, BLOCK_N, 16))
    out_layout: gl.constexpr = gl.NVMMADistributedLayout((3, 0), (4, 1), (16, HEAD_DIM, 16))
    chunks: gl.constexpr = HEAD_DIM // 8
    blocked: gl.constexpr = gl.BlockedLayout([1, 8], [32 // chunks, chunks], [4, 1], [1, 0])
    dtype: gl.constexpr = q_smem.dtype
    ring: gl.constexpr = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16)
    k_ring, v_ring, bars = rings
    q_ptr, stride_q_token, stride_q_head = q
    out_ptr, stride_out_token, stride_out_head, partial_out_ptr, partial_lse_ptr = out
    items_ptr, counts_ptr = plan
    k_smem = k_ring._reinterpret(dtype, [NUM_STAGES, BLOCK_N, HEAD_DIM], ring)
    v_smem = v_ring._reinterpret(dtype, [NUM_STAGES, BLOCK_N, HEAD_DIM], ring)
    row = group * _ROWS + gl.arange(0, _ROWS, layout=gl.SliceLayout(1, blocked))
    k_full, k_empty, v_full, v_empty = bars
    tile = 0
    for round_ in range(_rounds(counts_ptr, NUM_KV_HEADS)):
        item_ptr, head = _item(items_ptr, round_, NUM_KV_HEADS)
        position = gl.load(item_ptr + 2)
        lo = gl.load(item_ptr + 3)
        hi = gl.load(item_ptr + 4)
        _load_query(
            q_ptr, item_ptr, head, row, stride_q_token, stride_q_head, q_smem, GROUP, blocked
        )
        rows = group * _ROWS + gl.arange(0, _ROWS, layout=gl.SliceLayout(1, layout))
        limit = gl.where(lo < hi, gl.minimum(position + rows // GROUP, hi - 1), -1)
        n = (hi - 1) // BLOCK_N * BLOCK_N

        stage = tile % NUM_STAGES
        mbarrier.wait(k_full.index(stage), tile // NUM_STAGES & 1)
        zeros = gl.zeros([_ROWS, BLOCK_N], gl.float32, layout)
        s = warpgroup_mma(q_smem, k_smem.index(stage).permute((1, 0)), zeros, use_acc=False)
        mbarrier.arrive(k_empty.index(stage), count=1)
        m = gl.full([_ROWS], -float("inf"), gl.float32, gl.SliceLayout(1, layout))
        denom = gl.zeros([_ROWS], gl.float32, gl.SliceLayout(1, layout))
        p, m, denom, _ = _softmax_step(s, m, denom, scale_log2, limit, n, True, layout)
        p = _operand(p, dtype, out_layout)
        acc = gl.zeros([_ROWS, HEAD_DIM], gl.float32, out_layout)
        end = tile + _num_tiles(lo, hi, BLOCK_N)
        full = (position + 1) // BLOCK_N * BLOCK_N  # below it, every row sees every position
        unmasked = tile + 1 + gl.maximum(n - gl.maximum(lo, full), 0) // BLOCK_N
        for t in range(tile + 1, unmasked):
            n -= BLOCK_N
            p, acc, m, denom = _step(q_smem, k_smem, v_smem, bars, t, n, p, acc, m, denom,
                                     scale_log2, limit, True, NUM_STAGES, layout)  # fmt: skip
        for t in range(unmasked, end):
            p, acc, m, denom = _step(q_smem, k_smem, v_smem, bars, t, n, p, acc, m, denom,
                                     scale_log2, limit, False, NUM_STAGES, layout)  # fmt: skip
        stage = (end - 1) % NUM_STAGES
        mbarrier.wait(v_full.index(stage), (end - 1) // NUM_STAGES & 1)
        acc = warpgroup_mma(p, v_smem.index(stage), acc)
        mbarrier.arrive(v_empty.index(stage), count=1)
        tile = end
        m = _rows(m, out_layout)
        denom = _rows(denom, out_layout)

        slot = gl.load(item_ptr + 6)
        if slot < 0:
            _store_rows(acc / denom[:, None], out_ptr, item_ptr, head, row, stride_out_token,
                        stride_out_head, q_smem, GROUP, blocked)  # fmt: skip
        else:
            tile_rows = (slot.to(gl.int64) * NUM_KV_HEADS + head) * (_GROUPS * _ROWS)
            _store_partial(acc, m, denom, tile_rows + group * _ROWS, partial_out_ptr,
                           partial_lse_ptr, HEAD_DIM, out_layout)  # fmt: skip


@gluon.jit
def _copy_tile(desc, ring, bar, table_ptr, stage, n, hi, head, num_blocks,
               HEAD_DIM: gl.constexpr, BLOCK_SIZE: gl.constexpr, BLOCK_N: gl.constexpr):  # fmt: skip
    """Start the copies of positions n : n + BLOCK_N; blocks from `hi` on come as zeros."""
    chunk: gl.constexpr = ring.shape[2]
    chunks: gl.constexpr = BLOCK_N // chunk
    panels: gl.constexpr = HEAD_DIM // _PANEL
    for i in gl.static_range(chunks):
        position = n + i * chunk
        block = gl.load(table_ptr + position // BLOCK_SIZE, mask=position < hi, other=num_blocks)
        for panel in gl.static_range(panels):
            box = ring.index((stage * panels + panel) * chunks + i)
            coordinates = [block, position % BLOCK_SIZE, head, panel * _PANEL]
            tma.async_copy_global_to_shared(desc, coordinates, bar, box)


@gluon.jit
def _clear_from(ring, stage, first, HEAD_DIM: gl.constexpr, BLOCK_N: gl.constexpr):
    """Zero the positions `first` (at least 1) and up of a tile in shared memory."""
    dtype: gl.constexpr = ring.dtype
    panels: gl.constexpr = HEAD_DIM // _PANEL
    atoms: gl.constexpr = BLOCK_N // _ATOM
    num: gl.constexpr = ring.shape[0] * ring.shape[2] // _ATOM
    swizzled: gl.constexpr = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16)
    view = ring._reinterpret(dtype, [num, _ATOM, _PANEL], swizzled)
    layout: gl.constexpr = gl.BlockedLayout([1, 8], [4, 8], [1, 1], [1, 0])
    row = gl.arange(0, _ATOM, layout=gl.SliceLayout(1, layout))
    for atom in range(first // _ATOM, atoms):
        for panel in gl.static_range(panels):
            piece = view.index((stage * panels + panel) * atoms + atom)
            kept = (atom * _ATOM + row < first)[:, None]
            piece.store(gl.where(kept, piece.load(layout), 0.0))
    fence_async_shared()


@gluon.jit
def _load(desc, ring, full, empty, tail, table_ptr, stride_table_row, num_blocks, plan,
          CLEARED: gl.constexpr, NUM_KV_HEADS: gl.constexpr, HEAD_DIM: gl.constexpr,
          BLOCK_SIZE: gl.constexpr, BLOCK_N: gl.constexpr, NUM_STAGES: gl.constexpr):  # fmt: skip
    """The warp that fills one of the rings; CLEARED: with zeros from `hi` on."""
    tile_bytes: gl.constexpr = BLOCK_N * HEAD_DIM * 2
    items_ptr, counts_ptr = plan
    tile = 0
    num_tails = 0
    for round_ in range(_rounds(counts_ptr, NUM_KV_HEADS)):
        item_ptr, head = _item(items_ptr, round_, NUM_KV_HEADS)
        lo = gl.load(item_ptr + 3)
        hi = gl.load(item_ptr + 4)
        row_ptr = table_ptr + gl.load(item_ptr + 5).to(gl.int64) * stride_table_row
        n = (hi - 1) // BLOCK_N * BLOCK_N
        for _ in range(_num_tiles(lo, hi, BLOCK_N)):
            stage = tile % NUM_STAGES
            mbarrier.wait(empty.index(stage), (tile // NUM_STAGES & 1) ^ 1)
            if CLEARED and n + BLOCK_N > hi and hi % BLOCK_SIZE != 0:
                mbarrier.expect(tail, tile_bytes)
                _copy_tile(desc, ring, tail, row_ptr, stage, n, hi, head, num_blocks,
                           HEAD_DIM, BLOCK_SIZE, BLOCK_N)  # fmt: skip
                mbarrier.wait(tail, num_tails & 1)
                num_tails += 1
                _clear_from(ring, stage, hi - n, HEAD_DIM, BLOCK_N)
                mbarrier.arrive(full.index(stage), count=1)
            else:
                mbarrier.expect(full.index(stage), tile_bytes)
                _copy_tile(desc, ring, full.index(stage), row_ptr, stage, n, hi, head,
                           num_blocks, HEAD_DIM, BLOCK_SIZE, BLOCK_N)  # fmt: skip
            tile += 1
            n -= BLOCK_N


@gluon.jit
def _barriers(count: gl.constexpr, NUM_STAGES: gl.constexpr):
    bars = gl.allocate_shared_memory(gl.int64, [NUM_STAGES, 1], mbarrier.MBarrierLayout())
    for stage in gl.static_range(NUM_STAGES):
        mbarrier.init(bars.index(stage), count=count)
    return bars


@gluon.jit(do_not_specialize=["num_blocks", "stride_table_row"])
def _hopper_kernel(k_desc, v_desc, q_ptr, out_ptr, table_ptr, items_ptr, counts_ptr,
                   partial_out_ptr, partial_lse_ptr, scale_log2, stride_q_token, stride_q_head,
                   stride_out_token, stride_out_head, stride_table_row, num_blocks,
                   GROUP: gl.constexpr, NUM_KV_HEADS: gl.constexpr, HEAD_DIM: gl.constexpr,
                   BLOCK_SIZE: gl.constexpr, BLOCK_N: gl.constexpr,
                   NUM_STAGES: gl.constexpr):  # fmt: skip
    dtype: gl.constexpr = k_desc.dtype
    boxes: gl.constexpr = NUM_STAGES * (HEAD_DIM // _PANEL) * (BLOCK_N // k_desc.block_shape[1])
    k_ring = gl.allocate_shared_memory(dtype, [boxes] + k_desc.block_shape, k_desc.layout)
    v_ring = gl.allocate_shared_memory(dtype, [boxes] + k_desc.block_shape, k_desc.layout)
    swizzled: gl.constexpr = gl.NVMMASharedLayout(swizzle_byte_width=128, element_bitwidth=16)
    q_smem = gl.allocate_shared_memory(dtype, [_GROUPS, _ROWS, HEAD_DIM], swizzled)
    bars = (_barriers(1, NUM_STAGES), _barriers(_GROUPS, NUM_STAGES),
            _barriers(1, NUM_STAGES), _barriers(_GROUPS, NUM_STAGES))  # fmt: skip
    tail = _barriers(1, 1).index(0)
    fence_async_shared()
    rings = (k_ring, v_ring, bars)
    q = (q_ptr, stride_q_token, stride_q_head)
    out = (out_ptr, stride_out_token, stride_out_head, partial_out_ptr, partial_lse_ptr)
    plan = (items_ptr, counts_ptr)
    gl.warp_specialize(
        [
            (_attend, (0, q_smem.index(0), rings, q, out, plan, scale_log2,
                       GROUP, NUM_KV_HEADS, HEAD_DIM, BLOCK_N, NUM_STAGES)),
            (_attend, (1, q_smem.index(1), rings, q, out, plan, scale_log2,
                       GROUP, NUM_KV_HEADS, HEAD_DIM, BLOCK_N, NUM_STAGES)),
            (_load, (k_desc, k_ring, bars[0], bars[1], tail, table_ptr, stride_table_row, num_blocks,
                     plan, False, NUM_KV_HEADS, HEAD_DIM, BLOCK_SIZE, BLOCK_N, NUM_STAGES)),
            (_load, (v_desc, v_ring, bars[2], bars[3], tail, table_ptr, stride_table_row, num_blocks,
                     plan, True, NUM_KV_HEADS, HEAD_DIM, BLOCK_SIZE, BLOCK_N, NUM_STAGES)),
        ],
        [4, 1, 1],
        [240, 24, 24],
    )  # fmt: skip
