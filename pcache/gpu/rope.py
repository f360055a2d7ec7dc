"""Rotary position embedding: the table of cosines and sines, with Llama-3 and linear scaling.

Pair i of a head turns by position · theta^(-2i / head_dim). `linear` divides every frequency by the
factor. `llama3` divides those whose wavelength exceeds original_context / low_freq_factor, keeps
those below original_context / high_freq_factor, and blends in between (Llama 3.1's release).
"""

from __future__ import annotations

import math

import torch

from pcache.errors import ConfigError
from pcache.shapes import ModelShape

__all__ = ["cos_sin_table", "inverse_frequencies"]


def inverse_frequencies(shape: ModelShape) -> torch.Tensor:
    """Angle a position of each rotated pair, fp32 [head_dim / 2]."""
    pairs = torch.arange(0, shape.head_dim, 2, dtype=torch.int64).float()
    frequencies = 1.0 / (shape.rope_theta ** (pairs / shape.head_dim))
    scaling = dict(shape.rope_scaling)
    kind = scaling.get("rope_type", "default")
    if kind == "default":
        return frequencies
    if kind == "linear":
        return frequencies / _number(scaling, "factor")
    if kind == "llama3":
        return _llama3(frequencies, scaling)
    raise ConfigError(f"{shape.name}: rope type {kind!r} is not supported")


def cos_sin_table(shape: ModelShape, num_positions: int, device: torch.device) -> torch.Tensor:
    """Cosines, then sines, of every position's pairs: fp32 [num_positions, head_dim]."""
    frequencies = inverse_frequencies(shape).to(device)
    positions = torch.arange(num_positions, device=device, dtype=torch.float32)
    angles = positions[:, None] * frequencies[None, :]
    return torch.cat((angles.cos(), angles.sin()), dim=-1)


def _llama3(frequencies: torch.Tensor, scaling: dict[str, float | str]) -> torch.Tensor:
    factor = _number(scaling, "factor")
    low, high = _number(scaling, "low_freq_factor"), _number(scaling, "high_freq_factor")
    original = _number(scaling, "original_max_position_embeddings")
    wavelengths = 2 * math.pi / frequencies
    blend = ((original / wavelengths - low) / (high - low)).clamp(0.0, 1.0)
    return (1 - blend) * frequencies / factor + blend * frequencies


def _number(scaling: dict[str, float | str], key: str) -> float:
    if key not in scaling:
        raise ConfigError(f"rope scaling {scaling.get('rope_type')!r} lacks {key}")
    return float(scaling[key])
