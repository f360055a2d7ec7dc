"""`pcache.sweep`: many configurations on one or more traces, in parallel."""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from pathlib import Path

from pcache.configure import target_ms
from pcache.errors import ConfigError
from pcache.quantities import parse_bytes, parse_tokens
from pcache.scheduler.state import SchedulerConfig
from pcache.sim.latency import ROOFLINE, choose_latency
from pcache.sweeps.finish import Sweep, finish
from pcache.sweeps.grid import Grid, TraceFile
from pcache.sweeps.run_cell import read_file

__all__ = ["sweep"]


def sweep(
    traces: Sequence[str | Path | TraceFile],
    out: str | Path,
    *,
    policy: str = "radix,hash",
    evict: str = "lru",
    block_size: str | int = 16,
    kv_tokens: str | int | None = None,
    kv_memory: str | None = None,
    order: str = "fcfs",
    model: str | None = None,
    gpu: str | None = None,
    tp: int = 1,
    profile: str | None = None,
    batching: str = "chunked",
    token_budget: int = 8192,
    max_running: int = 256,
    overlap: int = 1,
    slo_ttft: str | float | None = None,
    slo_tpot: str | float | None = None,
    warm_up: int = 0,
    jobs: int | None = None,
    on: str = "here",
    progress: Callable[[int, int], None] | None = None,
) -> Sweep:
    """Simulate every combination of policies, evictions, capacities, block sizes, orders and traces.

    Axes are comma-separated lists; options are else those of `pcache.simulate`. Without a capacity
    there is one, what fits beside the weights. Finished cells are kept in `out` and not run again.
    `progress` hears how many of how many are finished. Raises ConfigError and TraceError.
    """
    latency = choose_latency(model, gpu, tp, profile, None)
    files = tuple(_with_hash(file) for file in traces)
    grid = Grid(
        traces=files,
        indexes=_words("--policy", policy),
        evictions=_words("--evict", evict),
        capacities=_capacities(
            kv_tokens, kv_memory, latency.shape.kv_bytes_per_token, latency.kv_fits_tokens
        ),
        block_sizes=tuple(_sizes(block_size)),
        orders=_words("--order", order),
        scheduler=SchedulerConfig(batching, "fcfs", token_budget, max_running, overlap),
        model=model,
        gpu=gpu,
        tp=tp,
        profile=profile,
        profile_sha256=None if profile in (None, ROOFLINE) else _digest(Path(str(profile))),
        slo_ttft_ms=target_ms("--slo-ttft", slo_ttft),
        slo_tpot_ms=target_ms("--slo-tpot", slo_tpot),
        warm_up=warm_up,
    )
    total = len(grid.cells()[0])
    heard = None if progress is None else lambda done: progress(done, total)
    return finish(grid, Path(out), jobs=jobs, on=on, progress=heard)


def _with_hash(file: str | Path | TraceFile) -> TraceFile:
    """Read the trace once: a bad one should fail before anything is simulated."""
    given = file if isinstance(file, TraceFile) else TraceFile(str(file), "")
    if given.path == "-":
        raise ConfigError("a sweep reads its traces several times: give a file, not -")
    absolute = {name: getattr(given, name) for name in TraceFile.__dataclass_fields__}
    absolute["path"] = str(Path(given.path).resolve())
    return TraceFile(**absolute | {"sha256": read_file(given).sha256})


def _words(option: str, text: str) -> tuple[str, ...]:
    words = tuple(dict.fromkeys(word.strip() for word in text.split(",")))
    if not all(words):
        raise ConfigError(f"{option} {text!r} has an empty entry; write it like a,b")
    return words


def _sizes(block_size: str | int) -> list[int]:
    words = _words("--block-size", str(block_size))
    if not all(word.isdecimal() for word in words):
        raise ConfigError(f"--block-size {block_size!r} is not understood; write it like 16,64")
    return [int(word) for word in words]


def _capacities(
    kv_tokens: str | int | None, kv_memory: str | None, bytes_per_token: int, default: int | None
) -> tuple[int | None, ...]:
    if kv_tokens is not None and kv_memory is not None:
        raise ConfigError("--kv-tokens and --kv-memory both set capacities; give one of them")
    if kv_memory is not None:
        sizes = (parse_bytes("--kv-memory", word) for word in _words("--kv-memory", kv_memory))
        return tuple(dict.fromkeys(size // bytes_per_token for size in sizes))
    if kv_tokens is not None:
        words = _words("--kv-tokens", str(kv_tokens))
        return tuple(dict.fromkeys(parse_tokens("--kv-tokens", word) for word in words))
    if default is None:
        raise ConfigError("nobody knows how much KV fits there: give --kv-tokens")
    return (default,)


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
