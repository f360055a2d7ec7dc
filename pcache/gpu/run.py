"""`pcache run`: traces on the real engine, the same configurations as the simulator's."""

from __future__ import annotations

import gc
import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import torch

from pcache.cache.contract import CacheConfig
from pcache.errors import ConfigError, DeviceError
from pcache.gpu.backend import backend_named
from pcache.gpu.clock import GPU_REST_NS, Clock
from pcache.gpu.device import device_errors, dtype_named, open_device
from pcache.gpu.engine import EngineRun, compile_loop
from pcache.gpu.kv_pool import KVPool, kv_block_bytes
from pcache.gpu.layouts import NO_GRAPHS, GraphBuckets
from pcache.gpu.model import Model
from pcache.gpu.prompts import RequestTokens, request_tokens
from pcache.gpu.provenance import measured_with
from pcache.gpu.runner import PrepareReport, Runner, RunnerConfig
from pcache.gpu.sampling import SamplingConfig
from pcache.gpu.weight_sources import open_source
from pcache.gpu.weights import load_weights, random_weights
from pcache.prefixes import PrefixForest
from pcache.rundir import Run
from pcache.scheduler.results import RunFacts, run_from_scheduler
from pcache.scheduler.state import SchedulerConfig
from pcache.scheduler.steps import steps_frame
from pcache.shapes import ModelShape, model_shape
from pcache.types import Trace

__all__ = [
    "USUAL_SHARE", "EngineSettings", "GpuBench", "Served", "hardware", "load_model", "longest_context",
    "memory_tokens", "threads_for", "usual_settings",
]  # fmt: skip

USUAL_SHARE = 0.9
"""Of the memory that is free beside the weights; the rest is for steps and graphs."""

_SHARED_BY_THREADS = 512
"""Hidden size from which on a CPU's threads pay."""


@dataclass(frozen=True, slots=True)
class EngineSettings:
    """What the simulator has not: the device, the weights and how the engine runs.

    `weights` is `random` (the model is then one of pcache.shapes) or nothing when `model` is a
    Hugging Face directory or a GGUF file. `skip_idle` sets the clock forward instead of waiting for
    arrivals while nothing runs, on a GPU after `GPU_REST_NS`. `poison` fills handed-out blocks with NaN
    before they are written.
    """

    model: str
    device: str = "cuda"
    dtype: str = "bf16"
    kernels: str = "triton"
    seed: int = 0
    temperature: float = 0.0
    top_p: float = 1.0
    graphs: bool = True
    skip_idle: bool = False
    poison: bool = False


def usual_settings(
    model: str | None, device: str, dtype: str | None = None, **others: Any
) -> EngineSettings:
    """What is usual on this device where nothing is given; `others` are more fields of the settings."""
    on_cpu = device == "cpu"
    return EngineSettings(
        model=model or ("tiny" if on_cpu else "llama-3.1-8b"),
        device=device,
        dtype=dtype or ("fp32" if on_cpu else "bf16"),
        kernels="reference" if on_cpu else "triton",
        graphs=not on_cpu,
        **others,
    )


def load_model(settings: EngineSettings, max_context_tokens: int) -> Model:
    """A model by shape name with random weights, or from a directory or GGUF file."""
    device, dtype = open_device(settings.device), dtype_named(settings.dtype)
    path = Path(settings.model)
    with device_errors("loading the weights"):
        if path.exists():
            source = open_source(path)
            shape, weights = source.shape, load_weights(source.shape, source, dtype, device)
        else:
            shape = model_shape(settings.model)
            _check_host_memory(shape, device, dtype)
            weights = random_weights(shape, settings.seed, dtype, device)
    return Model(shape, weights, backend_named(settings.kernels), max_context_tokens)


