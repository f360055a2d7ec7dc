"""Decode attention: the rate at which KV is read, from one long context to many."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial

import torch
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

from pcache.gpu.kernels.attention.bench_inputs import (
    DTYPE,
    SHAPE,
    normal,
    passes_for,
    require_close,
    shuffled_cache,
)
from pcache.gpu.kernels.attention.cases import PagedCase, paged_case
from pcache.gpu.kernels.attention.fa3 import PagedAttention, fa3_providers
from pcache.gpu.kernels.bench import BenchCase, KernelBenchmark
from pcache.gpu.kernels.decode_attention.kernel import DecodePlan, decode_attention
from pcache.gpu.kernels.decode_attention.reference import decode_attention_reference
from pcache.gpu.kernels.timing import Work

__all__ = ["BENCHMARK"]

_SIZES = ((64, 4096), (256, 1024), (32, 8192), (4, 2048), (1, 8192))  # requests, context tokens
_BLOCK_SIZES = (1, 16, 64)
_PEERS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash-2": SDPBackend.FLASH_ATTENTION}
_CHECKED_CONTEXTS = ((1, 15, 16, 17, 129, 3000), (5000,))


def _plan(num_requests: int, device: torch.device) -> DecodePlan:
    return DecodePlan(
        max_requests=num_requests,
        num_heads=SHAPE.num_heads,
        num_kv_heads=SHAPE.num_kv_heads,
        head_dim=SHAPE.head_dim,
        dtype=DTYPE,
        device=device,
    )


def _check(device: torch.device) -> None:
    for block_size in _BLOCK_SIZES:
        for contexts in _CHECKED_CONTEXTS:
            case = paged_case(
                [1] * len(contexts),
                [context - 1 for context in contexts],
                num_heads=SHAPE.num_heads,
                num_kv_heads=SHAPE.num_kv_heads,
                head_dim=SHAPE.head_dim,
                block_size=block_size,
                dtype=DTYPE,
                device=device,
            )
            _check_case(case, f"decode_attention, blocks of {block_size}, contexts {contexts}")


def _check_case(case: PagedCase, what: str) -> None:
    plan = _plan(case.rows.numel(), case.q.device)
    plan.update(case.rows, case.context_lengths)
    paged = (case.k_cache, case.v_cache, case.block_table)
    decode_attention(case.q, *paged, plan, case.out, case.scale)
    lengths = (case.rows, case.context_lengths)
    require_close(
        what,
        case.out,
        lambda out: decode_attention_reference(case.q.double(), *paged, *lengths, out, case.scale),
    )


def _cases(device: torch.device) -> Iterator[BenchCase]:
    heads, kv_heads, head_dim = SHAPE.num_heads, SHAPE.num_kv_heads, SHAPE.head_dim
    for requests, context in _SIZES:
        kv_bytes = 2 * requests * context * kv_heads * head_dim * DTYPE.itemsize
        for block_size in _BLOCK_SIZES:
            ours = partial(_ours, requests, context, block_size, passes_for(kv_bytes), device)
            providers: dict[str, Callable[[], Work]] = {"pcache": ours}
            if block_size == _BLOCK_SIZES[-1]:
                for name, backend in _PEERS.items():
                    peer = partial(_sdpa, requests, context, passes_for(kv_bytes), backend, device)
                    providers[name] = peer
            paged = PagedAttention(requests, 1, context - 1, block_size)
            providers |= fa3_providers(paged, device)
            yield BenchCase(
                f"B={requests} context={context} block={block_size}",
                4 * heads * head_dim * requests * context,
                kv_bytes + 2 * requests * heads * head_dim * DTYPE.itemsize,
                providers,
            )


def _ours(requests: int, context: int, block_size: int, passes: int, device: torch.device) -> Work:
    caches, table = shuffled_cache(requests, context, block_size, passes, device)
    q = normal(requests, SHAPE.num_heads, SHAPE.head_dim, device=device)
    out = torch.empty_like(q)
    plan = _plan(requests, device)
    rows = torch.arange(requests, dtype=torch.int32, device=device)
    plan.update(rows, torch.full_like(rows, context))

    def run() -> None:
        for k_cache, v_cache in caches:
            decode_attention(q, k_cache, v_cache, table, plan, out, SHAPE.head_dim**-0.5)

    return Work(run, passes)


def _sdpa(
    requests: int, context: int, passes: int, backend: SDPBackend, device: torch.device
) -> Work:
    """torch's attention over contiguous K and V of equal lengths."""
    q = normal(requests, SHAPE.num_heads, 1, SHAPE.head_dim, device=device)
    size = (requests, SHAPE.num_kv_heads, context, SHAPE.head_dim)
    caches = [(normal(*size, device=device), normal(*size, device=device)) for _ in range(passes)]

    def run() -> None:
        with sdpa_kernel(backend):
            for k, v in caches:
                scaled_dot_product_attention(q, k, v, enable_gqa=True)

    return Work(run, passes)


BENCHMARK = KernelBenchmark(check=_check, cases=_cases)
