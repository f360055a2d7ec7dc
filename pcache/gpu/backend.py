"""The operations that a step is made of besides matrix products, in two forms.

`reference` is plain PyTorch and runs anywhere; `triton` is the project's kernels. Both are the same
functions with the same arguments, described in kernels/<name>/kernel.py, so the model never knows
which it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import torch

from pcache.errors import ConfigError
from pcache.gpu.attention import Attention, TorchAttention, TritonAttention
from pcache.gpu.extra import require
from pcache.shapes import ModelShape

__all__ = ["BACKENDS", "Backend", "backend_named", "make_attention"]

BACKENDS = ("triton", "reference")

Launch = Callable[..., None]


@dataclass(frozen=True, slots=True)
class Backend:
    """One form of every operation."""

    name: str
    rms_norm: Launch
    silu_mul: Launch
    rope_kv_write: Launch
    token_slots: Launch
    table_update: Launch


def backend_named(name: str) -> Backend:
    """The backend called `name`. Raises ConfigError if unknown, DeviceError without Triton."""
    if name == "reference":
        return _reference()
    if name == "triton":
        require("triton", "the GPU engine")
        return _triton()
    raise ConfigError(f"unknown kernel backend {name!r}; known: {', '.join(BACKENDS)}")


def make_attention(
    backend: Backend,
    shape: ModelShape,
    block_table: torch.Tensor,
    *,
    max_decodes: int,
    block_size: int,
    dtype: torch.dtype,
) -> Attention:
    """Attention over one block table."""
    if backend.name == "reference":
        return TorchAttention(shape, block_table)
    return TritonAttention(
        shape, block_table, max_decodes=max_decodes, block_size=block_size, dtype=dtype
    )


def _reference() -> Backend:
    from pcache.gpu.kernels.rms_norm.reference import rms_norm_reference
    from pcache.gpu.kernels.rope_kv_write.reference import rope_kv_write_reference
    from pcache.gpu.kernels.silu_mul.reference import silu_mul_reference
    from pcache.gpu.kernels.table_update.reference import table_update_reference
    from pcache.gpu.kernels.token_slots.reference import token_slots_reference

    return Backend(
        "reference",
        rms_norm_reference,
        silu_mul_reference,
        rope_kv_write_reference,
        token_slots_reference,
        table_update_reference,
    )


def _triton() -> Backend:
    from pcache.gpu.kernels.rms_norm.kernel import rms_norm
    from pcache.gpu.kernels.rope_kv_write.kernel import rope_kv_write
    from pcache.gpu.kernels.silu_mul.kernel import silu_mul
    from pcache.gpu.kernels.table_update.kernel import table_update
    from pcache.gpu.kernels.token_slots.kernel import token_slots

    return Backend("triton", rms_norm, silu_mul, rope_kv_write, token_slots, table_update)