def _check_host_memory(shape: ModelShape, device: torch.device, dtype: torch.dtype) -> None:
    """Raise ConfigError where the weights are larger than all memory of a CPU."""
    needed = shape.weight_bytes // shape.dtype_bytes * dtype.itemsize
    there = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if device.type == "cpu" and needed > there:
        raise ConfigError(
            f"the weights of {shape.name} take {needed / 2**30:.1f} GiB, this machine has "
            f"{there / 2**30:.1f}: take a smaller model, as --model tiny, or a GPU"
        )


def memory_tokens(model: Model, share: float = USUAL_SHARE) -> int:
    """Tokens of KV that fit into this share of the free memory of the model's device now."""
    if model.device.type != "cuda":
        raise ConfigError("a CPU has no memory of its own to fill: give --kv-tokens, as 20k")
    torch.cuda.empty_cache()
    free, _ = torch.cuda.mem_get_info(model.device)
    return int(free * share) // kv_block_bytes(model.shape, 1, model.dtype)


@dataclass(frozen=True, slots=True)
class Served:
    """A trace made ready for one model."""

    trace: Trace
    forest: PrefixForest
    tokens: RequestTokens
    loop_compile_ns: int


@dataclass(frozen=True, slots=True)
class _Prepared:
    """A runner with its pool and graphs, and what making it took."""

    runner: Runner
    pool: KVPool
    limits: RunnerConfig
    report: PrepareReport


@dataclass(frozen=True, slots=True)
class _Measured:
    """How one run went. `kept` where runner and graphs were those of the run before."""

    prepared: PrepareReport
    kept: bool
    complete: bool
    failure: str | None


