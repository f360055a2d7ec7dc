"""The runs of one report: found on disk, named so that no two look the same, given a colour.

Runs of the same configuration in different worlds share a colour, and a run without a cache is
grey, so that a reader can follow one configuration through every chart.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from pcache.errors import RunDirectoryError
from pcache.report.style import COLORS, DASHES, NO_CACHE_COLOR, Dash
from pcache.report.units import count_text
from pcache.rundir import NOT_REACHED, RunDirectory, read_run
from pcache.types import F8

__all__ = [
    "WORLD_SUFFIXES",
    "Run",
    "configuration",
    "find_runs",
    "load_runs",
    "name_of",
    "setting",
]

SCHEDULER_RULES = ("batching", "order", "token_budget", "max_running", "overlap")
"""What of the scheduler decides results. Pairs may differ in anything else it notes."""
WORLD_SUFFIXES = {"simulated": " · sim", "replayed": " · replay"}
"""Behind the names of runs; measured ones have their device there."""


@dataclass(frozen=True, slots=True)
class Run:
    """One run of a report. `counted` are those of `requests` that enter the metrics."""

    name: str
    color: str
    dash: Dash
    path: Path
    config: dict[str, Any]
    summary: dict[str, Any]
    requests: pd.DataFrame
    counted: pd.DataFrame
    steps: pd.DataFrame | None

    @property
    def world(self) -> str:
        return str(self.summary["world"])

    @property
    def device(self) -> str:
        """What a measured run was measured on: GPU or CPU."""
        return _device(self.config)

    @property
    def complete(self) -> bool:
        return bool(self.summary["complete"])

    @property
    def index(self) -> str:
        return str(setting(self.config, "policy.index") or "")

    @property
    def ceiling(self) -> float | None:
        """Hit rate of an infinite cache at this run's block size; None if unknown or no cache."""
        if self.index == "none":
            return None
        shares = self.config.get("ceiling") or {}
        share = shares.get(str(setting(self.config, "policy.block_size_tokens")))
        return None if share is None else float(share)

    @property
    def block_size_tokens(self) -> int:
        return int(setting(self.config, "policy.block_size_tokens") or 1)

    @property
    def start_ns(self) -> int:
        """First arrival, where the time axis begins; 0 without a clock."""
        clock = "arrival_ns" in self.requests and len(self.requests) > 0
        return int(self.requests["arrival_ns"].min()) if clock else 0

    def latency(self, name: str) -> F8:
        """The counted requests' `name`_ms where it happened; empty without a clock."""
        if f"{name}_ms" not in self.counted:
            return np.empty(0)
        values = self.counted[f"{name}_ms"].to_numpy(np.float64)
        return np.asarray(values[~np.isnan(values)])


def load_runs(paths: Sequence[Path]) -> list[Run]:
    """Read every run at or below `paths`. Raises RunDirectoryError where there is none."""
    directories = [read_run(path) for path in find_runs(paths)]
    names = _distinct_names(directories)
    looks = _looks(directories)
    return [
        _run(directory, name, *look)
        for directory, name, look in zip(directories, names, looks, strict=True)
    ]


def find_runs(paths: Sequence[Path]) -> list[Path]:
    """Run directories in the order given; a parent stands for its runs one or two levels below, in
    the order in which their command ran them."""
    found: dict[Path, Path] = {}
    for path in paths:
        levels = ("summary.json", "*/summary.json", "*/*/summary.json")
        below = next((hits for level in levels if (hits := sorted(path.glob(level)))), None)
        if below is None:
            problem = "no run directory here" if path.is_dir() else "no such directory"
            raise RunDirectoryError(
                f"{path}: {problem}; give a directory that simulate, run or replay wrote with --out"
            )
        level = len(below[0].relative_to(path).parts) - 1
        for config in sorted(path.glob("*/" * level + "config.json")):
            if not (config.parent / "summary.json").exists():
                raise RunDirectoryError(
                    f"{config.parent}: no summary.json here, the run was not written to its end; run "
                    "it again or take the directory away"
                )
        for summary in sorted(below, key=_place):
            found.setdefault(summary.parent.resolve(), summary.parent)
    return list(found.values())


def _place(summary: Path) -> tuple[Path, int, Path]:
    """Sorts runs by their parent, then by their place in it, where config.json knows it."""
    try:
        config = json.loads((summary.parent / "config.json").read_text(encoding="utf-8"))
        place = int(config.get("place", 0))
    except (OSError, ValueError, TypeError, AttributeError):  # told when the run is read
        place = 0
    return summary.parent.parent, place, summary.parent


