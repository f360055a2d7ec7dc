"""Raw measurements of a calibration: what was run, and how long it took."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from pcache.cost.contract import CostModel, describe_request, step_record
from pcache.cost.profiled import runs_in_graph
from pcache.types import Records

__all__ = ["CLASSES", "LoadSequence", "LoopSample", "Point", "StepShape"]

CLASSES = ("decode", "short extend", "long extend", "mixed")
"""Decodes alone; extends alone, in a CUDA graph or too large for one; both in one step."""


@dataclass(frozen=True, slots=True)
class StepShape:
    """A step by its requests: (cached tokens, new tokens, how many such requests)."""

    requests: tuple[tuple[int, int, int], ...]
    samples: bool = True
    """Whether its requests yield tokens; in the middle of a prompt they do not."""
    shared_tokens: int = 0
    """First cached tokens of all requests, which lie in the same blocks."""

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> StepShape:
        """As `Point.from_json`."""
        requests = tuple((int(start), int(count), int(n)) for start, count, n in row["requests"])
        return cls(requests, bool(row["samples"]), int(row["shared_tokens"]))

    @property
    def num_requests(self) -> int:
        return sum(times for _, _, times in self.requests)

    @property
    def new_tokens(self) -> int:
        return sum(count * times for _, count, times in self.requests)

    @property
    def context_tokens(self) -> int:
        """Tokens of KV that it reads."""
        return sum((start + count) * times for start, count, times in self.requests)

    @property
    def longest(self) -> int:
        """Longest context of a request."""
        return max(start + count for start, count, _ in self.requests)

    def sums(self) -> Records:
        """The step as the cost model sees it; one new token counts as a decode."""
        step = step_record()
        for start, count, times in self.requests:
            for _ in range(times):
                describe_request(step, start, count, int(self.samples), count == 1)
        step[0].shared_context = (self.num_requests - 1) * self.shared_tokens
        return step

    def kind(self, model: CostModel) -> str:
        """One of CLASSES."""
        extends = [count for _, count, _ in self.requests if count > 1]
        if not extends:
            return "decode"
        if len(extends) < len(self.requests):
            return "mixed"
        return "short extend" if runs_in_graph(model, self.sums()) else "long extend"


@dataclass(frozen=True, slots=True)
class Point:
    """One step, measured; medians of `repeats`.

    gpu_ns    on the GPU, with the step already submitted when its predecessor ended; of steps
              that compute much, on a GPU after a rest
    spread    of gpu_ns: half the distance between its quartiles, relative
    wall_ns   from token to token on the host when steps follow each other, one in flight ahead
    host_ns   the host's time in launching it
    alone_ns, alone_gpu_ns   launched on a device that was idle for a while: until its tokens were
              on the host, and on the GPU; 0 where it was not tried
    held_out  not fitted, but compared with what was
    """

    shape: StepShape
    gpu_ns: int
    spread: float
    wall_ns: int
    host_ns: int
    repeats: int
    alone_ns: int = 0
    alone_gpu_ns: int = 0
    held_out: bool = False

    def to_json(self) -> dict[str, Any]:
        row = asdict(self)
        return {**row.pop("shape"), **row}

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> Point:
        """Raises TypeError, KeyError or ValueError where a field is missing or of another type."""
        of_shape = {f.name for f in fields(StepShape)}
        return cls(StepShape.from_json(row), **{k: row[k] for k in row if k not in of_shape})


@dataclass(frozen=True, slots=True)
class LoadSequence:
    """Steps one after the other on a GPU that had rested: (which shape, idle ns before it, gpu_ns)."""

    shapes: tuple[StepShape, ...]
    steps: tuple[tuple[int, int, int], ...]

    @classmethod
    def from_json(cls, row: dict[str, Any]) -> LoadSequence:
        """As `Point.from_json`."""
        shapes = tuple(StepShape.from_json(shape) for shape in row["shapes"])
        steps = tuple((int(shape), int(idle), int(ns)) for shape, idle, ns in row["steps"])
        return cls(shapes, steps)


@dataclass(frozen=True, slots=True)
class LoopSample:
    """What the host did around one step of a real run, in ns; -1 where it could not be told.

    idle       whether it was planned when the engine had waited for an arrival
    plan_ns    from the start of planning to the launch
    launch_ns  in launching it
    commit_ns  from its tokens, or the end of a later launch, to the start of the next planning
    """

    num_requests: int
    new_tokens: int
    graph: bool
    idle: bool
    plan_ns: int
    launch_ns: int
    commit_ns: int
