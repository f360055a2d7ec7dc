"""Published shapes of models and GPUs, looked up by name on the command line.

Model rows are the fields of each model's public config.json. GPU rows are the vendor's data sheet:
dense bf16 tensor-core rate, memory bandwidth and capacity. They are what a roofline is made of;
they are peaks, not measurements.
"""

from __future__ import annotations

from dataclasses import dataclass

from pcache.errors import ConfigError

__all__ = ["GPUS", "MODELS", "GpuShape", "ModelShape", "gpu_shape", "model_shape"]


@dataclass(frozen=True, slots=True)
class ModelShape:
    """A decoder-only transformer. Sizes in elements; `dtype_bytes` 2 for bf16 weights and KV."""

    name: str
    family: str
    num_layers: int
    hidden_size: int
    intermediate_size: int
    num_heads: int
    num_kv_heads: int
    head_dim: int
    vocab_size: int
    max_context_tokens: int
    tied_embeddings: bool = False
    qkv_bias: bool = False
    qk_norm: bool = False
    rope_theta: float = 10_000.0
    rope_scaling: tuple[tuple[str, float | str], ...] = ()
    rms_norm_eps: float = 1e-5
    sliding_window: int = 0
    dtype_bytes: int = 2

    @property
    def linear_params(self) -> int:
        """Weights of all linear layers that every token passes through (without the LM head)."""
        d = self.hidden_size
        attention = d * self.head_dim * (2 * self.num_heads + 2 * self.num_kv_heads)
        return self.num_layers * (attention + 3 * d * self.intermediate_size)

    @property
    def head_params(self) -> int:
        """Weights of the LM head, needed once a sampled token."""
        return self.vocab_size * self.hidden_size

    @property
    def weight_bytes(self) -> int:
        """Bytes of all weights in GPU memory, embeddings included."""
        embeddings = self.head_params * (1 if self.tied_embeddings else 2)
        return (self.linear_params + embeddings) * self.dtype_bytes

    @property
    def kv_bytes_per_token(self) -> int:
        """Bytes of K and V that one token occupies over all layers."""
        return 2 * self.num_layers * self.num_kv_heads * self.head_dim * self.dtype_bytes


@dataclass(frozen=True, slots=True)
class GpuShape:
    """One GPU. Rates per second, dense (no sparsity)."""

    name: str
    flops: float
    memory_bandwidth_bytes: float
    memory_bytes: int
    """The GB of its name as GiB: drivers report about 1 % less."""
    link_bandwidth_bytes: float
    """Bytes a second to another GPU of the same host, one direction (NVLink or PCIe)."""


_LLAMA3_SCALING: tuple[tuple[str, float | str], ...] = (
    ("rope_type", "llama3"),
    ("factor", 8.0),
    ("low_freq_factor", 1.0),
    ("high_freq_factor", 4.0),
    ("original_max_position_embeddings", 8192),
)
_LLAMA32_SCALING = tuple((k, 32.0) if k == "factor" else (k, v) for k, v in _LLAMA3_SCALING)

MODELS: dict[str, ModelShape] = {
    shape.name: shape
    for shape in (
        ModelShape(
            "llama-3.1-8b",
            "llama",
            32,
            4096,
            14336,
            32,
            8,
            128,
            128_256,
            131_072,
            rope_theta=500_000.0,
            rope_scaling=_LLAMA3_SCALING,
        ),
        ModelShape(
            "llama-3.1-70b",
            "llama",
            80,
            8192,
            28672,
            64,
            8,
            128,
            128_256,
            131_072,
            rope_theta=500_000.0,
            rope_scaling=_LLAMA3_SCALING,
        ),
        ModelShape(
            "llama-3.2-1b",
            "llama",
            16,
            2048,
            8192,
            32,
            8,
            64,
            128_256,
            131_072,
            tied_embeddings=True,
            rope_theta=500_000.0,
            rope_scaling=_LLAMA32_SCALING,
        ),
        ModelShape(
            "qwen2.5-0.5b",
            "qwen2",
            24,
            896,
            4864,
            14,
            2,
            64,
            151_936,
            32_768,
            tied_embeddings=True,
            qkv_bias=True,
            rope_theta=1_000_000.0,
            rms_norm_eps=1e-6,
        ),
        ModelShape(
            "qwen2.5-7b",
            "qwen2",
            28,
            3584,
            18944,
            28,
            4,
            128,
            152_064,
            131_072,
            qkv_bias=True,
            rope_theta=1_000_000.0,
            rms_norm_eps=1e-6,
        ),
        ModelShape(
            "qwen3-8b",
            "qwen3",
            36,
            4096,
            12288,
            32,
            8,
            128,
            151_936,
            40_960,
            qk_norm=True,
            rope_theta=1_000_000.0,
            rms_norm_eps=1e-6,
        ),
        ModelShape(
            "smollm2-135m",
            "llama",
            30,
            576,
            1536,
            9,
            3,
            64,
            49_152,
            8_192,
            tied_embeddings=True,
            rope_theta=100_000.0,
        ),
        # Nobody's model: small enough to watch the engine work on a CPU.
        ModelShape("tiny", "llama", 2, 128, 256, 2, 1, 64, 512, 131_072, tied_embeddings=True),
    )
}

_GIB = 2**30
GPUS: dict[str, GpuShape] = {
    shape.name: shape
    for shape in (
        GpuShape("h100", 989e12, 3.35e12, 80 * _GIB, 450e9),
        GpuShape("h200", 989e12, 4.8e12, 141 * _GIB, 450e9),
        GpuShape("a100", 312e12, 2.039e12, 80 * _GIB, 300e9),
        GpuShape("l40s", 362e12, 864e9, 48 * _GIB, 32e9),
        GpuShape("rtx4090", 165e12, 1.008e12, 24 * _GIB, 32e9),
    )
}


def model_shape(name: str) -> ModelShape:
    """The shape called `name`. Raises ConfigError naming the known ones."""
    if name.lower() not in MODELS:
        raise ConfigError(f"unknown model {name!r}; known: {', '.join(MODELS)}")
    return MODELS[name.lower()]


def gpu_shape(name: str) -> GpuShape:
    """The GPU called `name`. Raises ConfigError naming the known ones."""
    if name.lower() not in GPUS:
        raise ConfigError(f"unknown GPU {name!r}; known: {', '.join(GPUS)}")
    return GPUS[name.lower()]