def _device(config: dict[str, Any]) -> str:
    return "CPU" if name_of(config.get("gpu")) == "CPU" else "GPU"


def _suffix(directory: RunDirectory) -> str:
    return WORLD_SUFFIXES.get(directory.summary["world"], f" · {_device(directory.config)}")


def setting(config: dict[str, Any], dotted: str) -> Any:
    """`setting(config, "policy.index")`; None where any part is missing."""
    value: Any = config
    for part in dotted.split("."):
        value = value.get(part) if isinstance(value, dict) else None
    return value


def name_of(value: Any) -> str:
    """A model or GPU as the configuration gives it: its name, or a mapping that has one."""
    return str(value.get("name", "")) if isinstance(value, dict) else str(value or "")


def configuration(config: dict[str, Any]) -> str:
    """Equal for runs that should behave the same in every world: the key for pairing."""
    return json.dumps(
        [
            setting(config, "trace.sha256"),
            setting(config, "trace.requests"),
            setting(config, "trace.span_ns"),
            config.get("policy"),
            setting(config, "capacity.kv_tokens"),
            [setting(config, f"scheduler.{rule}") for rule in SCHEDULER_RULES],
            name_of(config.get("model")),
        ],
        sort_keys=True,
    )


def _run(directory: RunDirectory, name: str, color: str, dash: Dash) -> Run:
    requests = directory.requests
    reached = requests["cached_tokens"].to_numpy() != NOT_REACHED
    counted = requests[requests["counted"].to_numpy(bool) & reached]
    return Run(
        name, color, dash, directory.path, directory.config, directory.summary, requests, counted,
        directory.steps,
    )  # fmt: skip


def _distinguishers() -> list[Callable[[RunDirectory], str]]:
    """What may tell two runs of the same label apart, the most telling first."""
    dotted = (
        "scheduler.batching", "scheduler.order", "policy.eviction", "trace.name",
        "scheduler.token_budget", "scheduler.max_running", "scheduler.overlap", "seed",
    )  # fmt: skip

    def reader(key: str) -> Callable[[RunDirectory], str]:
        short = key.rpartition(".")[2].replace("_", " ")

        def read(run: RunDirectory) -> str:
            value = setting(run.config, key)
            return value if isinstance(value, str) else f"{short} {value}"

        return read

    return [
        lambda run: name_of(run.config.get("model")),
        lambda run: name_of(run.config.get("gpu")),
        lambda run: _capacity(setting(run.config, "capacity.kv_tokens")),
        *(reader(key) for key in dotted),
        lambda run: run.path.name,
        lambda run: run.path.parent.name,
        lambda run: str(run.path),
    ]


def _capacity(kv_tokens: int | None) -> str:
    return "unlimited KV" if kv_tokens is None else f"{count_text(kv_tokens)} KV tokens"


def _distinct_names(directories: list[RunDirectory]) -> list[str]:
    """Labels; with the world wherever the report holds several, and with whatever else differs."""
    names = [str(directory.summary["label"]) for directory in directories]
    worlds = [_suffix(directory) for directory in directories]
    if len(set(worlds)) > 1:
        names = [name + world for name, world in zip(names, worlds, strict=True)]
    for describe in _distinguishers():
        taken = Counter(names)
        details: dict[str, set[str]] = {name: set() for name in names}
        for name, directory in zip(names, directories, strict=True):
            details[name].add(describe(directory))
        names = [
            f"{name} · {describe(directory)}"
            if taken[name] > 1 and len(details[name]) > 1
            else name
            for name, directory in zip(names, directories, strict=True)
        ]
    return names


def _looks(directories: list[RunDirectory]) -> list[tuple[str, Dash]]:
    """A colour for each configuration; dashes tell worlds, then a second use of a colour, apart."""
    keys = [configuration(directory.config) for directory in directories]
    order = list(dict.fromkeys(keys))
    uncached = [
        key
        for key, directory in dict(zip(keys, directories, strict=True)).items()
        if setting(directory.config, "policy.index") == "none"
    ]
    cached = [key for key in order if key not in uncached]
    worlds: dict[str, set[str]] = {key: set() for key in keys}
    for key, directory in zip(keys, directories, strict=True):
        worlds[key].add(directory.summary["world"])
    looks = []
    for key, directory in zip(keys, directories, strict=True):
        if key in uncached:
            color, turn = NO_CACHE_COLOR, uncached.index(key)
        else:
            turn, place = divmod(cached.index(key), len(COLORS))
            color = COLORS[place]
        predicted = len(worlds[key]) > 1 and directory.summary["world"] != "measured"
        looks.append((color, DASHES[(turn + predicted) % len(DASHES)]))
    return looks
