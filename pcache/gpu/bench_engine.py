"""TTFT and decode speed of the engine, on synthetic steps over a prefix already in the pool.

TTFT is the wall clock from handing a request's token ids over on the host to its first token in host
memory: block-table update, every chunk of the prompt, sampling and the copy back included. Decode
keeps one step in flight ahead of the host, as the engine does, and feeds sampled tokens back on the
device. Blocks lie scattered over the pool; their content is random. A served decode step comes from
a trace, with scheduler, cache and block tables: what the host does must hide behind the GPU.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from statistics import median

import numpy as np
import pandas as pd
import torch

from pcache.cache.contract import CacheConfig
from pcache.gpu.backend import backend_named
from pcache.gpu.clock import Clock
from pcache.gpu.device import current_gpu, dtype_named, open_gpu
from pcache.gpu.engine import EngineRun, compile_loop
from pcache.gpu.engine_floor import (
    VLLM_DECODE_MS,
    VLLM_TTFT_MS,
    decode_floor_ms,
    ttft_floor_ms,
)
from pcache.gpu.layouts import GraphBuckets
from pcache.gpu.model import Model
from pcache.gpu.prompts import request_tokens
from pcache.gpu.provenance import measured_with
from pcache.gpu.runner import Pending, RunnerConfig
from pcache.gpu.step import StepInputs
from pcache.gpu.synthetic import SyntheticRunner
from pcache.gpu.weights import random_weights
from pcache.prefixes import build_forest
from pcache.scheduler.state import SchedulerConfig
from pcache.scheduler.steps import steps_frame
from pcache.shapes import model_shape
from pcache.trace.generate import generate

__all__ = ["EngineBench", "bench_engine"]

_DECODE_CONTEXT = 8192
_DECODE_STEPS = 64
_SERVED_OUTPUT_TOKENS = 200


@dataclass(frozen=True, slots=True)
class EngineBench:
    """What to measure, and with what."""

    model: str = "llama-3.1-8b"
    dtype: str = "bf16"
    block_size: int = 16
    repeats: int = 7
    ttft_rows: tuple[tuple[int, int], ...] = tuple(VLLM_TTFT_MS)
    decode_batches: tuple[int, ...] = tuple(VLLM_DECODE_MS)
    served_batch: int = 32
    graphs: GraphBuckets = field(
        default_factory=lambda: GraphBuckets(decodes=(1, 32), mixed_decodes=())
    )
    max_step_tokens: int = 8192


def bench_engine(
    bench: EngineBench, progress: Callable[[str], None] = lambda _: None
) -> pd.DataFrame:
    """One row a measurement: what (`ttft`, `decode`, `served decode`), new_tokens, cached_tokens,
    batch, p50_ms, min_ms, max_ms, gpu_ms, host_ms, floor_ms, floor_share, vllm_ms (on an H100), and
    what it was measured with. host_ms is the time in `launch`, of a served step how long the GPU
    waited for the host before it.

    Needs a GPU that holds the model and the largest context; raises DeviceError if not.
    """
    subject = _Subject(bench)
    rows = []
    for new, cached in bench.ttft_rows:
        progress(f"TTFT of {new:,} tokens after {cached:,}")
        rows.append(subject.ttft(new, cached))
    for batch in bench.decode_batches:
        progress(f"decode, batch {batch}")
        rows.append(subject.decode(batch))
    if bench.served_batch:
        progress(f"served decode, batch {bench.served_batch}")
        rows.append(subject.served_decode(bench.served_batch))
    setting = {"model": bench.model, "dtype": bench.dtype, "block_size": bench.block_size}
    made_with = setting | measured_with()
    frame = pd.DataFrame([{"provider": "pcache"} | row | made_with for row in rows])
    frame.insert(0, "floor_share", frame["floor_ms"] / frame["p50_ms"])
    return frame[["provider", *rows[0], "floor_share", *made_with]]


class _Subject:
    """A runner with random weights for the largest of the rows."""

    def __init__(self, bench: EngineBench) -> None:
        self._bench = bench
        device, dtype = open_gpu(), dtype_named(bench.dtype)
        self._shape = model_shape(bench.model)
        contexts = [new + cached for new, cached in bench.ttft_rows]
        decode_context = _DECODE_CONTEXT + 2 * _SERVED_OUTPUT_TOKENS
        max_context = max([*contexts, decode_context])
        max_rows = max([*bench.decode_batches, bench.served_batch, 1])
        tokens = max([*contexts, max_rows * decode_context])
        num_blocks = -(-tokens // bench.block_size) + max_rows
        weights = random_weights(self._shape, 0, dtype, device)
        model = Model(self._shape, weights, backend_named("triton"), max_context)
        config = RunnerConfig(max_context, max_rows, bench.max_step_tokens, graphs=bench.graphs)
        self._steps = SyntheticRunner(model, num_blocks, bench.block_size, config)
        self._runner = self._steps.runner

    def ttft(self, new_tokens: int, cached_tokens: int) -> dict[str, object]:
        """Median TTFT of one request alone on the device."""
        wall, on_gpu, on_host = [], [], []
        parts = list(self._prefill(new_tokens, cached_tokens))
        for _ in range(self._bench.repeats + 2):
            torch.cuda.synchronize()
            began = time.perf_counter_ns()
            steps = [self._runner.launch(part) for part in parts]
            launched = time.perf_counter_ns()
            outputs = [step.wait() for step in steps]
            wall.append(outputs[-1].on_host_at_ns - began)
            on_host.append(launched - began)
            on_gpu.append(sum(part.gpu_ns for part in outputs))
        return {
            "what": "ttft",
            "new_tokens": new_tokens,
            "cached_tokens": cached_tokens,
            "batch": 1,
            **_milliseconds(wall[2:], on_gpu[2:], on_host[2:]),
            "floor_ms": ttft_floor_ms(current_gpu(), self._shape, new_tokens, cached_tokens),
            "vllm_ms": self._vllm_ms(VLLM_TTFT_MS.get((new_tokens, cached_tokens))),
        }

    def _vllm_ms(self, milliseconds: float | None) -> float | None:
        """vLLM's figure, for the model that it was measured with."""
        return milliseconds if self._bench.model == "llama-3.1-8b" else None

    def _prefill(self, new: int, cached: int) -> Iterator[StepInputs]:
        """The steps of one prompt after `cached` tokens, in chunks of the token budget."""
        budget = self._bench.max_step_tokens
        for first in range(0, new, budget):
            runs = self._steps.table_runs([cached + new]) if first == 0 else None
            last = first + budget >= new
            count = min(budget, new - first)
            yield self._steps.inputs([cached + first], [count], samples=last, table_runs=runs)

    def decode(self, batch: int) -> dict[str, object]:
        """Median time of a decode step of `batch` requests with 8,192 tokens of context each."""
        setup = self._steps.table_runs([_DECODE_CONTEXT + _DECODE_STEPS] * batch)
        pending: Pending | None = None
        instants, on_gpu, on_host = [], [], []
        for step in range(_DECODE_STEPS):
            inputs = self._steps.inputs(
                [_DECODE_CONTEXT + step] * batch, [1] * batch,
                table_runs=setup if step == 0 else None,
            )  # fmt: skip
            inputs.token_ids.fill(-1)
            began = time.perf_counter_ns()
            ahead = self._runner.launch(inputs)
            on_host.append(time.perf_counter_ns() - began)
            if pending is not None:
                outputs = pending.wait()
                instants.append(outputs.on_host_at_ns)
                on_gpu.append(outputs.gpu_ns)
            pending = ahead
        assert pending is not None
        pending.wait()
        between = np.diff(instants).tolist()
        return {
            "what": "decode",
            "new_tokens": 1,
            "cached_tokens": _DECODE_CONTEXT,
            "batch": batch,
            **_milliseconds(between[4:], on_gpu[5:], on_host[5:]),
            "floor_ms": decode_floor_ms(current_gpu(), self._shape, batch, _DECODE_CONTEXT),
            "vllm_ms": self._vllm_ms(VLLM_DECODE_MS.get(batch)),
        }

    def served_decode(self, batch: int) -> dict[str, object]:
        """Median time of a decode step in the service of a trace: `batch` requests that share a
        prompt of 8,192 tokens."""
        trace = generate(
            "same-prompt", requests=batch, batch=batch, prompt_tokens=_DECODE_CONTEXT,
            output_tokens=_SERVED_OUTPUT_TOKENS,
        )  # fmt: skip
        compile_loop(trace)
        num_tokens = (self._steps.num_blocks - 1) * self._bench.block_size
        cache = CacheConfig("radix", self._bench.block_size, num_tokens)
        tokens = request_tokens(trace, self._shape.vocab_size)
        engine = EngineRun(trace, build_forest(trace), tokens, cache, SchedulerConfig())
        engine.run(self._runner, Clock(skip_idle=True))
        steps = steps_frame(engine.steps)
        steps["waited_ns"] = (steps["ended_at_ns"] - steps["duration_ns"]).sub(
            steps["ended_at_ns"].shift()
        )
        steps["period_ns"] = steps["ended_at_ns"].diff()
        full = steps[(steps["decode_tokens"] == batch) & (steps["prefill_tokens"] == 0)].iloc[2:]
        return {
            "what": "served decode",
            "new_tokens": 1,
            "cached_tokens": _DECODE_CONTEXT,
            "batch": batch,
            **_milliseconds(
                full["period_ns"].tolist(), full["duration_ns"].tolist(), full["waited_ns"].tolist()
            ),
            "floor_ms": None,  # a shared prompt is read through the L2 cache
            "vllm_ms": None,
        }


def _milliseconds(wall: list[int], on_gpu: list[int], on_host: list[int]) -> dict[str, float]:
    return {
        "p50_ms": median(wall) / 1e6,
        "min_ms": min(wall) / 1e6,
        "max_ms": max(wall) / 1e6,
        "gpu_ms": median(on_gpu) / 1e6,
        "host_ms": median(on_host) / 1e6,
    }
