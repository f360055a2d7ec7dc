"""Is the engine on this GPU right? Asked before anything of it is timed.

A small random model in fp32 runs the same requests twice: in one whole prefill on the plain PyTorch
kernels, and on the Triton kernels in chunks, over a prefix that another request left in shuffled
blocks, beside decodes, through CUDA graphs. The logits must agree.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import numpy.typing as npt
import torch

from pcache.errors import DeviceError
from pcache.gpu.backend import backend_named
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.layouts import NO_GRAPHS, GraphBuckets
from pcache.gpu.model import Model
from pcache.gpu.runner import Runner, RunnerConfig
from pcache.gpu.step import StepInputs
from pcache.gpu.weights import random_weights
from pcache.shapes import MODELS
from pcache.types import I4

__all__ = ["check_engine"]

_SHAPE = replace(MODELS["tiny"], name="check", num_heads=8, num_kv_heads=2, hidden_size=512,
                 num_layers=2)  # fmt: skip
_BLOCK = 16
_SHARED, _CONTEXT, _BLOCKS = 192, 256, 128
_CHUNK = 144
"""Tokens of a step at most; few, for Triton's interpreter takes a while for each."""
_TOLERANCE = 2e-4
"""Relative to the largest logit; sums in other orders differ by some 1e-6."""

Part = tuple[int, int, int]
"""Table row, first token, tokens."""


def check_engine(device: torch.device) -> None:
    """Raise DeviceError where logits differ from those of the plain kernels."""
    weights = random_weights(_SHAPE, 1, torch.float32, device)
    tokens = np.random.default_rng(1).integers(_SHAPE.vocab_size, size=(2, _CONTEXT))
    tokens[1, :_SHARED] = tokens[0, :_SHARED]
    blocks = np.random.default_rng(2).permutation(_BLOCKS)[: 2 * _CONTEXT // _BLOCK]
    table = blocks.astype(np.int32).reshape(2, -1)

    def runner(kernels: str, max_step_tokens: int, graphs: GraphBuckets) -> Runner:
        model = Model(_SHAPE, weights, backend_named(kernels), _CONTEXT)
        pool = KVPool(_SHAPE, _BLOCKS, _BLOCK, torch.float32, device)
        made = Runner(model, pool, RunnerConfig(_CONTEXT, 4, max_step_tokens, graphs=graphs))
        made.prepare()
        return made

    plain = runner("reference", 2 * _CONTEXT, NO_GRAPHS)
    expected = _step(plain, tokens, table, [(0, 0, _CONTEXT), (1, 0, _CONTEXT)])
    shared = table.copy()
    shared[1, : _SHARED // _BLOCK] = table[0, : _SHARED // _BLOCK]
    ours = runner("triton", _CHUNK, GraphBuckets((1, 2, 4), (16, 64), (2,)))
    for parts in (
        [(0, 0, _CHUNK)],
        [(0, _CHUNK, _CONTEXT - 1 - _CHUNK)],  # all but the last token of row 0
        [(1, _SHARED, 50)],  # behind the prefix that row 0 computed
        [(1, _SHARED + 50, 13), (0, _CONTEXT - 1, 1)],  # beside a decode
    ):
        _step(ours, tokens, shared, parts)
    last = _CONTEXT - 1
    got = _step(ours, tokens, shared, [(0, last, 1), (1, last, 1)])
    error = float(np.abs(got - expected).max() / np.abs(expected).max())
    if not error <= _TOLERANCE:
        raise DeviceError(
            f"the engine's logits differ from the plain kernels' by {error:.2g} of the largest, more "
            f"than {_TOLERANCE:.2g}; a wrong engine is not timed"
        )


def _step(
    runner: Runner, tokens: np.ndarray, table: I4, parts: Sequence[Part]
) -> npt.NDArray[np.float32]:
    """Run one step and return its logits, [parts, vocab]."""
    rows = [row for row, _, _ in parts]
    runs = [(row, at, table[row, at], 1) for row in rows for at in range(table.shape[1])]
    inputs = StepInputs(
        rows=np.array(rows, np.int32),
        starts=np.array([start for _, start, _ in parts], np.int32),
        counts=np.array([count for _, _, count in parts], np.int32),
        samples=np.ones(len(parts), bool),
        token_ids=np.concatenate([tokens[r, s : s + n] for r, s, n in parts]).astype(np.int32),
        table_runs=np.array(runs, np.int32),
    )
    logits = runner.launch(inputs, keep_logits=True).wait().logits
    assert logits is not None, "every part samples"
    return logits
