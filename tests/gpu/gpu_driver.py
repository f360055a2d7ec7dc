"""Drives a runner by hand: owns table rows and shuffled blocks, builds the steps' arrays.

A stand-in for scheduler and cache. It hands every request blocks in random order, so neighbouring
positions are never neighbours in the pool except inside a block.
"""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np

from pcache.gpu.runner import Pending, Runner
from pcache.gpu.step import StepInputs
from pcache.types import I4


@dataclass
class Request:
    row: int
    tokens: list[int]
    blocks: list[int] = field(default_factory=list)
    num_cached: int = 0


class Driver:
    def __init__(self, runner: Runner, block_size: int, num_blocks: int, seed: int = 0) -> None:
        self.runner = runner
        self.block_size = block_size
        self._rng = np.random.default_rng(seed)
        self._free: list[int] = self._rng.permutation(num_blocks).tolist()
        self._runs: list[list[int]] = []
        self._rows = 0

    def request(self, tokens: list[int], share: Request | None = None, cached: int = 0) -> Request:
        """A new request; its first `cached` tokens are those of `share`, in whole shared blocks."""
        new = Request(self._rows, list(tokens))
        self._rows += 1
        if share is not None:
            assert cached % self.block_size == 0
            new.blocks = share.blocks[: cached // self.block_size]
            new.num_cached = cached
            for position, block in enumerate(new.blocks):
                self._runs.append([new.row, position, block, 1])
        return new

    def free(self, request: Request, first: int = 0) -> None:
        """Give back the request's blocks from the `first` on, poisoned."""
        freed = np.array(request.blocks[first:], dtype=np.int32)
        self.runner.poison(freed, np.ones_like(freed))
        self._free.extend(request.blocks[first:])

    def inputs(self, parts: list[tuple[Request, int]]) -> StepInputs:
        """A step that computes `count` tokens of each request; the last known token samples."""
        ids: list[int] = []
        starts, samples = [], []
        for request, count in parts:
            starts.append(request.num_cached)
            ids += request.tokens[request.num_cached : request.num_cached + count]
            request.num_cached += count
            samples.append(request.num_cached == len(request.tokens))
            while len(request.blocks) * self.block_size < request.num_cached:
                block = self._free.pop()
                self._runs.append([request.row, len(request.blocks), block, 1])
                request.blocks.append(block)
        runs = np.array(self._runs, dtype=np.int32).reshape(-1, 4)
        self._runs = []
        return StepInputs(
            rows=_ints([request.row for request, _ in parts]),
            starts=_ints(starts),
            counts=_ints([count for _, count in parts]),
            samples=np.array(samples),
            token_ids=_ints(ids),
            table_runs=runs,
        )

    def launch(self, parts: list[tuple[Request, int]]) -> Pending:
        return self.runner.launch(self.inputs(parts), keep_logits=True)

    def logits(self, parts: list[tuple[Request, int]]) -> np.ndarray:
        """Logits of the requests that sample, in the order of `parts`."""
        logits = self.launch(parts).wait().logits
        return np.zeros((0, 0), np.float32) if logits is None else logits


def _ints(values: list[int]) -> I4:
    return np.array(values, dtype=np.int32)
