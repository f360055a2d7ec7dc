"""`simulate --replay-steps`: the simulator takes a measured run's decisions from its instants alone."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pcache.cache.contract import CacheConfig
from pcache.errors import ConfigError, RunDirectoryError
from pcache.prefixes import PrefixForest, build_forest
from pcache.provenance import describe_trace
from pcache.recording import read_recording
from pcache.rundir import RunDirectory, read_run
from pcache.scheduler.state import SchedulerConfig
from pcache.sim.parity import first_difference, replay_instants
from pcache.types import Trace

__all__ = ["Verdict", "recorded_rules", "replay_steps"]

_SAME_TRACE = {
    "sha256": "of another trace",
    "requests": "of another part of the trace (--limit, --start, --end)",
    "span_ns": "at another pace (--time-scale)",
    "tokenizer": "with another tokenizer (--tokenizer)",
}


@dataclass(frozen=True, slots=True)
class Verdict:
    """Of one run: how many decisions and actions of the loop were recorded, and where the replay
    parts from them; `difference` is None where every byte is the same."""

    path: Path
    label: str
    decisions: int
    actions: int
    difference: str | None


def replay_steps(trace: Trace, path: Path) -> list[Verdict]:
    """Replay the run at `path`, or the runs directly below it, with the configurations they record.

    Raises RunDirectoryError where nothing was recorded, ConfigError where it was of another trace.
    """
    runs = _runs(path)
    forest = build_forest(trace)
    return [_replay(trace, forest, run) for run in runs]


def _runs(path: Path) -> Sequence[Path]:
    if (path / "summary.json").is_file():
        return [path]
    runs = sorted(child.parent for child in path.glob("*/summary.json"))
    if not runs:
        raise RunDirectoryError(f"{path}: no run here; give a directory that `pcache run` wrote")
    return runs


def _replay(trace: Trace, forest: PrefixForest, path: Path) -> Verdict:
    run = read_run(path)
    events, instants = read_recording(path)
    cache, rules = recorded_rules(trace, run)
    replayed = replay_instants(trace, forest, cache, rules, instants)
    difference = first_difference(trace, events, instants, replayed)
    if difference is None:
        assert replayed.events.tobytes() == events.tobytes(), "no difference, yet other bytes"
    return Verdict(path, str(run.summary["label"]), len(events), len(instants), difference)


def recorded_rules(trace: Trace, run: RunDirectory) -> tuple[CacheConfig, SchedulerConfig]:
    """Cache and scheduler of a recorded run, once it is certain that it was of this trace.

    Raises RunDirectoryError for a record that lacks them, ConfigError for another trace.
    """
    _check_trace(trace, run.path, run.config)
    try:
        policy = run.config["policy"]
        cache = CacheConfig(
            policy["index"], policy["block_size_tokens"], run.config["capacity"]["kv_tokens"],
            policy["eviction"], policy["append_unkeyed"],
        )  # fmt: skip
        return cache, SchedulerConfig(**run.config["scheduler"])
    except (KeyError, TypeError) as error:
        raise RunDirectoryError(f"{run.path}: config.json lacks {error}; run it again") from error


def _check_trace(trace: Trace, path: Path, config: dict[str, Any]) -> None:
    own, given = config.get("trace", {}), describe_trace(trace, "")
    for field, words in _SAME_TRACE.items():
        if own.get(field) != given[field]:
            raise ConfigError(
                f"{path} was run {words}: its {field} is {own.get(field)}, this one's "
                f"{given[field]}; read the trace as that run did"
            )
