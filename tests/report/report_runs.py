"""Seeded run directories with plausible numbers: a queue in front of one server, steps, misses.

They look like what `simulate` and `run` write, so that the report can be tested, and looked at,
without either.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pcache.metrics import summarise
from pcache.rundir import NOT_REACHED, REJECTED, REQUEST_COLUMNS, write_run

CEILING = 0.52
MISSES = ("cold", "in_flight", "evicted", "rounding")
PREFILL_TOKENS_PER_S = 34_000.0
STEP_NS = 12_000_000


@dataclass(frozen=True)
class Recipe:
    """One run to make up. `strength` is the share of the ceiling that the policy reaches."""

    label: str = "radix/1"
    index: str = "radix"
    eviction: str = "lru"
    block_size_tokens: int = 1
    strength: float = 0.9
    world: str = "simulated"
    batching: str = "chunked"
    token_budget: int = 8192
    num_requests: int = 400
    num_steps: int = 2000
    requests_per_s: float = 4.0
    kv_tokens: int | None = 400_000
    seed: int = 0
    interrupted_after: int | None = None
    all_rejected: bool = False
    num_warm_up: int = 0
    slowdown: float = 1.0
    ceiling: bool = True
    device: str = "h100"


def prompts(recipe: Recipe) -> tuple[Any, Any, Any, Any]:
    """Arrivals, prompt lengths, output lengths and shared shares: the same for a whole seed."""
    random = np.random.default_rng(recipe.seed)
    num = recipe.num_requests
    rate = recipe.requests_per_s * (1 + 0.5 * np.sin(np.linspace(0, 9, num)))
    arrival = np.cumsum(random.exponential(1e9 / rate)).astype(np.int64)
    prompt = np.clip(random.lognormal(8.4, 0.9, num), 16, 100_000).astype(np.int64)
    output = np.clip(random.lognormal(4.6, 1.0, num), 1, 2000).astype(np.int64)
    shared = np.where(random.random(num) < 0.35, 0.0, random.beta(4, 1.2, num))
    shared *= CEILING * prompt.sum() / max((shared * prompt).sum(), 1.0)
    return arrival, prompt, output, np.minimum(shared, 0.999)


def requests_frame(recipe: Recipe) -> pd.DataFrame:
    """A row a request; latencies from Lindley's recursion for a single prefill server."""
    arrival, prompt, output, shared = prompts(recipe)
    num = recipe.num_requests
    kept = np.random.default_rng(recipe.seed + 1).random(num) < recipe.strength
    available = (prompt * shared).astype(np.int64)
    cached = np.where(kept, available, 0) // recipe.block_size_tokens * recipe.block_size_tokens
    lost = available - cached
    in_flight = np.where(kept, 0, lost // 6)
    noise = np.random.default_rng([recipe.seed, 7, recipe.world == "measured"])
    service = (prompt - cached) / PREFILL_TOKENS_PER_S * 1e9 * recipe.slowdown + 8e6
    service *= noise.lognormal(0, 0.03, num)
    done = np.cumsum(service)
    start = np.maximum.accumulate(arrival - (done - service)) + done - service
    first = start + service
    tpot = noise.lognormal(np.log(14e6 * recipe.slowdown), 0.25, num)
    frame = pd.DataFrame({
        "request_id": [f"r{i}" for i in range(num)],
        "session_id": [f"s{i // 5}" for i in range(num)],
        "turn": np.arange(num) % 5,
        "counted": np.arange(num) >= recipe.num_warm_up,
        "prompt_tokens": prompt, "output_tokens": output, "cached_tokens": cached,
        "miss_cold_tokens": prompt - available, "miss_in_flight_tokens": in_flight,
        "miss_evicted_tokens": np.where(kept, 0, lost - in_flight),
        "miss_rounding_tokens": np.where(kept, lost, 0),
        "recomputed_tokens": np.where(np.arange(num) % 97 == 96, prompt, 0),
        "num_preemptions": (np.arange(num) % 97 == 96).astype(np.int64),
        "arrival_ns": arrival, "admitted_at_ns": start.astype(np.int64),
        "first_token_at_ns": first.astype(np.int64),
        "finished_at_ns": (first + tpot * (output - 1)).astype(np.int64),
        "queue_ms": (start - arrival) / 1e6, "ttft_ms": (first - arrival) / 1e6,
        "tpot_ms": np.where(output > 1, tpot / 1e6, np.nan),
    })  # fmt: skip
    frame["e2e_ms"] = (frame["finished_at_ns"] - frame["arrival_ns"]) / 1e6
    if recipe.all_rejected:
        _never(frame, np.ones(num, bool), REJECTED)
    if recipe.interrupted_after is not None:
        _never(frame, np.arange(num) >= recipe.interrupted_after, NOT_REACHED)
    if recipe.world == "replayed":
        frame = frame[list(REQUEST_COLUMNS)[:11]]
    return frame


def _never(frame: pd.DataFrame, which: Any, cached_tokens: int) -> None:
    frame.loc[which, "cached_tokens"] = cached_tokens
    frame.loc[which, [f"miss_{cause}_tokens" for cause in MISSES]] = 0
    frame.loc[which, ["recomputed_tokens", "num_preemptions"]] = 0
    frame.loc[which, ["admitted_at_ns", "first_token_at_ns", "finished_at_ns"]] = -1
    frame.loc[which, ["queue_ms", "ttft_ms", "tpot_ms", "e2e_ms"]] = np.nan


def steps_frame(recipe: Recipe, requests: pd.DataFrame) -> pd.DataFrame | None:
    """A row a step, its counts taken from the requests running at that moment."""
    ran = requests[requests["finished_at_ns"] >= 0] if "finished_at_ns" in requests else None
    if ran is None or ran.empty:
        return None
    random = np.random.default_rng([recipe.seed, 3, recipe.world == "measured"])
    begin, end = int(ran["arrival_ns"].min()), int(ran["finished_at_ns"].max())
    planned = np.linspace(begin, end, recipe.num_steps, endpoint=False).astype(np.int64)
    count = {
        name: np.searchsorted(np.sort(ran[name].to_numpy()), planned, side="right")
        for name in ("arrival_ns", "admitted_at_ns", "finished_at_ns")
    }
    running = count["admitted_at_ns"] - count["finished_at_ns"]
    waiting = count["arrival_ns"] - count["admitted_at_ns"]
    capacity = recipe.kv_tokens or 10**7
    pinned = np.minimum(running * int(ran["prompt_tokens"].mean()), capacity)
    filled = np.minimum(np.cumsum(running) / max(running.sum(), 1) * 4 * capacity, capacity)
    prefill = np.where(random.random(recipe.num_steps) < 0.3,
                       random.integers(1, 8192, recipe.num_steps), 0)  # fmt: skip
    duration = 7e6 + running * 1e5 + prefill / PREFILL_TOKENS_PER_S * 1e9
    duration *= recipe.slowdown * random.lognormal(0, 0.05, recipe.num_steps)
    if recipe.index == "none":
        filled = pinned
    return pd.DataFrame({
        "planned_at_ns": planned, "launched_at_ns": planned + 50_000,
        "duration_ns": duration.astype(np.int64),
        "ended_at_ns": planned + 50_000 + duration.astype(np.int64), "prefill_tokens": prefill,
        "decode_tokens": running, "context_tokens": pinned, "num_running": running,
        "num_waiting": waiting, "pinned_blocks": pinned // recipe.block_size_tokens,
        "cached_blocks": np.maximum(filled - pinned, 0).astype(int) // recipe.block_size_tokens,
        "evicted_blocks": 0, "num_preemptions": 0,
    })  # fmt: skip


def config_of(recipe: Recipe) -> dict[str, Any]:
    latency = {
        "simulated": "roofline h100 × llama-3.1-8b", "measured": "measured on GPU NVIDIA H100 80GB",
        "replayed": None,
    }[recipe.world]  # fmt: skip
    clock = recipe.world != "replayed"
    return {
        "command": f"pcache simulate conversation.jsonl.xz --policy {recipe.index}",
        "trace": {
            "name": "conversation", "path": "traces/conversation.jsonl.xz",
            "sha256": f"{recipe.seed:064x}", "requests": recipe.num_requests,
        },
        "policy": {
            "index": recipe.index, "eviction": recipe.eviction,
            "block_size_tokens": recipe.block_size_tokens,
        },
        "capacity": {
            "kv_tokens": recipe.kv_tokens,
            "kv_bytes": recipe.kv_tokens and recipe.kv_tokens * 131_072,
        },
        "model": "llama-3.1-8b" if clock else None,
        "gpu": recipe.device if clock else None,
        "latency_source": latency,
        "scheduler": {
            "batching": recipe.batching, "order": "fcfs", "token_budget": recipe.token_budget,
            "max_running": 256, "overlap": 1,
        } if clock else None,
        "slo": {"ttft_ms": 2000.0, "tpot_ms": None},
        "versions": {"pcache": "0.1.0", "python": "3.11.7", "numpy": "2.2.0"},
        "commit": "0123456789abcdef", "seed": recipe.seed,
        **({"ceiling": {str(recipe.block_size_tokens): CEILING}} if recipe.ceiling else {}),
    }  # fmt: skip


def make_run(path: Path, recipe: Recipe) -> Path:
    """Write the run directory of `recipe` at `path`."""
    requests, config = requests_frame(recipe), config_of(recipe)
    steps = steps_frame(recipe, requests)
    summary = summarise(
        requests, steps, world=recipe.world, label=recipe.label,
        block_size_tokens=recipe.block_size_tokens, complete=recipe.interrupted_after is None,
        slo_ttft_ms=config["slo"]["ttft_ms"], kv_capacity_tokens=recipe.kv_tokens,
        kv_capacity_bytes=config["capacity"]["kv_bytes"], latency_source=config["latency_source"],
    )  # fmt: skip
    write_run(path, config, summary, requests, steps)
    return path


RADIX = Recipe()
HASH = Recipe(label="hash/16", index="hash", block_size_tokens=16, strength=0.84)
NONE = Recipe(label="none", index="none", eviction="", block_size_tokens=16, strength=0.0)
LADDER = (
    replace(NONE, label="none static", batching="static", slowdown=1.6),
    replace(NONE, label="none continuous", batching="continuous", slowdown=1.25),
    NONE,
    HASH,
    RADIX,
)
