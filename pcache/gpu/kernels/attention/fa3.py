"""FlashAttention-3 as a peer of the attention kernels, where somebody brings its library.

The environment variable PCACHE_FA3_LIBRARY names `_vllm_fa3_C.abi3.so`, which vLLM's wheel carries
(vLLM 0.25.0 fits torch 2.11 and CUDA 13). Only benchmarks load it.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pcache.errors import ConfigError
from pcache.gpu.kernels.attention.bench_inputs import SHAPE, normal, passes_for, shuffled_cache
from pcache.gpu.kernels.timing import Work

__all__ = ["FA3_BLOCK_SIZES", "PagedAttention", "fa3_providers"]

FA3_BLOCK_SIZES = (16, 64)
"""Block sizes that its users run it with."""


@dataclass(frozen=True, slots=True)
class PagedAttention:
    """A benchmark case: `requests` equal requests of `new` tokens after `cached` ones."""

    requests: int
    new: int
    cached: int
    block_size: int

    @property
    def context(self) -> int:
        """Keys of a request."""
        return self.new + self.cached

    @property
    def kv_bytes(self) -> int:
        """Bytes of keys and values that one pass reads."""
        return 4 * self.requests * self.context * SHAPE.num_kv_heads * SHAPE.head_dim


def fa3_providers(case: PagedAttention, device: torch.device) -> dict[str, Callable[[], Work]]:
    """The provider `fa3`, or nothing where its library was not brought or the block size is odd."""
    if case.block_size not in FA3_BLOCK_SIZES or not _load():
        return {}
    return {"fa3": functools.partial(_work, case, device)}


@functools.cache
def _load() -> bool:
    path = os.environ.get("PCACHE_FA3_LIBRARY")
    if not path:
        return False
    try:
        torch.ops.load_library(path)
    except OSError as error:
        raise ConfigError(f"PCACHE_FA3_LIBRARY={path} cannot be loaded: {error}") from error
    return True


def _work(case: PagedAttention, device: torch.device) -> Work:
    passes = passes_for(case.kv_bytes)
    caches, table = shuffled_cache(case.requests, case.context, case.block_size, passes, device)
    q = normal(case.requests * case.new, SHAPE.num_heads, SHAPE.head_dim, device=device)
    out = torch.empty_like(q)
    lengths = torch.full((case.requests,), case.context, dtype=torch.int32, device=device)
    q_starts = torch.arange(case.requests + 1, dtype=torch.int32, device=device) * case.new
    metadata = _schedule(case, q, lengths, q_starts)

    def run() -> None:
        for k_cache, v_cache in caches:
            _forward(case, q, (k_cache, v_cache, table, lengths, q_starts), metadata, out)

    return Work(run, passes)


def _schedule(
    case: PagedAttention, q: torch.Tensor, lengths: torch.Tensor, q_starts: torch.Tensor
) -> torch.Tensor:
    """Its own split of the work, made once a step as serving engines do."""
    nothing = None
    metadata: torch.Tensor = torch.ops._vllm_fa3_C.get_scheduler_metadata(
        case.requests, case.new, case.context, SHAPE.num_heads, SHAPE.num_kv_heads,
        SHAPE.head_dim, SHAPE.head_dim, q.dtype, lengths, q_starts, nothing, nothing, nothing,
        nothing, case.block_size, 0, True, -1, -1, False, 0, nothing, 0,
    )  # fmt: skip
    return metadata


def _forward(
    case: PagedAttention,
    q: torch.Tensor,
    paged: Sequence[torch.Tensor],
    metadata: torch.Tensor,
    out: torch.Tensor,
) -> None:
    """One causal pass; positional, as the library's operator has no names for its arguments."""
    k_cache, v_cache, table, lengths, q_starts = paged
    n = None
    torch.ops._vllm_fa3_C.fwd(
        q, k_cache, v_cache, n, n, n, out, q_starts, n, n, n, lengths, case.new, case.context,
        table, n, n, n, n, n, n, n, n, SHAPE.head_dim**-0.5, True, -1, -1, 0.0, True, metadata,
        0, n, 0, n, 1, 0, n,
    )  # fmt: skip
