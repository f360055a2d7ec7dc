"""Inputs of the attention benchmarks: one layer of Llama-3.1-8B, bf16, shuffled blocks."""

from __future__ import annotations

from collections.abc import Callable

import torch

from pcache.errors import DeviceError
from pcache.gpu.kernels.tolerance import TOLERANCE, row_error
from pcache.shapes import MODELS

__all__ = ["DTYPE", "SHAPE", "normal", "passes_for", "require_close", "shuffled_cache"]

SHAPE = MODELS["llama-3.1-8b"]
DTYPE = torch.bfloat16
_BYTES_BEYOND_ANY_CACHE = 200 << 20


def normal(*size: int, device: torch.device) -> torch.Tensor:
    """A random tensor of DTYPE."""
    return torch.randn(size, dtype=DTYPE, device=device)


def passes_for(bytes_a_pass: float) -> int:
    """Passes of a measurement, over caches of their own: more when each is short."""
    return max(1, min(8, int(_BYTES_BEYOND_ANY_CACHE / bytes_a_pass)))


def shuffled_cache(
    num_requests: int, context: int, block_size: int, passes: int, device: torch.device
) -> tuple[list[tuple[torch.Tensor, torch.Tensor]], torch.Tensor]:
    """K and V caches for each pass, and the block table [num_requests, max_blocks] they share."""
    max_blocks = -(-context // block_size)
    num_blocks = num_requests * max_blocks
    size = (num_blocks, block_size, SHAPE.num_kv_heads, SHAPE.head_dim)
    caches = [(normal(*size, device=device), normal(*size, device=device)) for _ in range(passes)]
    table = torch.randperm(num_blocks, device=device).int().view(num_requests, max_blocks)
    return caches, table


def require_close(what: str, out: torch.Tensor, reference: Callable[[torch.Tensor], None]) -> None:
    """Raise DeviceError unless `out` is what `reference` writes to a tensor like it."""
    expected = torch.full_like(out, float("nan"), dtype=torch.float64)
    reference(expected)
    error, limit = row_error(out, expected), TOLERANCE[out.dtype]
    if not error <= limit:
        raise DeviceError(
            f"{what}: error {error:.2g} is above {limit:.2g}; a wrong kernel is not timed"
        )
