"""A roofline from published shapes: the cost model where no calibrated profile exists.

It is optimistic by construction: peaks are never reached. Besides the peaks it knows one measured
kind of number, a fixed overhead a step for launches and the engine's host work.
"""

from __future__ import annotations

import numpy as np

from pcache.cost import CostModel, StepCost
from pcache.errors import ConfigError
from pcache.shapes import GpuShape, ModelShape

__all__ = [
    "DEFAULT_STEP_OVERHEAD_MS", "check_fit", "kv_capacity_tokens", "kv_fits_tokens", "roofline",
]  # fmt: skip

DEFAULT_STEP_OVERHEAD_MS = 1.0
MAX_STEP_OVERHEAD_MS = 60_000.0
MEMORY_SHARE = 0.9
"""Of a GPU's memory, for weights and KV together; the rest is activations and the runtime's own."""


def roofline(
    model: ModelShape,
    gpu: GpuShape,
    *,
    num_gpus: int = 1,
    step_overhead_ms: float = DEFAULT_STEP_OVERHEAD_MS,
) -> StepCost:
    """The cost of a step with `model` split over `num_gpus` GPUs by tensor parallelism.

    Every layer adds two ring all-reduces of one hidden vector a token, which cost their bytes over
    the link. Raises ConfigError if heads cannot be split, the weights do not fit or the overhead is
    out of range.
    """
    check_fit(model, gpu, num_gpus)
    if not 0 <= step_overhead_ms <= MAX_STEP_OVERHEAD_MS:
        raise ConfigError(
            f"--step-overhead {step_overhead_ms} is not between 0 and {MAX_STEP_OVERHEAD_MS:,.0f} ms"
        )
    reduced_bytes = 4 * model.num_layers * model.hidden_size * model.dtype_bytes
    link_bytes = reduced_bytes * (num_gpus - 1) / num_gpus
    rates = np.array(
        [
            2 * model.linear_params / num_gpus,
            2 * model.head_params / num_gpus,
            4 * model.num_layers * model.num_heads * model.head_dim / num_gpus,
            (model.linear_params + model.head_params) * model.dtype_bytes / num_gpus,
            model.kv_bytes_per_token / min(num_gpus, model.num_kv_heads),
            gpu.flops,
            gpu.memory_bandwidth_bytes,
            link_bytes / gpu.link_bandwidth_bytes * 1e9,
            step_overhead_ms * 1e6,
        ]
    )
    group = f"{num_gpus} x {gpu.name}" if num_gpus > 1 else gpu.name
    return StepCost(CostModel(rates), f"roofline {group} x {model.name}")


def kv_capacity_tokens(model: ModelShape, gpu: GpuShape, num_gpus: int = 1) -> int:
    """Tokens of KV that fit beside the weights in 90 % of the GPUs' memory."""
    return kv_fits_tokens(model, gpu.memory_bytes, num_gpus)


def kv_fits_tokens(model: ModelShape, memory_bytes: int, num_gpus: int = 1) -> int:
    """As `kv_capacity_tokens`, of a GPU with so many bytes."""
    free = memory_bytes * MEMORY_SHARE - model.weight_bytes / num_gpus
    return int(free // (model.kv_bytes_per_token / min(num_gpus, model.num_kv_heads)))


def check_fit(model: ModelShape, gpu: GpuShape, num_gpus: int) -> None:
    """Raise ConfigError if the heads cannot be split or the weights do not fit."""
    if num_gpus < 1 or num_gpus & (num_gpus - 1) or model.num_heads % num_gpus:
        raise ConfigError(
            f"--tp {num_gpus} cannot split the {model.num_heads} heads of {model.name}; use a power "
            "of two that divides them"
        )
    if kv_capacity_tokens(model, gpu, num_gpus) >= 1:
        return
    fits = [
        n
        for n in (2, 4, 8, 16)
        if model.num_heads % n == 0
        and kv_capacity_tokens(model, gpu, n) >= model.max_context_tokens
    ]
    remedy = f"use --tp {fits[0]}" if fits else "use a larger GPU"
    raise ConfigError(
        f"{model.name} does not fit: its weights are {model.weight_bytes / 2**30:.1f} GiB over "
        f"{num_gpus} {gpu.name} with {gpu.memory_bytes * MEMORY_SHARE / 2**30:.1f} GiB usable each; "
        + remedy
    )
