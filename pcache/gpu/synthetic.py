"""Steps of any shape on a real runner, without scheduler or cache.

A runner with a pool of random keys and values, in which every request's blocks lie scattered. What
requests have cached is random too; only sizes matter here.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from pcache.cost.points import StepShape
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.model import Model
from pcache.gpu.runner import Runner, RunnerConfig
from pcache.gpu.step import StepInputs
from pcache.types import I4

__all__ = ["SyntheticRunner"]


class SyntheticRunner:
    """A prepared runner, and inputs for it. Table row i belongs to request i."""

    def __init__(
        self, model: Model, num_blocks: int, block_size: int, config: RunnerConfig
    ) -> None:
        self.model, self.config = model, config
        self.num_blocks, self.block_size = num_blocks, block_size
        pool = KVPool(model.shape, num_blocks, block_size, model.dtype, model.device)
        for layer in pool.data:
            layer.normal_()
        self.runner = Runner(model, pool, config)
        self.prepared = self.runner.prepare()
        self._rng = np.random.default_rng(0)
        self._blocks = self._rng.permutation(num_blocks).astype(np.int32)

    def inputs(
        self,
        starts: Sequence[int],
        counts: Sequence[int],
        *,
        samples: bool = True,
        table_runs: I4 | None = None,
    ) -> StepInputs:
        """A step of `counts` random tokens after `starts` cached ones, a request each."""
        num = len(starts)
        vocabulary = self.model.shape.vocab_size
        return StepInputs(
            rows=np.arange(num, dtype=np.int32),
            starts=np.array(starts, np.int32),
            counts=np.array(counts, np.int32),
            samples=np.full(num, samples),
            token_ids=self._rng.integers(vocabulary, size=sum(counts), dtype=np.int32),
            table_runs=np.empty((0, 4), np.int32) if table_runs is None else table_runs,
        )

    def inputs_of(self, shape: StepShape) -> tuple[StepInputs, StepInputs]:
        """Inputs that write block tables for the shape, and inputs for the same tables again."""
        starts = [start for start, _, times in shape.requests for _ in range(times)]
        counts = [count for _, count, times in shape.requests for _ in range(times)]
        lengths = [start + count for start, count in zip(starts, counts, strict=True)]
        runs = self.table_runs(lengths, shape.shared_tokens)
        first = self.inputs(starts, counts, samples=shape.samples, table_runs=runs)
        return first, self.inputs(starts, counts, samples=shape.samples)

    def table_runs(self, lengths: Sequence[int], shared_tokens: int = 0) -> I4:
        """Runs of one scattered block each, with room for `lengths` tokens of each request, which
        have the blocks of their first `shared_tokens` tokens in common."""
        sizes = -(-np.array(lengths) // self.block_size)
        ends = np.cumsum(sizes)
        total = int(ends[-1])
        assert total <= len(self._blocks), "requests larger than the pool"
        runs = np.ones((total, 4), np.int32)
        runs[:, 0] = np.repeat(np.arange(len(sizes)), sizes)
        runs[:, 1] = np.arange(total) - np.repeat(ends - sizes, sizes)
        runs[:, 2] = self._blocks[:total]
        shared = runs[:, 1] < shared_tokens // self.block_size
        runs[shared, 2] = self._blocks[runs[shared, 1]]
        return runs
