"""RMS norm with residual: the rate at which rows are read and written."""

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
from pcache.gpu.kernels.rms_norm.kernel import rms_norm
from pcache.gpu.kernels.rms_norm.reference import rms_norm_reference
from pcache.gpu.kernels.timing import Work

__all__ = ["BENCHMARK"]

_TOKENS = (1, 32, 512, 8192)


def _check(device: torch.device) -> None:
    weight = normal(SHAPE.hidden_size, device=device)
    for tokens in _TOKENS:
        [(x, residual, out)] = _rows(tokens, 1, device)
        before = residual.clone()
        rms_norm(x, residual, weight, 1e-5, out)
        reference = partial(rms_norm_reference, x, before, weight, 1e-5)
        require_close(f"rms_norm, {tokens} tokens", out, reference)


def _cases(device: torch.device) -> Iterator[BenchCase]:
    for tokens in _TOKENS:
        num_bytes = 4 * tokens * SHAPE.hidden_size * DTYPE.itemsize
        passes = passes_for(num_bytes)
        providers = {
            "pcache": partial(_ours, tokens, passes, device),
            "torch": partial(_torch, tokens, passes, device),
        }
        yield BenchCase(f"tokens={tokens}", 4 * tokens * SHAPE.hidden_size, num_bytes, providers)


def _rows(tokens: int, passes: int, device: torch.device) -> list[list[torch.Tensor]]:
    return [
        [normal(tokens, SHAPE.hidden_size, device=device) for _ in range(3)] for _ in range(passes)
    ]


def _ours(tokens: int, passes: int, device: torch.device) -> Work:
    weight, rows = normal(SHAPE.hidden_size, device=device), _rows(tokens, passes, device)

    def run() -> None:
        for x, residual, out in rows:
            rms_norm(x, residual, weight, 1e-5, out)

    return Work(run, passes)


def _torch(tokens: int, passes: int, device: torch.device) -> Work:
    """torch's own norm after torch's own addition."""
    weight, rows = normal(SHAPE.hidden_size, device=device), _rows(tokens, passes, device)

    def run() -> None:
        for x, residual, _ in rows:
            residual += x
            torch.nn.functional.rms_norm(residual, weight.shape, weight, 1e-5)

    return Work(run, passes)


BENCHMARK = KernelBenchmark(check=_check, cases=_cases)
