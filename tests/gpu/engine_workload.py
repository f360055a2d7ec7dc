"""A workload with heavy sharing, a model small enough for it, and the logits without any cache.

The expected logits come from a forward pass written out here in float64, on whole sequences at once,
which shares no code with the engine.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
import torch
from small_traces import small_trace
from torch.nn.functional import silu

from pcache.gpu.backend import backend_named
from pcache.gpu.model import Model
from pcache.gpu.weights import LayerWeights, ModelWeights, random_weights
from pcache.shapes import ModelShape
from pcache.types import Trace

SMALL = ModelShape("small", "llama", 2, 32, 48, 4, 2, 16, 97, 512)
LARGER = ModelShape("larger", "qwen3", 4, 512, 768, 8, 2, 64, 499, 4096, qk_norm=True)


def shared_workload(
    num_requests: int, seed: int = 1, scale: int = 1, vocab_size: int = 97
) -> Trace:
    """Conversations with known and unknown answers, system prompts in common, prompts repeated word
    for word, two tenants, arrivals in bursts of the same instant. Lengths grow with `scale`, outputs
    up to threefold."""
    rng = np.random.default_rng(seed)

    def words(most: int) -> list[int]:
        return rng.integers(vocab_size, size=int(rng.integers(1, most + 1))).tolist()

    stretch = min(scale, 3)
    systems = [rng.integers(vocab_size, size=length * scale).tolist() for length in (16, 23, 32, 3)]
    prompts: list[list[int]] = []
    outputs: list[int | list[int]] = []
    salts: list[int] = []
    for number in range(num_requests):
        kind = rng.random()
        earlier = int(rng.integers(max(0, number - 60), number)) if number else 0
        if number and kind < 0.15:
            prompt, salt = list(prompts[earlier]), salts[earlier]
        elif number and kind < 0.55:
            answer = outputs[earlier]
            heard = answer if isinstance(answer, list) else words(6 * scale)
            prompt, salt = prompts[earlier] + heard + words(9 * scale), salts[earlier]
        else:
            prompt, salt = systems[rng.integers(4)] + words(20 * scale), int(rng.random() < 0.2)
        prompts.append(prompt[: 80 * scale])
        long = int(rng.integers(1, 16 * stretch))
        known = words(12 * stretch)
        outputs.append(known if rng.random() < 0.6 else long if rng.random() < 0.8 else 1)
        salts.append(salt)
    arrivals = np.sort(rng.integers(num_requests // 8, size=num_requests)) * 2_000_000
    return small_trace(prompts, outputs, arrival_ns=arrivals.tolist(), salt=salts)


@dataclass(frozen=True)
class Setup:
    """A model and the numbers it is made of."""

    model: Model
    weights: ModelWeights


def build_model(shape: ModelShape, device: torch.device, kernels: str) -> Setup:
    """Seeded random weights in fp32."""
    weights = random_weights(shape, 5, torch.float32, device)
    return Setup(Model(shape, weights, backend_named(kernels), shape.max_context_tokens), weights)


def plain_logits(
    setup: Setup, sequences: list[tuple[tuple[int, ...], int]]
) -> list[npt.NDArray[np.float64]]:
    """Logits [tokens - first, vocab] of each sequence's positions from a first one on."""
    order = sorted(range(len(sequences)), key=lambda at: len(sequences[at][0]))
    logits: list[npt.NDArray[np.float64]] = [np.empty((0, 0))] * len(sequences)
    for start in range(0, len(order), 64):
        batch = order[start : start + 64]
        longest = len(sequences[batch[-1]][0])
        ids = torch.tensor([[*sequences[at][0], *[0] * longest][:longest] for at in batch])
        computed = _forward(setup, ids.to(setup.model.device)).cpu().numpy()
        for at, rows in zip(batch, computed, strict=True):
            tokens, first = sequences[at]
            logits[at] = rows[first : len(tokens)].copy()
    return logits


def _forward(setup: Setup, ids: torch.Tensor) -> torch.Tensor:
    shape, weights = setup.model.shape, setup.weights
    pairs = torch.arange(0, shape.head_dim, 2, device=ids.device, dtype=torch.float64)
    turns = torch.arange(ids.shape[1], device=ids.device)[:, None] * shape.rope_theta ** (
        -pairs / shape.head_dim
    )
    rotation = torch.polar(torch.ones_like(turns), turns)
    hidden = weights.embedding.double()[ids]
    for layer in weights.layers:
        hidden = hidden + _attention(shape, layer, rotation, hidden)
        normed = _norm(hidden, layer.feed_forward_norm, shape)
        gate, up = (normed @ layer.gate_up.double().T).chunk(2, dim=-1)
        hidden = hidden + (silu(gate) * up) @ layer.down.double().T
    return _norm(hidden, weights.norm, shape) @ weights.head.double().T


def _norm(x: torch.Tensor, weight: torch.Tensor, shape: ModelShape) -> torch.Tensor:
    scale = torch.sqrt(x.square().mean(dim=-1, keepdim=True) + shape.rms_norm_eps)
    return x / scale * weight.double()


def _attention(
    shape: ModelShape, layer: LayerWeights, rotation: torch.Tensor, hidden: torch.Tensor
) -> torch.Tensor:
    batch, length, _ = hidden.shape
    heads, kv_heads = shape.num_heads, shape.num_kv_heads
    qkv = _norm(hidden, layer.input_norm, shape) @ layer.qkv.double().T
    q, k, v = qkv.view(batch, length, -1, shape.head_dim).split([heads, kv_heads, kv_heads], dim=2)
    if layer.q_norm is not None and layer.k_norm is not None:
        q, k = _norm(q, layer.q_norm, shape), _norm(k, layer.k_norm, shape)
    q, k = _rotate(q, rotation), _rotate(k, rotation)
    k, v = (x.repeat_interleave(heads // kv_heads, dim=2) for x in (k, v))
    scores = torch.einsum("bqhd,bkhd->bhqk", q, k) / shape.head_dim**0.5
    hidden_from = torch.ones(length, length, dtype=torch.bool, device=hidden.device).triu(1)
    shares = scores.masked_fill(hidden_from, float("-inf")).softmax(dim=-1)
    return torch.einsum("bhqk,bkhd->bqhd", shares, v).flatten(2) @ layer.output.double().T


def _rotate(x: torch.Tensor, rotation: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    turned = torch.complex(first, second) * rotation[:, None]
    return torch.cat((turned.real, turned.imag), dim=-1)
