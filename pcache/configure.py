"""What `replay`, `simulate` and `run` do alike before they start: trace, capacity, labels, config."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from pcache.cache.contract import CacheConfig
from pcache.cache.eviction.user_file import describe_policy
from pcache.errors import ConfigError
from pcache.prefixes import PrefixForest, build_forest
from pcache.provenance import describe_trace, provenance
from pcache.quantities import memory_text, parse_bytes, parse_milliseconds, parse_tokens
from pcache.scheduler.state import SchedulerConfig
from pcache.shapes import ModelShape
from pcache.trace import ceilings, read_trace
from pcache.types import I8, Trace

__all__ = [
    "TraceSetup", "capacity_notes", "capacity_tokens", "check_some_fit", "content_notes",
    "describe_run", "run_label", "set_up", "target_ms",
]  # fmt: skip


@dataclass(frozen=True, slots=True)
class TraceSetup:
    """What all runs of one call share."""

    trace: Trace
    path: str
    forest: PrefixForest
    warm_up: int

    def ceiling(self, block_size: int, *, outputs: bool) -> dict[str, float]:
        """Hit rate of an infinite cache after the warm-up, by block size as text (JSON has no other
        keys)."""
        if not self.trace.has_content:
            return {}
        row = ceilings(self.trace, [block_size], self.forest, self.warm_up).iloc[0]
        return {str(block_size): float(row["by_token_with_outputs" if outputs else "by_token"])}

    def total_tokens(self, *, outputs: bool) -> I8:
        """Tokens of KV that each request has in the end; the last one sampled has none."""
        prompts = self.trace.prompt_tokens.astype(np.int64)
        return prompts + self.trace.output_tokens - 1 if outputs else prompts


def set_up(trace: Trace | str | Path, warm_up: int, path: str | None) -> tuple[Trace, TraceSetup]:
    """Read the trace if it is a path, and build its forest. Raises ConfigError if warm-up leaves
    nothing to count."""
    loaded = trace if isinstance(trace, Trace) else read_trace(trace)
    if not 0 <= warm_up < len(loaded):
        raise ConfigError(
            f"--warm-up {warm_up} leaves none of the {len(loaded)} requests to count; use less"
        )
    source = path or (loaded.name if isinstance(trace, Trace) else str(trace))
    return loaded, TraceSetup(loaded, source, build_forest(loaded), warm_up)


def describe_run(
    setup: TraceSetup, command: str, config: CacheConfig, shape: ModelShape
) -> dict[str, Any]:
    """The part of `config.json` that every command writes."""
    tokens = config.kv_tokens
    return {
        "command": command,
        "trace": describe_trace(setup.trace, setup.path),
        "policy": {
            "index": config.index,
            "eviction": config.eviction,
            "block_size_tokens": config.block_size,
            "append_unkeyed": config.append_unkeyed,
            **describe_policy(config.eviction),
        },
        "capacity": {
            "kv_tokens": tokens,
            "kv_bytes": None if tokens is None else tokens * shape.kv_bytes_per_token,
        },
        "model": shape.name,
        "warm_up": setup.warm_up,
        **provenance(),
    }


def capacity_tokens(
    kv_tokens: str | int | None,
    kv_memory: str | None,
    shape: ModelShape,
    default: int | None = None,
) -> int | None:
    """Capacity in tokens from either option, `default` where neither is given, None for unlimited."""
    if kv_memory is not None:
        if kv_tokens is not None:
            raise ConfigError("--kv-tokens and --kv-memory both set the capacity; give one of them")
        return parse_bytes("--kv-memory", kv_memory) // shape.kv_bytes_per_token
    return default if kv_tokens is None else parse_tokens("--kv-tokens", str(kv_tokens))


def check_some_fit(configs: Sequence[CacheConfig], num_tokens: I8) -> None:
    """Raise ConfigError if a cache holds none of the requests, whose KV has `num_tokens` tokens."""
    shortest = int(num_tokens.min())
    for config in configs:
        if config.rejects(shortest):
            raise ConfigError(
                f"a capacity of {config.kv_tokens:,} tokens of {config.label} holds none of the "
                f"{len(num_tokens):,} requests, of which the shortest has {shortest:,} tokens; raise "
                "--kv-tokens or --kv-memory"
            )


def target_ms(option: str, value: str | float | None) -> float | None:
    """A latency target in milliseconds."""
    return None if value is None else parse_milliseconds(option, str(value))


def run_label(config: CacheConfig, rules: SchedulerConfig) -> str:
    """Short name of a configuration for tables and directories: the cache, then what is not usual."""
    words = [config.label]
    if rules.batching != "chunked":
        words.append(rules.batching)
    if rules.order != "fcfs":
        words.append(rules.order)
    return " ".join(words)


def content_notes(trace: Trace) -> list[str]:
    """What to know about a trace without content."""
    if trace.has_content:
        return []
    return [f"{trace.name} holds lengths only: no prompt shares a prefix, so nothing can hit."]


def capacity_notes(
    capacity: int | None, fits: int | None, shape: ModelShape, gpu: str
) -> list[str]:
    """What the capacity means in bytes, and whether it would fit (`fits` None: unknown)."""
    size = "" if capacity is None else f" = {memory_text(capacity * shape.kv_bytes_per_token)}"
    held = "unlimited" if capacity is None else f"{capacity:,} tokens"
    notes = [f"KV capacity {held}{size} of {shape.name}."]
    if fits is not None and (capacity is None or capacity > fits):
        notes.append(f"That is more than fits beside the weights on {gpu}: {fits:,} tokens.")
    return notes
