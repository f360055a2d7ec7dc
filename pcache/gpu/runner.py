"""Runs steps on the device, one after the other, without ever making the host wait.

    runner = Runner(model, pool, RunnerConfig(max_context_tokens=8192))
    runner.prepare()
    pending = runner.launch(inputs)       # returns once the step is submitted
    ...                                   # the host plans the next step, and may launch it
    outputs = pending.wait()

A launch packs all integers of the step into pinned memory and submits one copy to the device, the
step itself (block-table update, forward pass and sampling: a CUDA graph where one was captured) and
one copy of the sampled tokens back. Steps run in the order of their launches; at most MAX_IN_FLIGHT
may be launched and not yet waited for, and each must be waited for in the end.
"""

from __future__ import annotations

import time
from dataclasses import dataclass, field

import numpy as np
import torch

from pcache.errors import ConfigError
from pcache.gpu.backend import make_attention
from pcache.gpu.device import device_errors
from pcache.gpu.graphs import GraphSet, StepResult
from pcache.gpu.kv_pool import KVPool
from pcache.gpu.layouts import GraphBuckets, Layouts
from pcache.gpu.model import Model
from pcache.gpu.packing import ArrangedStep, arrange, pack
from pcache.gpu.reserved_memory import needed_bytes, reserve_in_one_piece
from pcache.gpu.sampling import Sampler, SamplingConfig
from pcache.gpu.staging import Slot, Staging
from pcache.gpu.step import MAX_RUNS, StepInputs, StepLayout, StepOutputs, StepTensors
from pcache.gpu.timeline import Mark, open_timeline
from pcache.types import I4

__all__ = ["MAX_IN_FLIGHT", "Pending", "PrepareReport", "Runner", "RunnerConfig"]

MAX_IN_FLIGHT = 4


@dataclass(frozen=True, slots=True)
class RunnerConfig:
    """Limits and choices of a runner.

    max_context_tokens  longest context of a request, prompt and output
    max_rows            most requests that hold a table row at a time
    max_step_tokens     most new tokens of a step
    """

    max_context_tokens: int
    max_rows: int = 256
    max_step_tokens: int = 8192
    sampling: SamplingConfig = field(default_factory=SamplingConfig)
    graphs: GraphBuckets = field(default_factory=GraphBuckets)


@dataclass(frozen=True, slots=True)
class PrepareReport:
    """What happened before time zero: `capture_ns` is for graphs, the memory of steps, and loading
    kernels."""

    num_graphs: int
    compile_ns: int
    capture_ns: int


