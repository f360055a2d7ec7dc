"""The command line's verbs as functions: `replay` and `simulate` on a trace, frames back.

    >>> import pcache
    >>> runs = pcache.simulate("traces/multi-turn-chat.jsonl.xz", "radix,hash,none", gpu="h100")
    >>> runs.summary[["label", "hit_rate", "ttft_p50_ms"]]

Options have the names and meanings of the command line's; `pcache simulate --help` explains them.
`path` is recorded as the origin of a trace that was read before.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay as replay_policy
from pcache.configure import (
    TraceSetup,
    capacity_notes,
    capacity_tokens,
    check_some_fit,
    content_notes,
    describe_run,
    run_label,
    set_up,
    target_ms,
)  # fmt: skip
from pcache.errors import ConfigError
from pcache.interrupt import held_interrupt
from pcache.metrics import summarise
from pcache.policies import parse_policies
from pcache.results import Results
from pcache.rundir import REQUEST_COLUMNS, Run
from pcache.scheduler.state import SchedulerConfig, check_order
from pcache.shapes import ModelShape, model_shape
from pcache.sim.latency import DEFAULT_GPU, DEFAULT_MODEL, Latency, choose_latency
from pcache.sim.simulate import simulate_policy
from pcache.types import Trace

__all__ = ["DEFAULT_GPU", "DEFAULT_MODEL", "DEFAULT_POLICIES", "replay", "simulate"]

DEFAULT_POLICIES = "radix,hash,none"

Progress = Callable[[str, float], None]
"""Called with a run's label and the number of requests done."""


def replay(
    trace: Trace | str | Path,
    policy: str = DEFAULT_POLICIES,
    *,
    block_size: int = 16,
    evict: str = "lru",
    kv_tokens: str | int | None = None,
    kv_memory: str | None = None,
    model: str = DEFAULT_MODEL,
    outputs: bool = False,
    append_unkeyed: bool = False,
    warm_up: int = 0,
    path: str | None = None,
) -> Results:
    """Replay serially through each policy's cache, without a clock: exact hit rates.

    Without `kv_tokens` or `kv_memory` the capacity is unlimited. Raises TraceError for an
    unreadable trace and ConfigError for options that cannot work.
    """
    loaded, setup = set_up(trace, warm_up, path)
    shape = model_shape(model)
    capacity = capacity_tokens(kv_tokens, kv_memory, shape)
    configs = parse_policies(
        policy, block_size=block_size, eviction=evict, kv_tokens=capacity,
        append_unkeyed=append_unkeyed,
    )  # fmt: skip
    check_some_fit(configs, setup.total_tokens(outputs=outputs))
    runs = [_replay_one(setup, config, shape, outputs) for config in configs]
    return Results(runs, content_notes(loaded))


