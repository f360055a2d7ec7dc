"""CUDA graphs of whole steps, one a layout.

A graph replays the same kernels on the same addresses; everything that differs from step to step is
read from the packed buffer on the device. Graphs share one memory pool: they never run at the same
time, and what a step leaves behind is copied out before the next one starts.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import torch

from pcache.gpu.step import StepLayout

__all__ = ["GraphSet", "StepResult"]


@dataclass(frozen=True, slots=True)
class StepResult:
    """What a step left on the device: tokens int64 [samples] and logits [samples, vocab]."""

    tokens: torch.Tensor
    logits: torch.Tensor


class GraphSet:
    """Captured steps. `run_eagerly` executes a layout on the current stream."""

    def __init__(
        self, run_eagerly: Callable[[StepLayout], StepResult | None], generator: torch.Generator
    ) -> None:
        self._run_eagerly, self._generator = run_eagerly, generator
        self._graphs: dict[StepLayout, tuple[torch.cuda.CUDAGraph, StepResult | None]] = {}
        self._memory: Any = None

    def capture(self, layout: StepLayout) -> None:
        """Capture one layout, after an eager run that compiles what it needs."""
        if self._memory is None:
            self._memory = torch.cuda.graph_pool_handle()
        self._run_eagerly(layout)
        graph = torch.cuda.CUDAGraph()
        graph.register_generator_state(self._generator)
        with torch.cuda.graph(graph, pool=self._memory):
            result = self._run_eagerly(layout)
        graph.replay()  # the first launch uploads the graph, which a run should not wait for
        self._graphs[layout] = (graph, result)

    def run(self, layout: StepLayout) -> StepResult | None:
        """Replay the layout's graph, or run it eagerly if it has none."""
        captured = self._graphs.get(layout)
        if captured is None:
            return self._run_eagerly(layout)
        graph, result = captured
        graph.replay()
        return result

    def __len__(self) -> int:
        return len(self._graphs)
