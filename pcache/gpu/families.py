"""Model families: from a Hugging Face config.json to the shape that the model is built from.

All five are one architecture with switches (`ModelShape`): grouped queries, RoPE with or without
scaling, QKV bias (Qwen2), norms of queries and keys (Qwen3), tied embeddings. SmolLM2 is a Llama.
A sliding window that is shorter than the context caps the context, within which it changes nothing.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from pcache.errors import ConfigError
from pcache.shapes import ModelShape

__all__ = ["FAMILIES", "shape_from_config"]

FAMILIES = ("llama", "mistral", "qwen2", "qwen3")
_ROPE_TYPES = ("default", "llama3", "linear")
_UNSUPPORTED = ("attention_bias", "mlp_bias")


def shape_from_config(config: Mapping[str, Any], source: str) -> ModelShape:
    """The shape that a config.json describes; `source` names it in errors.

    Raises ConfigError for other families, for options that this model does not have, and for
    missing or misshapen fields.
    """
    family = config.get("model_type")
    if family not in FAMILIES:
        raise ConfigError(
            f"{source}: model_type {family!r} is not supported; expected one of "
            f"{', '.join(FAMILIES)} (SmolLM2 is llama)"
        )
    _reject_unsupported(config, source)
    hidden_size = _integer(config, "hidden_size", source)
    num_heads = _integer(config, "num_attention_heads", source)
    num_kv_heads = config.get("num_key_value_heads") or num_heads
    head_dim = config.get("head_dim") or hidden_size // num_heads
    if head_dim & (head_dim - 1) or num_heads % num_kv_heads:
        raise ConfigError(
            f"{source}: {num_heads} heads of {head_dim} over {num_kv_heads} KV heads: head_dim "
            "must be a power of two and the heads a multiple of the KV heads"
        )
    theta, scaling = _rope(config, source)
    return ModelShape(
        name=source,
        family=str(family),
        num_layers=_integer(config, "num_hidden_layers", source),
        hidden_size=hidden_size,
        intermediate_size=_integer(config, "intermediate_size", source),
        num_heads=num_heads,
        num_kv_heads=num_kv_heads,
        head_dim=head_dim,
        vocab_size=_integer(config, "vocab_size", source),
        max_context_tokens=_max_context(config, source),
        tied_embeddings=bool(config.get("tie_word_embeddings", False)),
        qkv_bias=family == "qwen2",
        qk_norm=family == "qwen3",
        rope_theta=theta,
        rope_scaling=scaling,
        rms_norm_eps=float(config.get("rms_norm_eps", 1e-6)),
    )


def _integer(config: Mapping[str, Any], key: str, source: str) -> int:
    value = config.get(key)
    if not isinstance(value, int) or value < 1:
        raise ConfigError(f"{source}: {key} is {value!r}, expected a positive integer")
    return value


def _reject_unsupported(config: Mapping[str, Any], source: str) -> None:
    for key in _UNSUPPORTED:
        if config.get(key):
            raise ConfigError(f"{source}: {key} is not supported")
    activation = config.get("hidden_act", "silu")
    if activation != "silu":
        raise ConfigError(f"{source}: hidden_act {activation!r} is not supported, only 'silu'")


def _max_context(config: Mapping[str, Any], source: str) -> int:
    positions = _integer(config, "max_position_embeddings", source)
    window = config.get("sliding_window")
    if window and config.get("use_sliding_window", True):
        return min(positions, int(window))
    return positions


def _rope(
    config: Mapping[str, Any], source: str
) -> tuple[float, tuple[tuple[str, float | str], ...]]:
    """RoPE's base and scaling, from either the current or the older layout of config.json."""
    rope = dict(config.get("rope_parameters") or config.get("rope_scaling") or {})
    theta = float(rope.pop("rope_theta", None) or config.get("rope_theta") or 10_000.0)
    kind = rope.pop("rope_type", None) or rope.pop("type", None) or "default"
    rope.pop("type", None)
    if kind not in _ROPE_TYPES:
        raise ConfigError(
            f"{source}: rope type {kind!r} is not supported; expected one of "
            f"{', '.join(_ROPE_TYPES)}"
        )
    partial = rope.pop("partial_rotary_factor", None) or config.get("partial_rotary_factor") or 1.0
    if partial != 1.0:
        raise ConfigError(f"{source}: partial_rotary_factor {partial} is not supported, only 1")
    if kind == "default":
        return theta, ()
    numbers = tuple((key, float(value)) for key, value in rope.items() if value is not None)
    return theta, (("rope_type", kind), *numbers)
