"""A model's weights as the forward pass wants them: queries, keys and values fused, gate and up fused.

From a Hugging Face directory, a GGUF file, or random by name. Weights go to the device one tensor
at a time, in the requested dtype, so no second copy of the model is ever held.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import torch

from pcache.errors import ConfigError
from pcache.gpu.weight_sources import WeightSource
from pcache.shapes import ModelShape

__all__ = ["LayerWeights", "ModelWeights", "load_weights", "random_weights"]


@dataclass(frozen=True, slots=True)
class LayerWeights:
    """One decoder layer, [out, in] as torch's linear wants; sizes as in `ModelShape`."""

    input_norm: torch.Tensor
    """[hidden]"""
    qkv: torch.Tensor
    """[(num_heads + 2 · num_kv_heads) · head_dim, hidden]"""
    qkv_bias: torch.Tensor | None
    q_norm: torch.Tensor | None
    """[head_dim]"""
    k_norm: torch.Tensor | None
    output: torch.Tensor
    """[hidden, num_heads · head_dim]"""
    feed_forward_norm: torch.Tensor
    """[hidden]"""
    gate_up: torch.Tensor
    """[2 · intermediate, hidden]"""
    down: torch.Tensor
    """[hidden, intermediate]"""


@dataclass(frozen=True, slots=True)
class ModelWeights:
    """All weights. With tied embeddings, `head` is `embedding`."""

    embedding: torch.Tensor
    """[vocab, hidden]"""
    layers: tuple[LayerWeights, ...]
    norm: torch.Tensor
    """[hidden]"""
    head: torch.Tensor
    """[vocab, hidden]"""


Rows = Sequence[tuple[str, int]]
"""Names of tensors stacked along their first axis, with the rows of each."""
Make = Callable[[Rows, int | None], torch.Tensor]
"""Builds one fused tensor; the second argument is its number of columns, None for a vector."""


def load_weights(
    shape: ModelShape, source: WeightSource, dtype: torch.dtype, device: torch.device
) -> ModelWeights:
    """Fuse a source's tensors. Raises ConfigError naming a tensor that is missing or misshapen."""

    def make(parts: Rows, columns: int | None) -> torch.Tensor:
        trailing = () if columns is None else (columns,)
        fused = torch.empty(sum(rows for _, rows in parts), *trailing, dtype=dtype, device=device)
        first = 0
        for name, rows in parts:
            tensor = source.tensor(name)
            if tensor.shape != (rows, *trailing):
                raise ConfigError(
                    f"{source.name}: {name} has shape {tuple(tensor.shape)}, expected "
                    f"{(rows, *trailing)}"
                )
            fused[first : first + rows].copy_(tensor)
            first += rows
        return fused

    return _assemble(shape, make)


def random_weights(
    shape: ModelShape, seed: int, dtype: torch.dtype, device: torch.device
) -> ModelWeights:
    """Seeded weights whose activations stay near unit scale at any depth and width.

    Linear weights have standard deviation 1 / sqrt(columns), so a normed input gives outputs of unit
    variance; norms weigh 1; biases and embeddings are small. Equal seeds give equal weights on the
    same kind of device.
    """
    generator = torch.Generator(device).manual_seed(seed)

    def make(parts: Rows, columns: int | None) -> torch.Tensor:
        rows = sum(rows for _, rows in parts)
        if columns is None:
            vector = torch.ones(rows, dtype=dtype, device=device)
            if parts[0][0].endswith("bias"):
                vector.normal_(0.0, 0.02, generator=generator)
            return vector
        matrix = torch.empty(rows, columns, dtype=dtype, device=device)
        return matrix.normal_(0.0, columns**-0.5, generator=generator)

    return _assemble(shape, make)


def _assemble(shape: ModelShape, make: Make) -> ModelWeights:
    """The one place that knows tensor names and how they are fused."""
    embedding = make([("model.embed_tokens.weight", shape.vocab_size)], shape.hidden_size)
    layers = tuple(_layer(shape, make, f"model.layers.{i}.") for i in range(shape.num_layers))
    norm = make([("model.norm.weight", shape.hidden_size)], None)
    head = embedding
    if not shape.tied_embeddings:
        head = make([("lm_head.weight", shape.vocab_size)], shape.hidden_size)
    return ModelWeights(embedding, layers, norm, head)


def _layer(shape: ModelShape, make: Make, prefix: str) -> LayerWeights:
    q_rows, kv_rows = shape.num_heads * shape.head_dim, shape.num_kv_heads * shape.head_dim
    hidden, wide = shape.hidden_size, shape.intermediate_size
    attention, feed_forward = f"{prefix}self_attn.", f"{prefix}mlp."

    def qkv(kind: str) -> Rows:
        sizes = (("q", q_rows), ("k", kv_rows), ("v", kv_rows))
        return [(f"{attention}{name}_proj.{kind}", rows) for name, rows in sizes]

    return LayerWeights(
        input_norm=make([(f"{prefix}input_layernorm.weight", hidden)], None),
        qkv=make(qkv("weight"), hidden),
        qkv_bias=make(qkv("bias"), None) if shape.qkv_bias else None,
        q_norm=make([(f"{attention}q_norm.weight", shape.head_dim)], None)
        if shape.qk_norm
        else None,
        k_norm=make([(f"{attention}k_norm.weight", shape.head_dim)], None)
        if shape.qk_norm
        else None,
        output=make([(f"{attention}o_proj.weight", hidden)], q_rows),
        feed_forward_norm=make([(f"{prefix}post_attention_layernorm.weight", hidden)], None),
        gate_up=make(
            [(f"{feed_forward}gate_proj.weight", wide), (f"{feed_forward}up_proj.weight", wide)],
            hidden,
        ),
        down=make([(f"{feed_forward}down_proj.weight", hidden)], wide),
    )
