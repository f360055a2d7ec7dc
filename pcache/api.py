"""The command line's verbs as functions: `replay` and `simulate` on a trace, frames back.

    >>> import pcache
    >>> runs = pcache.simulate("traces/multi-turn-chat.jsonl.xz", "radix,hash,none", gpu="h100")
    >>> runs.summary[["label", "hit_rate", "ttft_p50_ms"]]

Options have the names and meanings of the command line's; `pcache simulate --help` explains them.
`path` is recorded as the origin of a trace that was read before.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import asdict, dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay as replay_policy
from pcache.errors import ConfigError
from pcache.metrics import summarise
from pcache.policies import parse_policies
from pcache.prefixes import PrefixForest, build_forest
from pcache.provenance import describe_trace, provenance
from pcache.quantities import parse_bytes, parse_milliseconds, parse_tokens
from pcache.results import Results
from pcache.rundir import REQUEST_COLUMNS, Run
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import ModelShape, gpu_shape, model_shape
from pcache.sim.roofline import DEFAULT_STEP_OVERHEAD_MS, kv_capacity_tokens, roofline
from pcache.sim.simulate import simulate_policy
from pcache.trace import ceilings, read_trace
from pcache.types import Trace

__all__ = ["DEFAULT_GPU", "DEFAULT_MODEL", "DEFAULT_POLICIES", "replay", "simulate"]

DEFAULT_POLICIES = "radix,hash,none"
DEFAULT_MODEL = "llama-3.1-8b"
DEFAULT_GPU = "h100"

Progress = Callable[[str, float], None]
"""Called with a run's label and the number of requests done."""


def replay(
    trace: Trace | str | Path,
    policy: str = DEFAULT_POLICIES,
    *,
    block_size: int = 16,
    evict: str = "lru",
    kv_tokens: str | int | None = "inf",
    kv_memory: str | None = None,
    model: str = DEFAULT_MODEL,
    outputs: bool = False,
    append_unkeyed: bool = False,
    warm_up: int = 0,
    path: str | None = None,
) -> Results:
    """Replay serially through each policy's cache, without a clock: exact hit rates.

    Raises TraceError for an unreadable trace and ConfigError for options that cannot work.
    """
    loaded, setup = _set_up(trace, warm_up, path)
    shape = model_shape(model)
    capacity = _capacity(kv_tokens, kv_memory, shape)
    configs = parse_policies(
        policy, block_size=block_size, eviction=evict, kv_tokens=capacity,
        append_unkeyed=append_unkeyed,
    )  # fmt: skip
    runs = [_replay_one(setup, config, shape, outputs) for config in configs]
    return Results(runs, _content_notes(loaded))


def simulate(
    trace: Trace | str | Path,
    policy: str = DEFAULT_POLICIES,
    *,
    model: str = DEFAULT_MODEL,
    gpu: str = DEFAULT_GPU,
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
    step_overhead_ms: float = DEFAULT_STEP_OVERHEAD_MS,
    slo_ttft: str | float | None = None,
    slo_tpot: str | float | None = None,
    warm_up: int = 0,
    path: str | None = None,
    progress: Progress | None = None,
) -> Results:
    """Simulate each policy under the same load on the same GPU.

    The capacity is `kv_tokens` or `kv_memory`, or else what fits beside the weights. `ladder` puts
    the uncached steps of serving in front: static batching, continuous batching, chunked prefill.
    Ctrl-C ends the run at hand, which is returned incomplete with those before it. Raises TraceError
    for an unreadable trace and ConfigError for options that cannot work.
    """
    loaded, setup = _set_up(trace, warm_up, path)
    shape, card = model_shape(model), gpu_shape(gpu)
    cost = roofline(shape, card, num_gpus=tp, step_overhead_ms=step_overhead_ms)
    fits = kv_capacity_tokens(shape, card, tp)
    capacity = _capacity(kv_tokens, kv_memory, shape, default=fits)
    configs = parse_policies(
        policy, block_size=block_size, eviction=evict, kv_tokens=capacity,
        append_unkeyed=append_unkeyed,
    )  # fmt: skip
    scheduler = SchedulerConfig(batching, order, token_budget, max_running, overlap)
    cells = [(config, scheduler) for config in configs]
    if ladder:
        uncached = CacheConfig("none", block_size, capacity)
        rungs = [
            (uncached, replace(scheduler, batching=b)) for b in ("static", "continuous", "chunked")
        ]
        cells = rungs + [cell for cell in cells if cell not in rungs]
    targets = (_milliseconds("--slo-ttft", slo_ttft), _milliseconds("--slo-tpot", slo_tpot))
    runs: list[Run] = []
    for config, rules in cells:
        label = _label(config, rules)
        run = simulate_policy(
            loaded,
            config,
            rules,
            cost,
            forest=setup.forest,
            label=label,
            config={
                **_config(setup, "simulate", config, shape),
                "scheduler": asdict(rules),
                "gpu": card.name,
                "tp": tp,
                "step_overhead_ms": step_overhead_ms,
                "latency_source": cost.source,
                "slo": {"ttft_ms": targets[0], "tpot_ms": targets[1]},
                "ceiling": setup.ceiling(config.block_size, outputs=True),
            },
            warm_up=warm_up,
            slo_ttft_ms=targets[0],
            slo_tpot_ms=targets[1],
            kv_bytes_per_token=shape.kv_bytes_per_token,
            progress=None if progress is None else partial(progress, label),
        )
        runs.append(run)
        if not run.summary["complete"]:
            break
    return Results(
        runs, [*_content_notes(loaded), *_capacity_notes(capacity, fits, shape, card.name)]
    )


