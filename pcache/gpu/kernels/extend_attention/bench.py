"""Extend attention: causal prefill, prefill after a cached prefix, and few tokens after a long one."""

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
from pcache.gpu.kernels.extend_attention.kernel import ExtendPlan, extend_attention
from pcache.gpu.kernels.extend_attention.reference import extend_attention_reference
from pcache.gpu.kernels.timing import Work

__all__ = ["BENCHMARK"]

_SIZES = (  # new tokens, cached prefix tokens
    *((tokens, 0) for tokens in (1024, 2048, 4096, 8192, 16384)),
    *((1024, 7168), (2048, 6144), (4096, 12288)),
    *((512, 7680), (128, 8064), (128, 32640), (32, 4064), (16, 8176)),
)
_BLOCK_SIZES = (1, 16, 64)
_PEERS = {"cudnn": SDPBackend.CUDNN_ATTENTION, "flash-2": SDPBackend.FLASH_ATTENTION}
_CHECKS = (  # query lengths and prefixes that take each launch configuration timed below
    ((700, 1, 400), (0, 65, 1000)),
    ((100, 3), (2000, 31)),
    ((16,), (3000,)),
)


def _plan(block_size: int, max_requests: int, tokens: int, device: torch.device) -> ExtendPlan:
    return ExtendPlan(
        max_requests=max_requests,
        max_tokens=tokens,
        num_heads=SHAPE.num_heads,
        num_kv_heads=SHAPE.num_kv_heads,
        head_dim=SHAPE.head_dim,
        block_size=block_size,
        dtype=DTYPE,
        device=device,
    )


def _check(device: torch.device) -> None:
    for block_size in _BLOCK_SIZES:
        for q_lengths, prefix_lengths in _CHECKS:
            case = paged_case(
                q_lengths,
                prefix_lengths,
                num_heads=SHAPE.num_heads,
                num_kv_heads=SHAPE.num_kv_heads,
                head_dim=SHAPE.head_dim,
                block_size=block_size,
                dtype=DTYPE,
                device=device,
            )
            _check_case(case, block_size)


def _check_case(case: PagedCase, block_size: int) -> None:
    plan = _plan(block_size, case.rows.numel(), case.q.shape[0], case.q.device)
    plan.update(case.rows, case.q_starts, case.prefix_lengths)
    paged = (case.k_cache, case.v_cache, case.block_table)
    extend_attention(case.q, *paged, plan, case.out, case.scale)
    lengths = (case.rows, case.q_starts, case.prefix_lengths)
    require_close(
        f"extend_attention, blocks of {block_size}, prefixes {case.prefix_lengths.tolist()}",
        case.out,
        lambda out: extend_attention_reference(case.q.double(), *paged, *lengths, out, case.scale),
    )


def _cases(device: torch.device) -> Iterator[BenchCase]:
    heads, kv_heads, head_dim = SHAPE.num_heads, SHAPE.num_kv_heads, SHAPE.head_dim
    for tokens, prefix in _SIZES:
        kv_bytes = 2 * (prefix + tokens) * kv_heads * head_dim * DTYPE.itemsize
        for block_size in _BLOCK_SIZES:
            ours = partial(_ours, tokens, prefix, block_size, passes_for(kv_bytes), device)
            providers: dict[str, Callable[[], Work]] = {"pcache": ours}
            if prefix == 0 and block_size == _BLOCK_SIZES[-1]:
                for name, backend in _PEERS.items():
                    providers[name] = partial(_sdpa, tokens, passes_for(kv_bytes), backend, device)
            providers |= fa3_providers(PagedAttention(1, tokens, prefix, block_size), device)
            yield BenchCase(
                f"S={tokens} P={prefix} block={block_size}",
                4 * heads * head_dim * (tokens * prefix + tokens * (tokens + 1) / 2),
                kv_bytes + 2 * tokens * heads * head_dim * DTYPE.itemsize,
                providers,
            )


def _ours(tokens: int, prefix: int, block_size: int, passes: int, device: torch.device) -> Work:
    caches, table = shuffled_cache(1, tokens + prefix, block_size, passes, device)
    q = normal(tokens, SHAPE.num_heads, SHAPE.head_dim, device=device)
    out = torch.empty_like(q)
    plan = _plan(block_size, 1, tokens, device)
    rows, prefixes, q_starts = (
        torch.tensor(values, dtype=torch.int32, device=device)
        for values in ([0], [prefix], [0, tokens])
    )
    plan.update(rows, q_starts, prefixes)

    def run() -> None:
        for k_cache, v_cache in caches:
            extend_attention(q, k_cache, v_cache, table, plan, out, SHAPE.head_dim**-0.5)

    return Work(run, passes)


def _sdpa(tokens: int, passes: int, backend: SDPBackend, device: torch.device) -> Work:
    """torch's attention over contiguous K and V, without a cache."""
    q = normal(1, SHAPE.num_heads, tokens, SHAPE.head_dim, device=device)
    size = (1, SHAPE.num_kv_heads, tokens, SHAPE.head_dim)
    caches = [(normal(*size, device=device), normal(*size, device=device)) for _ in range(passes)]

    def run() -> None:
        with sdpa_kernel(backend):
            for k, v in caches:
                scaled_dot_product_attention(q, k, v, is_causal=True, enable_gqa=True)

    return Work(run, passes)


BENCHMARK = KernelBenchmark(check=_check, cases=_cases)
