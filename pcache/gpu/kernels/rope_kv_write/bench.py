"""RoPE and KV write: the rate at which a step's queries, keys and values are read and written."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from pcache.gpu.kernels.attention.bench_inputs import (
    DTYPE,
    SHAPE,
    normal,
    passes_for,
    require_close,
)
from pcache.gpu.kernels.bench import BenchCase, KernelBenchmark
from pcache.gpu.kernels.rope_kv_write.kernel import rope_kv_write
from pcache.gpu.kernels.rope_kv_write.reference import rope_kv_write_reference
from pcache.gpu.kernels.timing import Work

__all__ = ["BENCHMARK"]

_TOKENS = (1, 32, 512, 8192)
_BLOCK_SIZE = 16
_COLUMNS = (SHAPE.num_heads + 2 * SHAPE.num_kv_heads) * SHAPE.head_dim


class _Step:
    """One layer's fused projections, and a cache that holds its tokens in scattered slots."""

    def __init__(self, tokens: int, device: torch.device) -> None:
        num_blocks = -(-tokens // _BLOCK_SIZE)
        self.qkv = normal(tokens, _COLUMNS, device=device)
        size = (2, num_blocks, _BLOCK_SIZE, SHAPE.num_kv_heads, SHAPE.head_dim)
        self.cache = normal(*size, device=device)
        self.cos_sin = torch.randn(tokens, SHAPE.head_dim, device=device)
        self.positions = torch.arange(tokens, dtype=torch.int32, device=device)
        self.slots = torch.randperm(num_blocks * _BLOCK_SIZE, device=device)[:tokens]

    def run(self) -> None:
        rope_kv_write(
            self.qkv, self.cos_sin, self.positions, self.slots, self.cache[0], self.cache[1],
            None, None, 1e-5,
        )  # fmt: skip


def _check(device: torch.device) -> None:
    for tokens in _TOKENS:
        step = _Step(tokens, device)
        qkv, cache = step.qkv.clone(), step.cache.clone()
        step.run()
        rope_kv_write_reference(
            qkv, step.cos_sin, step.positions, step.slots, cache[0], cache[1], None, None, 1e-5
        )
        for what, out, expected in (("qkv", step.qkv, qkv), ("cache", step.cache, cache)):
            require_close(f"rope_kv_write {what}, {tokens} tokens", out, partial(_copy, expected))


def _copy(source: torch.Tensor, target: torch.Tensor) -> None:
    target.copy_(source)


def _cases(device: torch.device) -> Iterator[BenchCase]:
    for tokens in _TOKENS:
        num_bytes = 2 * tokens * _COLUMNS * DTYPE.itemsize
        ours = partial(_ours, tokens, passes_for(num_bytes), device)
        yield BenchCase(f"tokens={tokens}", 3 * tokens * _COLUMNS, num_bytes, {"pcache": ours})


def _ours(tokens: int, passes: int, device: torch.device) -> Work:
    steps = [_Step(tokens, device) for _ in range(passes)]

    def run() -> None:
        for step in steps:
            step.run()

    return Work(run, passes)


BENCHMARK = KernelBenchmark(check=_check, cases=_cases)
