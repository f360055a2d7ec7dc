"""The least time a step can take on a GPU, and what vLLM took on an H100.

    floor = max(FLOPs / rate,  bytes / bandwidth),
    FLOPs = 2 · N · S + 2 · V · d + 4 · L · h · d_h · (S · P + S (S + 1) / 2),
    bytes = linear weights and LM head, and the keys and values of the context

for S new tokens after P cached ones: N linear parameters, V · d of the LM head, L layers of h heads
of d_h. Rate and bandwidth are what large matrix products and copies were measured to reach: 800
TFLOP/s and 3.0 TB/s on an H100, 4.3 TB/s on an H200. For other GPUs they are the data sheet's; NaN
where we have none.
"""

from __future__ import annotations

from pcache.shapes import GpuShape, ModelShape

__all__ = ["VLLM_DECODE_MS", "VLLM_TTFT_MS", "decode_floor_ms", "ttft_floor_ms"]

_MEASURED_CEILINGS = {"h100": (800e12, 3.0e12), "h200": (800e12, 4.3e12)}

VLLM_TTFT_MS = {
    (512, 0): 15.0,
    (2048, 0): 51.6,
    (8192, 0): 218.0,
    (32768, 0): 1196.0,
    (2048, 6144): 66.3,
    (512, 7680): 24.7,
    (128, 8064): 14.5,
    (128, 32640): 30.5,
    (16, 8176): 15.0,
    (32, 4064): 13.4,
}
"""Measured TTFT by (new tokens, cached tokens), one request at a time, median of 5: vLLM 0.25.0 through
its offline API, shapes of Llama-3.1-8B, bf16, H100 80GB."""
VLLM_DECODE_MS = {1: 6.9, 32: 17.9}
"""Measured time a decode step by batch size, at a context of 8,192 tokens."""


def ttft_floor_ms(
    gpu: GpuShape | None, shape: ModelShape, new_tokens: int, cached_tokens: int
) -> float:
    """Floor of computing `new_tokens` after `cached_tokens` and one output token."""
    flops, bandwidth = _ceilings(gpu)
    pairs = new_tokens * cached_tokens + new_tokens * (new_tokens + 1) / 2
    linear_flops = 2 * shape.linear_params * new_tokens + 2 * shape.head_params
    attention_flops = 4 * shape.num_layers * shape.num_heads * shape.head_dim * pairs
    context = new_tokens + cached_tokens
    return 1e3 * max((linear_flops + attention_flops) / flops, _bytes(shape, context) / bandwidth)


def decode_floor_ms(
    gpu: GpuShape | None, shape: ModelShape, batch: int, context_tokens: int
) -> float:
    """Floor of one decode step of `batch` requests; it is bound by bytes."""
    return 1e3 * _bytes(shape, batch * context_tokens) / _ceilings(gpu)[1]


def _ceilings(gpu: GpuShape | None) -> tuple[float, float]:
    if gpu is None:
        return float("nan"), float("nan")
    return _MEASURED_CEILINGS.get(gpu.name, (gpu.flops, gpu.memory_bandwidth_bytes))


def _bytes(shape: ModelShape, context_tokens: int) -> float:
    weights = (shape.linear_params + shape.head_params) * shape.dtype_bytes
    return weights + context_tokens * shape.kv_bytes_per_token
