"""Attention of a step over the paged pool, behind one small contract.

`plan` is called once a step, `run` once a layer. `TritonAttention` launches the project's kernels
and never looks at a length on the host. `TorchAttention` gathers each request's context and calls
torch's attention; it works on any device and needs no Triton.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

import torch
from torch.nn.functional import scaled_dot_product_attention

from pcache.gpu.step import StepLayout, StepTensors
from pcache.shapes import ModelShape

if TYPE_CHECKING:
    from pcache.gpu.kernels.decode_attention.kernel import DecodePlan
    from pcache.gpu.kernels.extend_attention.kernel import ExtendPlan

__all__ = ["Attention", "StepAttention", "TorchAttention", "TritonAttention"]


class StepAttention(Protocol):
    """Attention of one planned step."""

    def run(
        self, q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, out: torch.Tensor
    ) -> None:
        """One layer: q and out [tokens, num_heads, head_dim], caches as `KVPool.layer`."""
        ...


class Attention(Protocol):
    """Makes the attention of each step."""

    def plan(self, step: StepTensors) -> StepAttention:
        """Do what all layers of the step share."""
        ...


class TorchAttention:
    """One request after the other through torch; reads lengths on the host."""

    def __init__(self, shape: ModelShape, block_table: torch.Tensor) -> None:
        self._scale = shape.head_dim**-0.5
        self._table = block_table

    def plan(self, step: StepTensors) -> StepAttention:
        spans: list[tuple[int, int, int, int]] = []
        q_starts = step.q_starts.tolist()
        prefixes = step.prefix_lengths.tolist()
        for b, row in enumerate(step.extend_rows.tolist()):
            spans.append((row, q_starts[b], q_starts[b + 1], prefixes[b]))
        first = step.layout.extend_tokens
        contexts = zip(step.decode_rows.tolist(), step.context_lengths.tolist(), strict=True)
        for token, (row, length) in enumerate(contexts, start=first):
            spans.append((row, token, token + min(length, 1), length - 1))
        live = [span for span in spans if span[2] > span[1]]
        return _TorchStep(self._table, self._scale, live)


class _TorchStep:
    def __init__(
        self, table: torch.Tensor, scale: float, spans: list[tuple[int, int, int, int]]
    ) -> None:
        self._table, self._scale, self._spans = table, scale, spans

    def run(
        self, q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, out: torch.Tensor
    ) -> None:
        for row, first, last, prefix in self._spans:
            length = prefix + last - first
            blocks = self._table[row, : -(-length // k_cache.shape[1])].long()
            k = k_cache[blocks].flatten(0, 1)[:length].transpose(0, 1)
            v = v_cache[blocks].flatten(0, 1)[:length].transpose(0, 1)
            visible = torch.ones(last - first, length, dtype=torch.bool, device=q.device)
            out[first:last] = scaled_dot_product_attention(
                q[first:last].transpose(0, 1)[None],
                k[None],
                v[None],
                attn_mask=visible.tril(diagonal=prefix),
                scale=self._scale,
                enable_gqa=True,
            )[0].transpose(0, 1)


class TritonAttention:
    """The project's kernels; plans are kept by capacity, for CUDA graphs hold their buffers."""

    def __init__(
        self,
        shape: ModelShape,
        block_table: torch.Tensor,
        *,
        max_decodes: int,
        block_size: int,
        dtype: torch.dtype,
    ) -> None:
        self._shape, self._table = shape, block_table
        self._block_size, self._dtype = block_size, dtype
        self._decode: DecodePlan | None = None
        self._max_decodes = max_decodes
        self._extend: dict[tuple[int, int], ExtendPlan] = {}

    def plan(self, step: StepTensors) -> StepAttention:
        extend = decode = None
        if step.layout.extends:
            extend = self._extend_plan(step.layout)
            extend.update(step.extend_rows, step.q_starts, step.prefix_lengths)
        if step.layout.decodes:
            decode = self._decode_plan()
            decode.update(step.decode_rows, step.context_lengths)
        scale = self._shape.head_dim**-0.5
        return _TritonStep(self._table, scale, step.layout.extend_tokens, extend, decode)

    def _decode_plan(self) -> DecodePlan:
        from pcache.gpu.kernels.decode_attention.kernel import DecodePlan

        if self._decode is None:
            self._decode = DecodePlan(
                max_requests=self._max_decodes,
                num_heads=self._shape.num_heads,
                num_kv_heads=self._shape.num_kv_heads,
                head_dim=self._shape.head_dim,
                dtype=self._dtype,
                device=self._table.device,
            )
        return self._decode

    def _extend_plan(self, layout: StepLayout) -> ExtendPlan:
        from pcache.gpu.kernels.extend_attention.kernel import ExtendPlan

        tokens = layout.planned_tokens
        key = (layout.extends, tokens)
        if key not in self._extend:
            self._extend[key] = ExtendPlan(
                max_requests=layout.extends,
                max_tokens=tokens,
                num_heads=self._shape.num_heads,
                num_kv_heads=self._shape.num_kv_heads,
                head_dim=self._shape.head_dim,
                block_size=self._block_size,
                dtype=self._dtype,
                device=self._table.device,
            )
        return self._extend[key]


class _TritonStep:
    def __init__(
        self,
        table: torch.Tensor,
        scale: float,
        extend_tokens: int,
        extend: ExtendPlan | None,
        decode: DecodePlan | None,
    ) -> None:
        self._table, self._scale, self._first = table, scale, extend_tokens
        self._extend, self._decode = extend, decode

    def run(
        self, q: torch.Tensor, k_cache: torch.Tensor, v_cache: torch.Tensor, out: torch.Tensor
    ) -> None:
        from pcache.gpu.kernels.decode_attention.kernel import decode_attention
        from pcache.gpu.kernels.extend_attention.kernel import extend_attention

        first, table, scale = self._first, self._table, self._scale
        if self._extend is not None:
            extend_attention(q[:first], k_cache, v_cache, table, self._extend, out[:first], scale)
        if self._decode is not None:
            decode_attention(q[first:], k_cache, v_cache, table, self._decode, out[first:], scale)
