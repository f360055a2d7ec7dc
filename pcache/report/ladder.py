"""The ladder of serving: what each step from static batching to prefix caching buys.

A rung is recognised by its scheduler and cache. Rungs compare only when everything else is the
same: trace, model, GPU, capacity and world. The step after the last, a cache shared by several
replicas, is not simulated yet and so is never drawn.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from pcache.report.runs import Run, configuration, name_of, setting

__all__ = ["Rung", "find_ladder"]

NUM_UNCACHED_RUNGS = 3
_UNCACHED = {
    "static": (0, "static batching"),
    "continuous": (1, "continuous batching"),
    "chunked": (2, "chunked prefill"),
}
_CACHES = ("hash", "radix")


@dataclass(frozen=True, slots=True)
class Rung:
    """One step: its title, and the runs that stand on it in each world that has some."""

    position: int
    title: str
    runs: dict[str, list[Run]]

    @property
    def uses_cache(self) -> bool:
        return self.position >= NUM_UNCACHED_RUNGS

    def repeats(self, world: str, field: str) -> list[float]:
        """A summary's number in every run of one world that has it."""
        values = (run.summary.get(field) for run in self.runs.get(world, []))
        return [float(value) for value in values if value is not None]

    def value(self, world: str, field: str) -> float | None:
        """Mean of the repeats; None where there is none."""
        repeats = self.repeats(world, field)
        return sum(repeats) / len(repeats) if repeats else None


def find_ladder(runs: Sequence[Run]) -> list[Rung]:
    """The longest ladder among the runs, lowest rung first; empty if it has fewer than two rungs.

    Prefix caching is one rung a policy. Runs of one configuration and world are repeats, and stand on
    a rung together; where several configurations fit, the first one stands there.
    """
    groups: dict[tuple[str, ...], dict[int, Rung]] = {}
    for run in runs:
        place = _place(run)
        if place is not None and run.summary.get("ttft_mean_ms") is not None:
            rung = groups.setdefault(_surroundings(run), {}).setdefault(place[0], Rung(*place, {}))
            repeats = rung.runs.setdefault(run.world, [])
            if not repeats or configuration(repeats[0].config) == configuration(run.config):
                repeats.append(run)
    climbable = [
        [rungs[position] for position in sorted(rungs)]
        for rungs in groups.values()
        if len({min(position, NUM_UNCACHED_RUNGS) for position in rungs}) > 1
    ]
    return max(climbable, key=len, default=[])


def _place(run: Run) -> tuple[int, str] | None:
    batching = setting(run.config, "scheduler.batching")
    if run.index == "none":
        return _UNCACHED.get(batching)
    if batching == "chunked" and run.index in _CACHES:
        size = run.block_size_tokens
        blocks = f"{run.index}, {size} token{'' if size == 1 else 's'} a block"
        number = _CACHES.index(run.index)
        return NUM_UNCACHED_RUNGS + number, f"prefix caching ({blocks})"
    return None


def _surroundings(run: Run) -> tuple[str, ...]:
    settings = ("trace.sha256", "trace.requests", "capacity.kv_tokens", "scheduler.order")
    return (name_of(run.config.get("model")), *(str(setting(run.config, key)) for key in settings))
