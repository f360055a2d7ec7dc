"""SiLU × up: the rate at which columns are read and written."""

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
from pcache.gpu.kernels.silu_mul.kernel import silu_mul
from pcache.gpu.kernels.silu_mul.reference import silu_mul_reference
from pcache.gpu.kernels.timing import Work

__all__ = ["BENCHMARK"]

_TOKENS = (1, 32, 512, 8192)


def _inputs(tokens: int, device: torch.device) -> tuple[torch.Tensor, torch.Tensor]:
    gate_up = normal(tokens, 2 * SHAPE.intermediate_size, device=device)
    return gate_up, normal(tokens, SHAPE.intermediate_size, device=device)


def _check(device: torch.device) -> None:
    for tokens in _TOKENS:
        gate_up, out = _inputs(tokens, device)
        silu_mul(gate_up, out)
        require_close(f"silu_mul, {tokens} tokens", out, partial(silu_mul_reference, gate_up))


def _cases(device: torch.device) -> Iterator[BenchCase]:
    for tokens in _TOKENS:
        elements = tokens * SHAPE.intermediate_size
        num_bytes = 3 * elements * DTYPE.itemsize
        passes = passes_for(num_bytes)
        providers = {
            "pcache": partial(_ours, tokens, passes, device),
            "torch": partial(_torch, tokens, passes, device),
        }
        yield BenchCase(f"tokens={tokens}", 4 * elements, num_bytes, providers)


def _ours(tokens: int, passes: int, device: torch.device) -> Work:
    inputs = [_inputs(tokens, device) for _ in range(passes)]

    def run() -> None:
        for gate_up, out in inputs:
            silu_mul(gate_up, out)

    return Work(run, passes)


def _torch(tokens: int, passes: int, device: torch.device) -> Work:
    """torch's two elementwise kernels."""
    inputs = [_inputs(tokens, device)[0] for _ in range(passes)]

    def run() -> None:
        for gate_up in inputs:
            gate, up = gate_up.chunk(2, dim=-1)
            torch.nn.functional.silu(gate) * up

    return Work(run, passes)


BENCHMARK = KernelBenchmark(check=_check, cases=_cases)
