"""Gate and up projections with activation: the rate at which weights are read."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import torch

from pcache.errors import ConfigError
from pcache.gpu.kernels.attention.bench_inputs import DTYPE, SHAPE, normal, require_close
from pcache.gpu.kernels.bench import BenchCase, KernelBenchmark
from pcache.gpu.kernels.gated_linear.kernel import gated_linear, gated_shape
from pcache.gpu.kernels.gated_linear.reference import gated_linear_reference
from pcache.gpu.kernels.silu_mul.kernel import silu_mul
from pcache.gpu.kernels.timing import Work

__all__ = ["BENCHMARK"]

_ROWS = (1, 16, 32, 64, 72, 104, 128)
_PASSES = 4
_N, _K = SHAPE.intermediate_size, SHAPE.hidden_size


def _weight(device: torch.device) -> torch.Tensor:
    return normal(2 * _N, _K, device=device).mul_(_K**-0.5)


def _multiply(x: torch.Tensor, weight: torch.Tensor, out: torch.Tensor) -> None:
    shape = gated_shape(x.shape[0], _N, _K) or gated_shape(max(_ROWS), _N, _K)
    if shape is None:
        raise ConfigError(f"gated_linear has no launch for {tuple(x.shape)}")
    gated_linear(x, weight, out, shape)


def _check(device: torch.device) -> None:
    weight = _weight(device)
    for rows in _ROWS:
        x, out = normal(rows, _K, device=device), normal(rows, _N, device=device)
        _multiply(x, weight, out)
        reference = partial(gated_linear_reference, x, weight)
        require_close(f"gated_linear, {rows} rows", out, reference)


def _cases(device: torch.device) -> Iterator[BenchCase]:
    for rows in _ROWS:
        num_bytes = (2 * _N * _K + rows * (_K + _N)) * DTYPE.itemsize
        used = gated_shape(rows, _N, _K) is not None
        providers = {
            "pcache" if used else "pcache, unused": partial(_ours, rows, device),
            "cublas + silu_mul": partial(_cublas, rows, device),
        }
        yield BenchCase(f"rows={rows}", 4 * rows * _N * _K, num_bytes, providers)


def _ours(rows: int, device: torch.device) -> Work:
    weights = [_weight(device) for _ in range(_PASSES)]
    x, out = normal(rows, _K, device=device), normal(rows, _N, device=device)

    def run() -> None:
        for weight in weights:
            _multiply(x, weight, out)

    return Work(run, _PASSES)


def _cublas(rows: int, device: torch.device) -> Work:
    weights = [_weight(device) for _ in range(_PASSES)]
    x, out = normal(rows, _K, device=device), normal(rows, _N, device=device)

    def run() -> None:
        for weight in weights:
            silu_mul(torch.nn.functional.linear(x, weight), out)

    return Work(run, _PASSES)


BENCHMARK = KernelBenchmark(check=_check, cases=_cases)