def longest_context(trace: Trace) -> int:
    """The longest prompt with its output, rounded up so that models are built for few lengths."""
    longest = int((trace.prompt_tokens.astype("int64") + trace.output_tokens).max())
    return -(-longest // 512) * 512


class GpuBench:
    """One loaded model that serves runs, one after another, of one or several traces.

    The KV pool and the CUDA graphs over it stay for the next run where they serve it: a smaller cache
    hands out the first blocks of the pool and never touches the others. `pool_tokens` makes the pool
    larger than the first run needs, for the sake of later ones.
    """

    def __init__(self, settings: EngineSettings, max_context: int, pool_tokens: int = 0) -> None:
        self._settings, self._pool_tokens = settings, pool_tokens
        self.max_context = max_context
        self.model = load_model(settings, max_context)
        self._prepared: _Prepared | None = None

    def serve(self, trace: Trace, forest: PrefixForest) -> Served:
        """Make a trace ready. Raises ConfigError where its longest request is too long."""
        if longest_context(trace) > self.max_context:
            raise ConfigError(
                f"{trace.name} has requests of {longest_context(trace):,} tokens, but the model was "
                f"loaded for {self.max_context:,}"
            )
        tokens = request_tokens(trace, self.model.shape.vocab_size)
        began = time.perf_counter_ns()
        compile_loop(trace)
        return Served(trace, forest, tokens, time.perf_counter_ns() - began)

    def run(
        self,
        served: Served,
        cache_config: CacheConfig,
        rules: SchedulerConfig,
        facts: RunFacts,
        config: dict[str, Any],
        progress: Callable[[float], None] | None = None,
    ) -> Run:
        """Run a trace under one policy. An interrupted run, or one whose device failed, comes back
        incomplete; the latter with `failure` in its config."""
        settings = self._settings
        engine = EngineRun(
            served.trace, served.forest, served.tokens, cache_config, rules, poison=settings.poison
        )
        with threads_for(self.model):
            measured = self._measure(engine, served.trace, cache_config, rules, progress)
        if settings.poison or not measured.complete:
            self.release()
        described = config | {
            "hardware": hardware(self.model.device),
            "engine": asdict(settings) | {"model": self.model.shape.name},
            "before_time_zero": asdict(measured.prepared)
            | {"loop_compile_ns": served.loop_compile_ns, "kept": measured.kept},
            "failure": measured.failure,
        }
        facts = replace(facts, complete=measured.complete)
        run = run_from_scheduler(
            served.trace, engine.scheduler, steps_frame(engine.steps), described, facts
        )
        return replace(run, events=engine.events, instants=engine.instants)

    def release(self) -> None:
        """Give the pool's memory back."""
        self._prepared = None
        gc.collect()

    def _measure(
        self,
        engine: EngineRun,
        trace: Trace,
        cache_config: CacheConfig,
        rules: SchedulerConfig,
        progress: Callable[[float], None] | None,
    ) -> _Measured:
        report, kept = PrepareReport(0, 0, 0), False
        try:
            prepared, kept = self._prepare(trace, cache_config, rules)
            report = prepared.report
            rest_ns = GPU_REST_NS if self.model.device.type == "cuda" else 0
            with _settled_garbage():
                clock = Clock(self._settings.skip_idle, rest_ns)
                complete = engine.run(prepared.runner, clock, progress)
        except DeviceError as error:
            return _Measured(report, kept, False, str(error))
        except KeyboardInterrupt:  # before time zero; later ones end the engine's run in order
            return _Measured(report, kept, False, None)
        return _Measured(report, kept, complete, None)

    def _prepare(
        self, trace: Trace, cache_config: CacheConfig, rules: SchedulerConfig
    ) -> tuple[_Prepared, bool]:
        """The prepared runner if it serves this configuration, else a new one in its place; and whether
        it is the one from before."""
        assert cache_config.kv_tokens is not None, "a GPU's cache has a size"
        size, settings, model = cache_config.block_size, self._settings, self.model
        num_blocks = cache_config.kv_tokens // size + 1  # id 0 is never handed out
        whole = int(trace.prompt_tokens.max()) if rules.batching != "chunked" else 0
        limits = RunnerConfig(
            self.max_context,
            max(rules.max_running, 256),
            max(rules.token_budget, whole),
            SamplingConfig(settings.temperature, settings.top_p, settings.seed),
            GraphBuckets() if settings.graphs else NO_GRAPHS,
        )
        held = self._prepared
        if held is not None:
            same = held.pool.block_size == size and held.limits == limits
            if same and held.pool.num_blocks >= num_blocks:
                return held, True
            del held  # or its pool would be there beside the new one
            self.release()
        num_blocks = max(num_blocks, self._pool_tokens // size + 1)
        pool = KVPool(
            model.shape, num_blocks, size, model.dtype, model.device, poison=settings.poison
        )
        runner = Runner(model, pool, limits)
        self._prepared = _Prepared(runner, pool, limits, runner.prepare())
        return self._prepared, False


@contextmanager
def _settled_garbage() -> Iterator[None]:
    """Collect garbage now and leave what is alive out of collections inside: torch, Triton and Numba
    have so many objects that looking at all of them takes the interpreter a tenth of a second."""
    gc.collect()
    gc.freeze()
    try:
        yield
    finally:
        gc.unfreeze()


@contextmanager
def threads_for(model: Model) -> Iterator[None]:
    """On a CPU, products of small matrices take several times longer when threads share them."""
    before = torch.get_num_threads()
    if model.device.type == "cpu" and model.shape.hidden_size < _SHARED_BY_THREADS:
        torch.set_num_threads(1)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def hardware(device: torch.device) -> dict[str, Any]:
    """The device, its memory and clocks, and the versions that drive it."""
    described: dict[str, Any] = dict(measured_with())
    if device.type == "cuda":
        properties = torch.cuda.get_device_properties(device)
        described["memory_bytes"] = properties.total_memory
        described["multiprocessors"] = properties.multi_processor_count
        try:
            described["sm_clock_mhz"] = torch.cuda.clock_rate(device)
        except (RuntimeError, ModuleNotFoundError):  # needs NVML's Python bindings
            described["sm_clock_mhz"] = None
    return described
