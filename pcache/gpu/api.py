"""`pcache.run`: the counterpart of `pcache.simulate` on a real device."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import torch

from pcache.configure import (
    capacity_tokens,
    check_some_fit,
    content_notes,
    describe_run,
    run_label,
    set_up,
    target_ms,
)
from pcache.gpu.run import (
    USUAL_SHARE,
    EngineSettings,
    GpuBench,
    longest_context,
    memory_tokens,
)
from pcache.policies import parse_policies
from pcache.quantities import memory_text, parse_share
from pcache.results import Results, write_below
from pcache.rundir import Run
from pcache.scheduler.results import RunFacts
from pcache.scheduler.state import SchedulerConfig, check_order
from pcache.shapes import ModelShape
from pcache.types import Trace

__all__ = ["run"]


def run(
    trace: Trace | str | Path,
    policy: str = "radix,hash,none",
    *,
    settings: EngineSettings,
    bench: GpuBench | None = None,
    block_size: int = 16,
    evict: str = "lru",
    kv_tokens: str | int | None = None,
    kv_memory: str | None = None,
    append_unkeyed: bool = False,
    batching: str = "chunked",
    order: str = "fcfs",
    token_budget: int = 8192,
    max_running: int = 256,
    overlap: int = 1,
    slo_ttft: str | float | None = None,
    slo_tpot: str | float | None = None,
    warm_up: int = 0,
    path: str | None = None,
    out: str | Path | None = None,
    progress: Callable[[str, float], None] | None = None,
) -> Results:
    """Run the trace under each policy on the device, one after another, with one loaded model.

    Options are those of `pcache.simulate`, with `settings` for the device. `bench` is a model that was
    loaded with these settings before; it keeps KV pool and CUDA graphs for the next call. `kv_memory`
    may also be a share of the memory that is free beside the weights, as `80%`, and is `90%` where no
    capacity is given. Each run is written below `out` as soon as it has ended.

    Raises DeviceError where there is no usable device, and what `simulate` raises.
    """
    loaded, setup = set_up(trace, warm_up, path)
    bench = bench or GpuBench(settings, longest_context(loaded))
    served = bench.serve(loaded, setup.forest)
    shape = replace(bench.model.shape, dtype_bytes=bench.model.dtype.itemsize)
    capacity = _capacity(kv_tokens, kv_memory, shape, bench)
    configs = parse_policies(
        policy, block_size=block_size, eviction=evict, kv_tokens=capacity,
        append_unkeyed=append_unkeyed,
    )  # fmt: skip
    check_some_fit(configs, setup.total_tokens(outputs=True))
    rules = SchedulerConfig(batching, order, token_budget, max_running, overlap)
    for config in configs:
        check_order(rules, config)
    targets = (target_ms("--slo-ttft", slo_ttft), target_ms("--slo-tpot", slo_tpot))
    device = torch.cuda.get_device_name() if bench.model.device.type == "cuda" else "CPU"
    runs: list[Run] = []
    for config in configs:
        label = run_label(config, rules)
        facts = RunFacts(
            world="measured",
            label=label,
            block_size=config.block_size,
            latency_source=f"measured on {device}",
            complete=False,
            warm_up=warm_up,
            slo_ttft_ms=targets[0],
            slo_tpot_ms=targets[1],
            kv_capacity_tokens=config.kv_tokens,
            kv_capacity_bytes=capacity * shape.kv_bytes_per_token,
        )
        described = describe_run(setup, "run", config, shape) | {
            "scheduler": asdict(rules),
            "gpu": device,
            "latency_source": facts.latency_source,
            "slo": {"ttft_ms": targets[0], "tpot_ms": targets[1]},
            "ceiling": setup.ceiling(config.block_size, outputs=True),
        }
        report = None if progress is None else partial(progress, label)
        runs.append(bench.run(served, config, rules, facts, described, report))
        if out is not None:
            write_below(Path(out), runs[-1], len(runs) - 1)
        if not runs[-1].summary["complete"]:
            break
    return Results(
        runs, [*content_notes(loaded), *_notes(runs, capacity, shape.kv_bytes_per_token)]
    )


def _capacity(
    kv_tokens: str | int | None, kv_memory: str | None, shape: ModelShape, bench: GpuBench
) -> int:
    """Tokens that the pool shall hold. A share is one of the memory that is free without a pool.

    Raises ConfigError for a share on a CPU, and where both options are given."""
    share = USUAL_SHARE
    if kv_tokens is None and kv_memory is not None and "%" in kv_memory:
        share, kv_memory = parse_share("--kv-memory", kv_memory), None
    capacity = capacity_tokens(kv_tokens, kv_memory, shape)
    if capacity is not None:
        return capacity
    bench.release()
    return memory_tokens(bench.model, share)


def _notes(runs: list[Run], capacity: int, kv_bytes: int) -> list[str]:
    last, ready = runs[-1].config, runs[0].config["before_time_zero"]
    compiling = ready["loop_compile_ns"] + ready["compile_ns"]
    notes = [
        f"KV capacity {capacity:,} tokens = {memory_text(capacity * kv_bytes)}; latencies are "
        f"{last['latency_source']}.",
        f"Before time zero: {compiling / 1e9:.1f} s compiling and trying the largest step, "
        f"{ready['capture_ns'] / 1e9:.1f} s capturing {ready['num_graphs']} CUDA graphs and loading "
        "kernels.",
    ]
    if last["failure"]:
        notes.insert(0, last["failure"])
    return notes