class Runner:
    """Executes steps of one model over one KV pool.

    Row r of the block table belongs to whatever request the caller gives it to; row `max_rows` is
    the runner's own. Raises ConfigError where the limits do not fit the model.
    """

    def __init__(self, model: Model, pool: KVPool, config: RunnerConfig) -> None:
        if config.max_context_tokens > model.max_context_tokens:
            raise ConfigError(
                f"contexts of {config.max_context_tokens} tokens: the model was built for "
                f"{model.max_context_tokens}"
            )
        self._model, self._pool, self._config = model, pool, config
        self._device = model.device
        max_blocks = -(-config.max_context_tokens // pool.block_size)
        self._table = self._ints(config.max_rows + 1, -(-max_blocks // 16) * 16)
        self._last_tokens = self._ints(config.max_rows + 1)
        self._layouts = Layouts(config.graphs, config.max_rows, config.max_step_tokens)
        self._attention = make_attention(
            model.backend,
            model.shape,
            self._table,
            max_decodes=self._layouts.max_decodes,
            block_size=pool.block_size,
            dtype=model.dtype,
        )
        self._sampler = Sampler(config.sampling, self._device)
        self._graphs = GraphSet(self._run, self._sampler.generator)
        self._staging = Staging(
            self._layouts.max_ints, self._layouts.max_samples, MAX_IN_FLIGHT, self._device
        )
        self._timeline = open_timeline(self._device)

    def prepare(self) -> PrepareReport:
        """Compile, try the largest step, and capture graphs: what must not happen during a run.

        Raises DeviceError where the memory does not suffice.
        """
        began = time.perf_counter_ns()
        on_gpu = self._device.type == "cuda"
        with device_errors("preparing for the largest step"), torch.inference_mode():
            if on_gpu:
                torch.cuda.reset_peak_memory_stats(self._device)
            for layout in self._layouts.largest():
                self._stage_padding(layout)
                self._run(layout)
            self._synchronize()
            compiled = time.perf_counter_ns()
            if on_gpu:
                needed = needed_bytes(self._device)
                for layout in self._layouts.graphs():
                    self._stage_padding(layout)
                    self._graphs.capture(layout)
                reserve_in_one_piece(self._device, needed)
                self._load_kernels()
        return PrepareReport(len(self._graphs), compiled - began, time.perf_counter_ns() - compiled)

    def launch(self, inputs: StepInputs, keep_logits: bool = False) -> Pending:
        """Submit one step and return. Nothing here waits for the device, but for pinned memory when
        more surplus table runs come than ever before.

        Raises DeviceError where the device gave up.
        """
        self._check(inputs)
        step = arrange(inputs)
        layout = self._layouts.of(step)
        slot = self._staging.take()
        with device_errors("launching a step"), torch.inference_mode():
            runs = self._write_surplus(inputs.table_runs)
            num_ints = pack(step, layout, self._config.max_rows, runs, slot.packed)
            began = self._timeline.mark()
            self._staging.send(slot, num_ints)
            result = self._graphs.run(layout)
            logits = None
            if result is not None:
                count = len(step.sampling)
                slot.tokens_tensor[:count].copy_(result.tokens[:count], non_blocking=True)
                if keep_logits:
                    logits = result.logits[:count].to(torch.float32, copy=True)
            return Pending(self, step, slot, logits, began, self._timeline.mark())

    def poison(self, first_blocks: I4, counts: I4) -> None:
        """Fill freed runs of blocks with NaN, behind all steps launched so far. For debugging."""
        self._pool.poison(first_blocks, counts)

    def finish(self, pending: Pending) -> StepOutputs:
        """Wait for a step; called by `Pending.wait`."""
        with device_errors("running a step"):
            at_ns = self._timeline.wait(pending.ended)
            gpu_ns = self._timeline.between_ns(pending.began, pending.ended)
            logits = None if pending.logits is None else pending.logits.cpu().numpy()
        sampled = pending.step.sampled_inputs()
        tokens = np.full(len(pending.step.rows), -1, dtype=np.int64)
        tokens[sampled] = pending.slot.tokens[: len(sampled)]
        if logits is not None:
            logits = logits[np.argsort(sampled)]
        self._timeline.release(pending.began, pending.ended)
        self._staging.give_back(pending.slot)
        return StepOutputs(tokens, logits, gpu_ns, at_ns)

    def _write_surplus(self, table_runs: I4) -> I4:
        """Write the table runs that do not fit beside a step; returns those that do."""
        surplus = table_runs[MAX_RUNS:]
        if len(surplus):
            runs = self._upload(np.ascontiguousarray(surplus, dtype=np.int32))
            count = self._upload(np.array([len(surplus)], np.int32))
            self._model.backend.table_update(runs, count, self._table)
        return table_runs[:MAX_RUNS]

    def _upload(self, values: I4) -> torch.Tensor:
        """On the device, by way of pinned memory: from any other a copy waits for all steps before."""
        tensor = torch.from_numpy(values)
        if self._device.type == "cuda":
            tensor = tensor.pin_memory()
        return tensor.to(self._device, non_blocking=True)

    def _check(self, inputs: StepInputs) -> None:
        config, tokens = self._config, len(inputs.token_ids)
        assert tokens == inputs.counts.sum() <= config.max_step_tokens, "step over its token budget"
        assert 0 <= inputs.rows.min() <= inputs.rows.max() < config.max_rows, "row out of the table"
        assert (inputs.starts + inputs.counts).max() <= config.max_context_tokens, (
            "context too long"
        )

    def _load_kernels(self) -> None:
        """Run one layer in steps of all sizes. A library loads a kernel when a size first needs it, and
        small tensors need memory of the driver: either waits for all that the GPU has to do."""
        for layout in self._layouts.varied():
            self._stage_padding(layout)
            self._run(layout, num_layers=1)
        self._synchronize()

    def _stage_padding(self, layout: StepLayout) -> None:
        """Put a step of nothing but padding on the device."""
        none = np.zeros(0, dtype=np.int32)
        empty = StepInputs(none, none, none, none.astype(bool), none, none.reshape(0, 4))
        slot = self._staging.take()
        runs = empty.table_runs
        self._staging.send(
            slot, pack(arrange(empty), layout, self._config.max_rows, runs, slot.packed)
        )
        self._synchronize()
        self._staging.give_back(slot)

    def _synchronize(self) -> None:
        if self._device.type == "cuda":
            torch.cuda.synchronize(self._device)

    def _ints(self, *size: int) -> torch.Tensor:
        return torch.zeros(*size, dtype=torch.int32, device=self._device)

    def _run(self, layout: StepLayout, num_layers: int | None = None) -> StepResult | None:
        """The device's part of a step, from the packed buffer to the sampled tokens."""
        step = StepTensors.view(self._staging.on_device, layout)
        self._model.backend.table_update(step.runs.view(-1, 4), step.num_runs, self._table)
        ids = torch.empty_like(step.token_ids)
        slots = torch.empty_like(step.token_ids, dtype=torch.int64)
        self._model.backend.token_slots(
            step.token_ids, step.token_rows, step.positions, self._last_tokens,
            self._table, self._pool.block_size, ids, slots,
        )  # fmt: skip
        attention = self._attention.plan(step)
        hidden = self._model.forward(ids, step.positions, slots, self._pool, attention, num_layers)
        if layout.samples == 0:
            return None
        logits = self._model.logits(hidden.index_select(0, step.sample_tokens))
        tokens = self._sampler(logits)
        self._last_tokens.index_copy_(0, step.sample_rows.long(), tokens.int())
        return StepResult(tokens, logits)


@dataclass(slots=True)
class Pending:
    """A launched step. `wait` once, in any order."""

    runner: Runner
    step: ArrangedStep
    slot: Slot
    logits: torch.Tensor | None
    began: Mark
    ended: Mark

    def wait(self) -> StepOutputs:
        """Block until the step's tokens are on the host. Raises DeviceError where the GPU failed."""
        return self.runner.finish(self)