@dataclass(frozen=True, slots=True)
class _Setup:
    """What all runs of one call share."""

    trace: Trace
    path: str
    forest: PrefixForest
    warm_up: int

    def ceiling(self, block_size: int, *, outputs: bool) -> dict[str, float]:
        """Hit rate of an infinite cache, by block size as text (JSON has no other keys)."""
        if not self.trace.has_content:
            return {}
        row = ceilings(self.trace, [block_size], self.forest).iloc[0]
        return {str(block_size): float(row["by_token_with_outputs" if outputs else "by_token"])}


def _set_up(trace: Trace | str | Path, warm_up: int, path: str | None) -> tuple[Trace, _Setup]:
    loaded = trace if isinstance(trace, Trace) else read_trace(trace)
    if not 0 <= warm_up < len(loaded):
        raise ConfigError(
            f"--warm-up {warm_up} leaves none of the {len(loaded)} requests to count; use less"
        )
    source = path or (loaded.name if isinstance(trace, Trace) else str(trace))
    return loaded, _Setup(loaded, source, build_forest(loaded), warm_up)


def _replay_one(setup: _Setup, config: CacheConfig, shape: ModelShape, outputs: bool) -> Run:
    trace, warm_up = setup.trace, setup.warm_up
    result = replay_policy(trace, config, outputs=outputs, forest=setup.forest)
    columns = list(REQUEST_COLUMNS)
    num_columns = columns.index("miss_rounding_tokens") + 1
    values = [
        trace.request_ids, trace.session_ids, trace.turn, np.arange(len(trace)) >= warm_up,
        trace.prompt_tokens, trace.output_tokens, result.cached_tokens, *result.misses.T,
    ]  # fmt: skip
    requests = pd.DataFrame(dict(zip(columns[:num_columns], values, strict=True)))
    described = _config(setup, "replay", config, shape)
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


def _config(setup: _Setup, command: str, config: CacheConfig, shape: ModelShape) -> dict[str, Any]:
    tokens = config.kv_tokens
    return {
        "command": command,
        "trace": describe_trace(setup.trace, setup.path),
        "policy": {
            "index": config.index,
            "eviction": config.eviction,
            "block_size_tokens": config.block_size,
            "append_unkeyed": config.append_unkeyed,
        },
        "capacity": {
            "kv_tokens": tokens,
            "kv_bytes": None if tokens is None else tokens * shape.kv_bytes_per_token,
        },
        "model": shape.name,
        "warm_up": setup.warm_up,
        **provenance(),
    }


def _capacity(
    kv_tokens: str | int | None,
    kv_memory: str | None,
    shape: ModelShape,
    default: int | None = None,
) -> int | None:
    if kv_memory is not None:
        if kv_tokens not in (None, "inf"):
            raise ConfigError("--kv-tokens and --kv-memory both set the capacity; give one of them")
        return parse_bytes("--kv-memory", kv_memory) // shape.kv_bytes_per_token
    return default if kv_tokens is None else parse_tokens("--kv-tokens", str(kv_tokens))


def _milliseconds(option: str, value: str | float | None) -> float | None:
    return None if value is None else parse_milliseconds(option, str(value))


def _label(config: CacheConfig, rules: SchedulerConfig) -> str:
    words = [config.label]
    if rules.batching != "chunked":
        words.append(rules.batching)
    if rules.order != "fcfs":
        words.append(rules.order)
    return " ".join(words)


def _content_notes(trace: Trace) -> list[str]:
    if trace.has_content:
        return []
    return [f"{trace.name} holds lengths only: no prompt shares a prefix, so nothing can hit."]


def _capacity_notes(capacity: int | None, fits: int, shape: ModelShape, gpu: str) -> list[str]:
    size = "" if capacity is None else f" = {capacity * shape.kv_bytes_per_token / 2**30:.1f} GiB"
    held = "unlimited" if capacity is None else f"{capacity:,} tokens"
    notes = [f"KV capacity {held}{size} of {shape.name}; latencies are simulated, not measured."]
    if capacity is None or capacity > fits:
        notes.append(f"That is more than fits beside the weights on {gpu}: {fits:,} tokens.")
    return notes