def simulate(
    trace: Trace | str | Path,
    policy: str = DEFAULT_POLICIES,
    *,
    model: str | None = None,
    gpu: str | None = None,
    tp: int = 1,
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
    ladder: bool = False,
    profile: str | Path | None = None,
    step_overhead_ms: float | None = None,
    slo_ttft: str | float | None = None,
    slo_tpot: str | float | None = None,
    warm_up: int = 0,
    path: str | None = None,
    progress: Progress | None = None,
) -> Results:
    """Simulate each policy under the same load on the same GPU.

    Step times come from `profile`: a file that `pcache calibrate` wrote, which names model and GPU;
    by default the shipped profile of `gpu` (h100) with `model` (llama-3.1-8b), or where there is
    none, or for "roofline", from a roofline with `step_overhead_ms` (1) a step.
    The capacity is `kv_tokens` or `kv_memory`, or else what fits beside the weights. `ladder` puts
    the uncached steps of serving in front: static batching, continuous batching, chunked prefill.
    Ctrl-C ends the run at hand, which is returned incomplete with those before it. Raises TraceError
    for an unreadable trace and ConfigError for options that cannot work.
    """
    loaded, setup = set_up(trace, warm_up, path)
    latency = choose_latency(model, gpu, tp, profile, step_overhead_ms)
    shape, cost, fits = latency.shape, latency.cost, latency.kv_fits_tokens
    capacity = capacity_tokens(kv_tokens, kv_memory, shape, default=fits)
    if capacity is None and fits is None and kv_tokens is None:
        raise ConfigError(f"nobody knows how much KV fits on {latency.gpu}: give --kv-tokens")
    configs = parse_policies(
        policy, block_size=block_size, eviction=evict, kv_tokens=capacity,
        append_unkeyed=append_unkeyed,
    )  # fmt: skip
    check_some_fit(configs, setup.total_tokens(outputs=True))
    scheduler = SchedulerConfig(batching, order, token_budget, max_running, overlap)
    for config in configs:
        check_order(scheduler, config)
    cells = [(config, scheduler) for config in configs]
    if ladder:
        uncached = CacheConfig("none", block_size, capacity)
        rungs = [
            (uncached, replace(scheduler, batching=b)) for b in ("static", "continuous", "chunked")
        ]
        cells = rungs + [cell for cell in cells if cell not in rungs]
    targets = (target_ms("--slo-ttft", slo_ttft), target_ms("--slo-tpot", slo_tpot))
    runs: list[Run] = []
    with held_interrupt() as raise_if_pressed:

        def report(label: str, done: float) -> None:
            raise_if_pressed()  # here the run at hand can be left: between two slices of steps
            if progress is not None:
                progress(label, done)

        for config, rules in cells:
            label = run_label(config, rules)
            described = {
                **describe_run(setup, "simulate", config, shape),
                "scheduler": asdict(rules),
                "gpu": latency.gpu,
                "tp": tp,
                **latency.described,
                "latency_source": cost.source,
                "slo": {"ttft_ms": targets[0], "tpot_ms": targets[1]},
                "ceiling": setup.ceiling(config.block_size, outputs=True),
            }
            run = simulate_policy(
                loaded,
                config,
                rules,
                cost,
                forest=setup.forest,
                label=label,
                config=described,
                warm_up=warm_up,
                slo_ttft_ms=targets[0],
                slo_tpot_ms=targets[1],
                kv_bytes_per_token=shape.kv_bytes_per_token,
                progress=partial(report, label),
            )
            runs.append(run)
            if not run.summary["complete"]:
                break
    notes = [*content_notes(loaded), *capacity_notes(capacity, fits, shape, latency.gpu)]
    return Results(runs, [*notes, *_latency_notes(latency, configs)])


def _latency_notes(latency: Latency, configs: Sequence[CacheConfig]) -> list[str]:
    size = latency.described.get("profile", {}).get("block_size_tokens")
    others = sorted(
        {config.block_size for config in configs if size not in (None, config.block_size)}
    )
    if not others:
        return [latency.note]
    named = ", ".join(map(str, others))
    return [latency.note, f"It was measured with blocks of {size} tokens; here they have {named}."]


def _replay_one(setup: TraceSetup, config: CacheConfig, shape: ModelShape, outputs: bool) -> Run:
    trace, warm_up = setup.trace, setup.warm_up
    result = replay_policy(trace, config, outputs=outputs, forest=setup.forest)
    columns = list(REQUEST_COLUMNS)
    num_columns = columns.index("miss_rounding_tokens") + 1
    values = [
        trace.request_ids, trace.session_ids, trace.turn, np.arange(len(trace)) >= warm_up,
        trace.prompt_tokens, trace.output_tokens, result.cached_tokens, *result.misses.T,
    ]  # fmt: skip
    requests = pd.DataFrame(dict(zip(columns[:num_columns], values, strict=True)))
    described = describe_run(setup, "replay", config, shape)
    summary = summarise(
        requests,
        None,
        world="replayed",
        label=config.label,
        block_size_tokens=config.block_size,
        kv_capacity_tokens=config.kv_tokens,
        kv_capacity_bytes=described["capacity"]["kv_bytes"],
        output_hit_tokens=int(result.generated_hits[warm_up:].sum()),
    )
    described |= {
        "outputs": outputs,
        "ceiling": setup.ceiling(config.block_size, outputs=outputs),
    }
    return Run(described, summary, requests)
