"""Which layout a step gets: a bucket that a CUDA graph was captured for, or one made for it.

Eager layouts are padded so that all sizes share the same compiled kernels.
"""

from __future__ import annotations

from bisect import bisect_left
from dataclasses import dataclass

from pcache.cost.profile import EngineSizes
from pcache.cost.profiled import PADDING, eager_sizes, linear_rows
from pcache.gpu.packing import ArrangedStep
from pcache.gpu.step import StepLayout

__all__ = ["NO_GRAPHS", "GraphBuckets", "Layouts"]

_SHORT_EXTEND_TOKENS = 1024
"""Eager steps up to here are planned apart from longer ones: they want smaller attention tiles."""


@dataclass(frozen=True, slots=True)
class GraphBuckets:
    """Sizes that get a CUDA graph, ascending. A step runs in the smallest that holds it.

    decodes        batch sizes of steps with decodes alone
    extend_tokens  new tokens of steps with extends, alone or with decodes
    mixed_decodes  batch sizes of decodes beside extends
    max_extends    extends that a graph holds
    """

    decodes: tuple[int, ...] = (1, 2, 4, 8, 16, 24, 32, 48, 64, 96, 128, 160, 192, 224, 256)
    extend_tokens: tuple[int, ...] = (16, 32, 64, 128, 192, 256, 384, 512, 640, 768, 896, 1024)
    mixed_decodes: tuple[int, ...] = (8, 32, 64, 128, 256)
    max_extends: int = 16


NO_GRAPHS = GraphBuckets((), (), ())


class Layouts:
    """Layouts of one runner: at most `max_rows` requests and `max_step_tokens` tokens a step."""

    def __init__(self, buckets: GraphBuckets, max_rows: int, max_step_tokens: int) -> None:
        self._buckets = buckets
        self._max_rows, self._max_step_tokens = max_rows, max_step_tokens
        self._extends = eager_sizes(0, max_rows)[1]
        self._decode_sizes = _up_to(max_rows, buckets.decodes)
        self._extend_sizes = _up_to(max_step_tokens, buckets.extend_tokens)
        self._mixed_sizes = (0, *_up_to(max_rows, buckets.mixed_decodes))
        self._graphs = {(0, size): self._graph(0, size) for size in self._decode_sizes}
        self._graphs |= {
            (tokens, decodes): self._graph(tokens, decodes)
            for tokens in self._extend_sizes
            for decodes in self._mixed_sizes
        }

    def of(self, step: ArrangedStep) -> StepLayout:
        """The layout to run `step` in."""
        tokens, decodes = step.num_extend_tokens, step.num_decodes
        if step.num_extends == 0:
            key = (0, _smallest(self._decode_sizes, decodes))
        elif step.num_extends <= self._buckets.max_extends:
            key = (_smallest(self._extend_sizes, tokens), _smallest(self._mixed_sizes, decodes))
        else:
            key = (-1, -1)
        graph = self._graphs.get(key)
        return graph or self.eager(tokens, decodes, len(step.sampling))

    def graphs(self) -> list[StepLayout]:
        """Layouts to capture, largest first, so that smaller ones reuse their memory."""
        return sorted(self._graphs.values(), key=lambda layout: -layout.num_tokens)

    def largest(self) -> list[StepLayout]:
        """Eager layouts as large as a step may be: of extends alone, with every row decoding, and the
        largest whose attention is planned as that of a short step."""
        rest = max(PADDING, self._max_step_tokens - self._max_rows)
        return [
            self.eager(self._max_step_tokens, 0, 1),
            self.eager(rest, self._max_rows, self._max_rows),
            self.eager(self._planned(1), 0, 1),
        ]

    def varied(self) -> list[StepLayout]:
        """Eager layouts of every padded number of tokens, and with every number of samples."""
        largest = self._max_step_tokens + 2 * PADDING  # extends and decodes are padded each
        steps = range(PADDING, largest, PADDING)
        sizes = sorted({self.eager(tokens, 0, 1).extend_tokens for tokens in steps})
        return [
            self.eager(sizes[i % len(sizes)], 0, 1 + i % self._max_rows)
            for i in range(max(len(sizes), self._max_rows))
        ]

    @property
    def sizes(self) -> EngineSizes:
        """What decides how a step is run."""
        return EngineSizes(
            self._decode_sizes, self._extend_sizes, self._mixed_sizes,
            min(self._buckets.max_extends, self._max_rows),
        )  # fmt: skip

    @property
    def max_decodes(self) -> int:
        """Decodes of the largest step, padding included."""
        return max(eager_sizes(0, self._max_rows)[1], *self._decode_sizes, *self._mixed_sizes)

    @property
    def max_ints(self) -> int:
        """Integers of the largest packed step."""
        bound = self.eager(self._max_step_tokens, self._max_rows, self._max_rows)
        known = (bound, *self.varied(), *self._graphs.values())
        return max(layout.num_ints for layout in known)

    @property
    def max_samples(self) -> int:
        """Sampled tokens of the largest step, padding included."""
        return max((self._max_rows, *(layout.samples for layout in self._graphs.values())))

    def eager(self, extend_tokens: int, decodes: int, samples: int) -> StepLayout:
        """A layout for one step that no graph holds."""
        padded_tokens, padded_decodes = eager_sizes(extend_tokens, decodes)
        return StepLayout(
            extend_tokens=padded_tokens,
            extends=self._extends if extend_tokens else 0,
            decodes=padded_decodes,
            samples=samples,
            planned_tokens=self._planned(extend_tokens) if extend_tokens else 0,
        )

    def _planned(self, extend_tokens: int) -> int:
        """Extend tokens that attention plans for in an eager step."""
        largest = self._max_step_tokens
        short = min(_SHORT_EXTEND_TOKENS, largest)
        return short if extend_tokens <= short else largest

    def _graph(self, tokens: int, decodes: int) -> StepLayout:
        extends = min(self._buckets.max_extends, self._max_rows) if tokens else 0
        padded = linear_rows(tokens, decodes) - decodes
        return StepLayout(padded, extends, decodes, extends + decodes, tokens)


def _up_to(limit: int, sizes: tuple[int, ...]) -> tuple[int, ...]:
    """The sizes needed to hold every count up to `limit`."""
    return sizes[: bisect_left(sizes, limit) + 1]


def _smallest(sizes: tuple[int, ...], count: int) -> int:
    """The smallest size that holds `count`, or -1."""
    index = bisect_left(sizes, count)
    return sizes[index] if index < len(sizes) else -1
