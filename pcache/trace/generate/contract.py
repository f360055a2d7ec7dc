"""What a workload is: parameters with bounds, and a way to draw sessions from them."""

from __future__ import annotations

import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from dataclasses import Field, dataclass, field, fields
from typing import Any, ClassVar, TypeVar, dataclass_transform

from pcache.errors import ConfigError
from pcache.trace.generate.arrivals import ARRIVALS
from pcache.trace.generate.draws import Draws
from pcache.types import I8

__all__ = ["SECONDS_PER_TOKEN", "WORKLOADS", "Draft", "Workload", "parameter", "workload"]

SECONDS_PER_TOKEN = 0.02
"""How fast a user's or agent's answer is taken to appear before the next turn can begin."""

WORKLOADS: dict[str, type[Workload]] = {}
W = TypeVar("W", bound="Workload")


@dataclass(slots=True)
class Draft:
    """One request; `images` are (hash, start, num_tokens) within the prompt."""

    arrival_s: float
    prompt: I8
    output: I8
    turn: int = 0
    images: list[tuple[str, int, int]] = field(default_factory=list)


def parameter(default: Any, help: str, low: float = 0, high: float = math.inf) -> Any:
    """A field of a workload with its bounds, as `trace generate` lists it."""
    return field(default=default, metadata={"help": help, "low": low, "high": high})


@dataclass_transform(field_specifiers=(parameter,), frozen_default=True, kw_only_default=True)
def workload(name: str) -> Callable[[type[W]], type[W]]:
    """Register a workload under the name users type."""

    def register(cls: type[W]) -> type[W]:
        made = dataclass(frozen=True, kw_only=True)(cls)
        made.name = name
        WORKLOADS[name] = made
        return made

    return register


@dataclass(frozen=True, kw_only=True)
class Workload(ABC):
    """Parameters that every workload has, and the sessions that make it."""

    name: ClassVar[str] = ""

    requests: int = parameter(400, "requests in the trace", 1, 1_000_000)
    rate: float = parameter(1.0, "sessions that start per second, on average", 1e-6, 1e6)
    arrivals: str = parameter("poisson", "how they start: poisson or bursty")

    @abstractmethod
    def sessions(self, draws: Draws) -> Iterator[list[Draft]]:
        """Sessions without end, each a list of requests timed from the session's start."""

    def check(self) -> None:
        """Raise ConfigError for the first parameter out of bounds."""
        if self.arrivals not in ARRIVALS:
            raise ConfigError(
                f"arrivals '{self.arrivals}' is unknown; expected {' or '.join(ARRIVALS)}"
            )
        for entry in fields(self):
            value = getattr(self, entry.name)
            if isinstance(value, str):
                continue
            _check_number(entry, value)


def _check_number(entry: Field[Any], value: Any) -> None:
    low, high = entry.metadata["low"], entry.metadata["high"]
    kind = type(entry.default)
    fits = type(value) is int or (kind is float and type(value) is float)
    if not fits or not low <= value <= high:
        what = "an integer" if kind is int else "a number"
        bounds = f"at least {low:,g}" if high == math.inf else f"from {low:,g} to {high:,g}"
        raise ConfigError(
            f"{entry.name} is {value}; expected {what} {bounds} ({entry.metadata['help']})"
        )
