"""The paged KV pool: one tensor for all layers, cut into blocks of equal size.

Block ids come from the shared cache; the pool only holds what they point to. In debug mode every
block starts as NaN and becomes NaN again when `poison` is told that it was freed, so that a read of
a slot that nobody wrote shows up in the logits.
"""

from __future__ import annotations

import numpy as np
import torch

from pcache.errors import ConfigError
from pcache.gpu.device import device_errors
from pcache.shapes import ModelShape
from pcache.types import I4

__all__ = ["KVPool", "kv_block_bytes"]


def kv_block_bytes(shape: ModelShape, block_size: int, dtype: torch.dtype) -> int:
    """Bytes of one block's keys and values over all layers."""
    elements = 2 * shape.num_layers * shape.num_kv_heads * shape.head_dim
    return elements * dtype.itemsize * block_size


class KVPool:
    """Keys and values of `num_blocks` blocks: `data` is
    [num_layers, 2, num_blocks, block_size, num_kv_heads, head_dim], keys first, contiguous.

    Raises DeviceError where the memory does not suffice.
    """

    def __init__(
        self,
        shape: ModelShape,
        num_blocks: int,
        block_size: int,
        dtype: torch.dtype,
        device: torch.device,
        poison: bool = False,
    ) -> None:
        if block_size & (block_size - 1) or not 1 <= block_size <= 512:
            raise ConfigError(f"block size {block_size}: expected a power of two from 1 to 512")
        self.num_blocks = num_blocks
        self.block_size = block_size
        size = (shape.num_layers, 2, num_blocks, block_size, shape.num_kv_heads, shape.head_dim)
        with device_errors(f"making a KV pool of {num_blocks * block_size} tokens"):
            self.data = torch.full(
                size, float("nan") if poison else 0.0, dtype=dtype, device=device
            )

    def layer(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        """One layer's keys and values, each [num_blocks, block_size, num_kv_heads, head_dim]."""
        return self.data[index, 0], self.data[index, 1]

    def poison(self, first_blocks: I4, counts: I4) -> None:
        """Fill freed runs of blocks with NaN, behind all steps launched so far. For debugging."""
        within = np.arange(counts.sum()) - np.repeat(np.cumsum(counts) - counts, counts)
        blocks = torch.from_numpy(np.repeat(first_blocks, counts) + within)
        self.data.index_fill_(2, blocks.to(self.data.device), float("nan"))
