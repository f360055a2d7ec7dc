"""The forward pass of a decoder-only transformer over the paged KV pool.

    h += attention(norm(h)),   h += down(silu(gate(norm(h))) · up(norm(h)))

a layer, with the norms fused into the residual additions. Layer by layer, every key and value of the
step is written to the pool before any attention reads it, so a request may read what another request
of the same step computes.
"""

from __future__ import annotations

import torch
from torch.nn.functional import embedding, linear

from pcache.gpu.attention import StepAttention
from pcache.gpu.backend import Backend
from pcache.gpu.feed_forward import gated_product
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.rope import cos_sin_table
from pcache.gpu.weights import ModelWeights
from pcache.shapes import ModelShape

__all__ = ["Model"]


class Model:
    """Weights and how to apply them. Holds no state of any request."""

    def __init__(
        self, shape: ModelShape, weights: ModelWeights, backend: Backend, max_context_tokens: int
    ) -> None:
        self.shape = shape
        self.dtype = weights.embedding.dtype
        self.device = weights.embedding.device
        self._weights = weights
        self.backend = backend
        self.max_context_tokens = max_context_tokens
        self._cos_sin = cos_sin_table(shape, max_context_tokens, self.device)

    def forward(
        self,
        ids: torch.Tensor,
        positions: torch.Tensor,
        slots: torch.Tensor,
        pool: KVPool,
        attention: StepAttention,
        num_layers: int | None = None,
    ) -> torch.Tensor:
        """Normed hidden states [tokens, hidden] of tokens with `ids` and `positions` (int32), whose
        keys and values go to `slots` (int64, -1: nowhere), after the first `num_layers` or all."""
        eps = self.shape.rms_norm_eps
        residual = embedding(ids, self._weights.embedding)
        normed = torch.empty_like(residual)
        branch: torch.Tensor | None = None
        for index, layer in enumerate(self._weights.layers[:num_layers]):
            self._add_norm(residual, branch, layer.input_norm, normed)
            qkv = linear(normed, layer.qkv, layer.qkv_bias)
            k_cache, v_cache = pool.layer(index)
            self.backend.rope_kv_write(
                qkv, self._cos_sin, positions, slots, k_cache, v_cache,
                layer.q_norm, layer.k_norm, eps,
            )  # fmt: skip
            attended = self._attend(qkv, k_cache, v_cache, attention)
            branch = linear(attended, layer.output)
            self._add_norm(residual, branch, layer.feed_forward_norm, normed)
            branch = linear(gated_product(self.backend, normed, layer.gate_up), layer.down)
        self._add_norm(residual, branch, self._weights.norm, normed)
        return normed

    def logits(self, hidden: torch.Tensor) -> torch.Tensor:
        """Logits [rows, vocab] of normed hidden states [rows, hidden], in the model's dtype."""
        return linear(hidden, self._weights.head)

    def _add_norm(
        self,
        residual: torch.Tensor,
        branch: torch.Tensor | None,
        weight: torch.Tensor,
        out: torch.Tensor,
    ) -> None:
        eps = self.shape.rms_norm_eps
        if branch is None:
            self.backend.rms_norm(residual, None, weight, eps, out)
        else:
            self.backend.rms_norm(branch, residual, weight, eps, out)

    def _attend(
        self,
        qkv: torch.Tensor,
        k_cache: torch.Tensor,
        v_cache: torch.Tensor,
        attention: StepAttention,
    ) -> torch.Tensor:
        tokens, heads, head_dim = qkv.shape[0], self.shape.num_heads, self.shape.head_dim
        q = qkv[:, : heads * head_dim].view(tokens, heads, head_dim)
        out = torch.empty(tokens, heads, head_dim, dtype=qkv.dtype, device=qkv.device)
        attention.run(q, k_cache, v_cache, out)
        return out.view(tokens, heads * head_dim)
