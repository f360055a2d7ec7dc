"""Run the attention kernels and their references on one problem."""

from __future__ import annotations

import torch

from pcache.gpu.kernels.attention.cases import PagedCase
from pcache.gpu.kernels.attention.plan import TileShape
from pcache.gpu.kernels.decode_attention.kernel import DecodePlan, decode_attention
from pcache.gpu.kernels.decode_attention.reference import decode_attention_reference
from pcache.gpu.kernels.extend_attention.kernel import ExtendPlan, extend_attention
from pcache.gpu.kernels.extend_attention.reference import extend_attention_reference

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"
HEADS = (32, 8) if ON_GPU else (4, 1)
HEAD_DIM = 128 if ON_GPU else 16
BLOCK_SIZES = [1, 8, 16, 64, 512] if ON_GPU else [1, 4, 32]
LONG = 40 if ON_GPU else 1  # what only needs to be long is this many times longer on a GPU
# Triton's interpreter has no bf16 products.
DTYPES = [torch.float32, torch.float16] + [torch.bfloat16] * ON_GPU


def extend_plan(case: PagedCase, tile_shape: TileShape | None = None) -> ExtendPlan:
    tokens, num_heads, head_dim = case.q.shape
    return ExtendPlan(
        max_requests=case.rows.numel(),
        max_tokens=tokens,
        num_heads=num_heads,
        num_kv_heads=case.k_cache.shape[2],
        head_dim=head_dim,
        block_size=case.k_cache.shape[1],
        dtype=case.q.dtype,
        device=case.q.device,
        tile_shape=tile_shape,
    )


def decode_plan(case: PagedCase, tile_shape: TileShape | None = None) -> DecodePlan:
    requests, num_heads, head_dim = case.q.shape
    return DecodePlan(
        max_requests=requests,
        num_heads=num_heads,
        num_kv_heads=case.k_cache.shape[2],
        head_dim=head_dim,
        dtype=case.q.dtype,
        device=case.q.device,
        tile_shape=tile_shape,
    )


def run_extend(
    case: PagedCase, tile_shape: TileShape | None = None
) -> tuple[torch.Tensor, ExtendPlan]:
    plan = extend_plan(case, tile_shape)
    plan.update(case.rows, case.q_starts, case.prefix_lengths)
    extend_attention(
        case.q, case.k_cache, case.v_cache, case.block_table, plan, case.out, case.scale
    )
    return case.out, plan


def run_decode(
    case: PagedCase, tile_shape: TileShape | None = None
) -> tuple[torch.Tensor, DecodePlan]:
    plan = decode_plan(case, tile_shape)
    plan.update(case.rows, case.context_lengths)
    decode_attention(
        case.q, case.k_cache, case.v_cache, case.block_table, plan, case.out, case.scale
    )
    return case.out, plan


def expected_extend(case: PagedCase) -> torch.Tensor:
    """The reference's answer in double precision; NaN in rows that no request owns."""
    out = torch.full_like(case.q, float("nan"), dtype=torch.float64)
    extend_attention_reference(
        case.q.double(), case.k_cache, case.v_cache, case.block_table, case.rows, case.q_starts,
        case.prefix_lengths, out, case.scale,
    )  # fmt: skip
    return out


def expected_decode(case: PagedCase) -> torch.Tensor:
    """The reference's answer in double precision; NaN in rows whose context is empty."""
    out = torch.full_like(case.q, float("nan"), dtype=torch.float64)
    decode_attention_reference(
        case.q.double(), case.k_cache, case.v_cache, case.block_table, case.rows,
        case.context_lengths, out, case.scale,
    )  # fmt: skip
    return out
