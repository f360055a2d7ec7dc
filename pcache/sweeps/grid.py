"""The grid of a sweep: every combination of its axes that can exist, each a cell."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from itertools import product

from pcache import __version__
from pcache.cache.contract import CacheConfig
from pcache.errors import ConfigError
from pcache.scheduler.state import SchedulerConfig, check_order

__all__ = ["Cell", "Grid", "TraceFile"]


@dataclass(frozen=True, slots=True)
class TraceFile:
    """A trace file and how it is read; `sha256` is of its content."""

    path: str
    sha256: str
    format: str = "auto"
    tokenizer: str = "bytes"
    block_tokens: int | None = None
    limit: int | None = None
    start_s: float | None = None
    end_s: float | None = None
    time_scale: float = 1.0


@dataclass(frozen=True, slots=True)
class Cell:
    """One simulation. Its key names its result, so that nothing is simulated twice."""

    trace: TraceFile
    cache: CacheConfig
    scheduler: SchedulerConfig
    model: str | None
    gpu: str | None
    tp: int
    profile: str | None
    profile_sha256: str | None
    slo_ttft_ms: float | None
    slo_tpot_ms: float | None
    warm_up: int

    @property
    def key(self) -> str:
        """Of all that decides the result; where the trace and the profile lie does not."""
        value = asdict(self) | {"version": __version__}
        value["trace"].pop("path")
        if self.profile_sha256 is not None:
            value.pop("profile")
        return hashlib.sha256(json.dumps(value, sort_keys=True).encode()).hexdigest()[:20]


@dataclass(frozen=True, slots=True)
class Grid:
    """Axes, and what all cells share. `capacities` are in tokens, None for unlimited."""

    traces: tuple[TraceFile, ...]
    indexes: tuple[str, ...]
    evictions: tuple[str, ...]
    capacities: tuple[int | None, ...]
    block_sizes: tuple[int, ...]
    orders: tuple[str, ...]
    scheduler: SchedulerConfig
    model: str | None = None
    gpu: str | None = None
    tp: int = 1
    profile: str | None = None
    profile_sha256: str | None = None
    slo_ttft_ms: float | None = None
    slo_tpot_ms: float | None = None
    warm_up: int = 0

    def cells(self) -> tuple[list[Cell], list[str]]:
        """Cells in order, and why combinations were left out, each reason once.

        Raises ConfigError where no combination is left.
        """
        cells, reasons = [], dict[str, None]()
        for trace, (cache, rules) in product(self.traces, self._policies(reasons)):
            cells.append(
                Cell(
                    trace, cache, rules, self.model, self.gpu, self.tp, self.profile,
                    self.profile_sha256, self.slo_ttft_ms, self.slo_tpot_ms, self.warm_up,
                )
            )  # fmt: skip
        if not cells:
            raise ConfigError(f"the sweep has no cell: {'; '.join(reasons)}")
        return cells, list(reasons)

    def _policies(self, reasons: dict[str, None]) -> list[tuple[CacheConfig, SchedulerConfig]]:
        return list(dict.fromkeys(self._allowed(reasons)))

    def _allowed(self, reasons: dict[str, None]) -> Iterator[tuple[CacheConfig, SchedulerConfig]]:
        axes = (self.indexes, self.block_sizes, self.evictions, self.capacities, self.orders)
        for index, size, eviction, capacity, order in product(*axes):
            rules = SchedulerConfig(**asdict(self.scheduler) | {"order": order})
            try:
                cache = CacheConfig(index, size, capacity, eviction)
                check_order(rules, cache)
            except ConfigError as error:
                reasons[str(error)] = None
                continue
            yield cache, rules
