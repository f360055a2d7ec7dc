"""The throttle of a GPU from sequences of steps: how much longer the same step takes after which load.

A sequence repeats a few shapes, each of which takes a time of its own at full clock; what is fitted is
how the measured times rise over it. Time constants, thresholds and both numbers of `POWER` are searched
over a grid. With these fixed, a step that took m, of a shape k that takes F_k at full clock,
after loads that multiply the four slowdowns by e, should have m = F_k·(1 + slowdowns·e), which is
linear in 1/F_k and the slowdowns:

    m/F_k - slowdowns·e = 1

What the 1/F_k can explain is taken off both sides at once, which leaves the four slowdowns to find.

Waiting for memory is slowed by no more than computing is: what is found of a stage is the slowdown of
both, and what computing has over it.

A step counts as much as it took, or many decodes would outweigh the few steps that are slowed most.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import product

import numpy as np

from pcache.cost.contract import CostModel
from pcache.cost.nnls import nonnegative_least_squares
from pcache.cost.points import LoadSequence, StepShape
from pcache.cost.profiled import busy_ns, profiled_ns
from pcache.cost.throttle import POWER, STAGE, mean_excess, next_load, power_of, throttled_ns
from pcache.jit import hot
from pcache.types import F8, I8

__all__ = ["MOST_SLOWED", "fit_throttle", "predicted_ns"]

_TAUS_NS = ((20e6, 30e6, 45e6, 60e6, 90e6, 130e6), (0.4e9, 0.7e9, 1e9))
_THRESHOLDS = ((0.0, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7), (0.3, 0.4, 0.5, 0.6, 0.7, 0.8))
"""No more than a sequence of some seconds reaches: beyond what was seen, a slope is only noise."""

_DRAWS = (0.0, 0.15, 0.3, 0.45)
"""Of waiting for memory, where computing draws 1 and an idle GPU nothing."""
_BUSY_PARTS = (0.0, 0.5, 1.0)
"""Of the time in which decodes read shared context."""

MOST_SLOWED = 2.0
"""A power limit slows no step by more; one that took longer waited for its launch."""
_ROUNDING = 1e-9

_MOSTLY_MEMORY = 0.3
"""Without a shape of a smaller busy share the two slowdowns of a stage cannot be told apart."""


def predicted_ns(sequence: LoadSequence, model: CostModel) -> F8:
    """What the model says of each step of the sequence, [steps], on a GPU that had rested before."""
    sums = [shape.sums() for shape in sequence.shapes]
    steps = [(step, profiled_ns(model, step), busy_ns(model, step)) for step in sums]
    recent = lasting = 0.0
    found = []
    for shape, idle_ns, _ in sequence.steps:
        step, full_clock, busy = steps[shape]
        step[0].recent_load, step[0].lasting_load = recent, lasting
        found.append(throttled_ns(model, step, full_clock, busy, float(idle_ns)))
        recent, lasting = float(step[0].recent_load), float(step[0].lasting_load)
    return np.array(found)


def fit_throttle(sequences: Sequence[LoadSequence], model: CostModel) -> CostModel:
    """`model`, which says for how much of each step the GPU is busy, with throttle and power; without
    stages where no step slows down."""
    best = model._replace(throttle=np.zeros((0, len(STAGE))), power=np.zeros(len(POWER)))
    least = np.inf
    for draw, shared_busy in _powers(sequences, model):
        steps = _flat(sequences, model._replace(power=np.array([draw, shared_busy])))
        wanted = steps.beyond_shapes(np.ones((len(steps.kinds), 1)))
        least = min(least, (1 - _ROUNDING) * float(np.square(wanted).sum()))  # without any stage
        stages = [
            [
                (tau, at, steps.beyond_shapes(_excesses(steps, tau, at, draw)))
                for tau, at in product(taus, thresholds)
            ]
            for taus, thresholds in zip(_TAUS_NS, _THRESHOLDS, strict=True)
        ]
        for (tau, at, recent), (long_tau, long_at, lasting) in product(*stages):
            slowdowns, loss = _slowdowns(np.hstack([recent, lasting, wanted]))
            if loss < least:
                least = loss
                both, more, long_both, long_more = slowdowns
                throttle = np.array([
                    (both + more, both, at, tau), (long_both + long_more, long_both, long_at, long_tau),
                ])  # fmt: skip
                best = model._replace(throttle=throttle, power=np.array([draw, shared_busy]))
    return best


def _powers(sequences: Sequence[LoadSequence], model: CostModel) -> Iterator[tuple[float, float]]:
    """Every `POWER` that the sequences can tell from another."""
    shares = any(shape.shared_tokens for sequence in sequences for shape in sequence.shapes)
    tells_memory = _tells_memory(_flat(sequences, model._replace(power=np.zeros(len(POWER)))))
    draws = _DRAWS if tells_memory else _DRAWS[:1]
    return product(draws, _BUSY_PARTS if shares else _BUSY_PARTS[:1])


@dataclass(frozen=True, slots=True)
class _Steps:
    """The steps of all sequences: the number of their shape, and [steps, 5] as `_LINE` names them."""

    kinds: I8
    lines: F8

    def beyond_shapes(self, columns: F8) -> F8:
        """What one number for each shape, times the measured, cannot explain of columns [steps, n];
        weighted, steps that waited for their launch with 0."""
        measured, full_clock = self.lines[:, _MEASURED], self.lines[:, _FULL_CLOCK]
        counts = measured <= MOST_SLOWED * full_clock
        weight = np.sqrt(counts * measured / measured.mean())[:, None]
        of_shape = np.eye(self.kinds.max() + 1)[self.kinds] * measured[:, None] * weight
        weighted = columns * weight
        squares = np.maximum(np.square(of_shape).sum(axis=0), np.finfo(float).tiny)
        explained = (of_shape.T @ weighted) / squares[:, None]
        return weighted - of_shape @ explained


_LINE = ("begins", "idle_ns", "measured_ns", "full_clock_ns", "share")
_BEGINS, _IDLE, _MEASURED, _FULL_CLOCK, _SHARE = range(len(_LINE))


def _flat(sequences: Sequence[LoadSequence], model: CostModel) -> _Steps:
    shapes = list(dict.fromkeys(shape for sequence in sequences for shape in sequence.shapes))
    of_shape = [_full_clock_and_share(model, shape) for shape in shapes]
    kinds, lines = [], []
    for sequence in sequences:
        numbers = [shapes.index(shape) for shape in sequence.shapes]
        for at, (shape, idle_ns, gpu_ns) in enumerate(sequence.steps):
            kinds.append(numbers[shape])
            lines.append((at == 0, idle_ns, gpu_ns, *of_shape[numbers[shape]]))
    return _Steps(np.array(kinds, np.int64), np.array(lines, float))


def _full_clock_and_share(model: CostModel, shape: StepShape) -> tuple[float, float]:
    step = shape.sums()
    full_clock = profiled_ns(model, step)
    return full_clock, min(1.0, busy_ns(model, step) / full_clock)


def _tells_memory(steps: _Steps) -> bool:
    return bool(steps.lines[:, _SHARE].min() < _MOSTLY_MEMORY)


def _excesses(steps: _Steps, tau: float, threshold: float, draw: float) -> F8:
    """What each slowdown of a stage is multiplied with, [steps, 2]: that of all of a step, and what its
    computing has over that."""
    found, share = np.empty(len(steps.lines)), steps.lines[:, _SHARE]
    _note_excesses(steps.lines, tau, threshold, draw, found)
    return found[:, None] * np.column_stack([np.full(len(share), _tells_memory(steps)), share])


@hot
def _note_excesses(lines: F8, tau: float, threshold: float, draw: float, found: F8) -> None:
    load = 0.0
    for i in range(len(lines)):
        power = power_of(lines[i, _SHARE], draw)
        load = 0.0 if lines[i, _BEGINS] > 0 else next_load(load, 0.0, lines[i, _IDLE] / tau)
        found[i] = mean_excess(load, power, lines[i, _FULL_CLOCK] / tau, threshold)
        load = next_load(load, power, lines[i, _MEASURED] / tau)


def _slowdowns(columns_and_wanted: F8) -> tuple[F8, float]:
    """Two slowdowns a stage, and the weighted sum of squared errors that is left."""
    triangle: F8 = np.asarray(np.linalg.qr(columns_and_wanted, mode="r"))  # as good, with few rows
    columns, wanted = -triangle[:, :-1], triangle[:, -1]
    slowdowns = nonnegative_least_squares(columns, wanted)
    off = wanted - columns @ slowdowns
    return slowdowns, float(off @ off)
