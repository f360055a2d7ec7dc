"""Builds a runner over a model directory, and the device and kernels that a test asks for."""

from __future__ import annotations

from pathlib import Path

import torch
from gpu_driver import Driver

from pcache.gpu.backend import backend_named
from pcache.gpu.device import open_device
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.layouts import NO_GRAPHS, GraphBuckets
from pcache.gpu.model import Model
from pcache.gpu.runner import Runner, RunnerConfig
from pcache.gpu.sampling import SamplingConfig
from pcache.gpu.weight_sources import open_source
from pcache.gpu.weights import load_weights

FP32_TOLERANCE = 2e-4
"""Largest difference of fp32 logits of order 1 to 10 that the order of summation explains."""


def build(
    path: Path,
    *,
    device: str = "cpu",
    backend: str = "reference",
    block_size: int = 16,
    num_blocks: int = 64,
    dtype: torch.dtype = torch.float32,
    graphs: GraphBuckets = NO_GRAPHS,
    max_rows: int = 8,
    max_step_tokens: int = 256,
    max_context_tokens: int = 512,
    sampling: SamplingConfig | None = None,
    prepare: bool = True,
) -> Driver:
    """A driver over a runner of the model in `path`, with a pool full of NaN."""
    on = open_device(device)
    source = open_source(path)
    weights = load_weights(source.shape, source, dtype, on)
    model = Model(source.shape, weights, backend_named(backend), max_context_tokens)
    pool = KVPool(source.shape, num_blocks, block_size, dtype, on, poison=True)
    config = RunnerConfig(
        max_context_tokens, max_rows, max_step_tokens, sampling or SamplingConfig(), graphs
    )
    runner = Runner(model, pool, config)
    if prepare:
        runner.prepare()
    return Driver(runner, block_size, num_blocks)
