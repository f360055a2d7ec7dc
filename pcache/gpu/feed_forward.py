"""The gated half of the feed-forward layer: silu(x gate^T) · (x up^T), gate and up stacked.

With few rows, reading the weights is all the work, and the project's kernel does product and
activation in one pass, where its tiles fit the rows (`gated_shape`). Otherwise cuBLAS computes the
product and the activation follows as a kernel of its own. fp32 always takes cuBLAS, in IEEE arithmetic.
"""

from __future__ import annotations

import torch
from torch.nn.functional import linear

from pcache.gpu.backend import Backend

__all__ = ["gated_product"]


def gated_product(backend: Backend, x: torch.Tensor, weight: torch.Tensor) -> torch.Tensor:
    """[rows, K], [2 · N, K] -> [rows, N]."""
    rows, columns = x.shape[0], weight.shape[0] // 2
    out = x.new_empty(rows, columns)
    if backend.name == "triton" and x.is_cuda and x.dtype.itemsize == 2:
        from pcache.gpu.kernels.gated_linear.kernel import gated_linear, gated_shape

        shape = gated_shape(rows, columns, x.shape[1])
        if shape is not None:
            gated_linear(x, weight, out, shape)
            return out
    backend.silu_mul(linear(x, weight), out)
    return out
