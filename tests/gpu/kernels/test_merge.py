"""Joining partial results: against the softmax of all chunks at once."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import cast

import pytest
import torch
from torch.nn.functional import pad

from pcache.gpu.kernels.attention.merge import merge_partials
from pcache.gpu.kernels.attention.plan import MERGE_FIELDS, AttentionPlan, TileShape

DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
KV_HEADS, GROUP, HEAD_DIM = 2, 4, 32


@pytest.mark.parametrize("chunks", [2, 5, 16, 17, 40])
@pytest.mark.parametrize("block_m", [16, 64, 128])
def test_merged_rows_are_the_softmax_over_all_chunks(chunks: int, block_m: int) -> None:
    """Two tiles, one after the other in each chunk; the second has one token. Some rows see nothing of
    some chunks, the first row nothing of the first 16, if there are more. Slots past the last chunk
    hold NaN, and the rows of `out` are not contiguous."""
    generator = torch.Generator().manual_seed(chunks)
    tokens = block_m // GROUP
    slots, rows = 2 * chunks, KV_HEADS * block_m
    out_parts = torch.randn(slots, KV_HEADS, block_m, HEAD_DIM, generator=generator)
    lse = 5 * torch.randn(slots, KV_HEADS, block_m, generator=generator)
    lse[torch.rand(lse.shape, generator=generator) < 0.3] = -torch.inf
    lse[: 2 * min(16, chunks - 1), :, 0] = -torch.inf
    lse[-2:] = torch.randn(2, KV_HEADS, block_m, generator=generator)
    merges = torch.zeros(2, MERGE_FIELDS.value, dtype=torch.int32)
    merges[:, :5] = torch.tensor([[0, tokens, chunks, 0, 2], [tokens, 1, chunks, 1, 2]])
    beyond = 32 * rows
    plan = SimpleNamespace(
        shape=TileShape(block_m, 128, num_warps=4, num_stages=3, occupancy=1),
        num_kv_heads=KV_HEADS,
        merge_programs=3,
        counts=torch.tensor([2 * chunks, 2], dtype=torch.int32, device=DEVICE),
        merges=merges.to(DEVICE),
        partial_out=pad(out_parts.reshape(-1, HEAD_DIM), (0, 0, 0, beyond), value=torch.nan).to(
            DEVICE
        ),
        partial_lse=pad(lse.reshape(-1), (0, beyond), value=torch.nan).to(DEVICE),
    )
    out = torch.full((tokens + 2, KV_HEADS * GROUP, 2 * HEAD_DIM), torch.nan, device=DEVICE)
    merge_partials(cast(AttentionPlan, plan), out[..., :HEAD_DIM])

    weights = torch.softmax(lse.double() * math.log(2), dim=0)
    for tile, (first, count) in enumerate(((0, tokens), (tokens, 1))):
        part = weights.view(chunks, 2, KV_HEADS, block_m)[:, tile]
        part = part / part.sum(dim=0)
        values = out_parts.view(chunks, 2, KV_HEADS, block_m, HEAD_DIM)[:, tile].double()
        wanted = (values * part[..., None]).sum(dim=0)[:, : count * GROUP]
        wanted = wanted.view(KV_HEADS, count, GROUP, HEAD_DIM).transpose(0, 1).flatten(1, 2)
        got = out[first : first + count, :, :HEAD_DIM].cpu().double()
        torch.testing.assert_close(got, wanted, rtol=1e-5, atol=1e-5)
    assert out[tokens + 1].isnan().all()
    assert out[..., HEAD_DIM:].isnan().all()
