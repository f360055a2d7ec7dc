"""The throttle of a GPU from sequences of steps: how much longer the same step takes after which load.

A sequence repeats a few shapes, each of which takes a time of its own at full clock; what is fitted is
how the measured times rise over it. Loads and thresholds are searched over a grid, slowdowns and the
times at full clock follow by least squares of relative errors.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import product

import numpy as np

from pcache.cost.contract import CostModel
from pcache.cost.nnls import nonnegative_least_squares
from pcache.cost.points import LoadSequence
from pcache.cost.profiled import compute_ns, profiled_ns
from pcache.cost.throttle import STAGE, mean_excess, next_load
from pcache.jit import hot
from pcache.types import F8, I8

__all__ = ["fit_throttle"]

_TAUS_NS = ((20e6, 30e6, 45e6, 60e6, 90e6, 130e6), (0.4e9, 0.7e9, 1e9, 1.5e9))
_THRESHOLDS = ((0.0, 0.15, 0.3, 0.4, 0.5, 0.6, 0.7), (0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9))
_ROUNDS = 20


def fit_throttle(sequences: Sequence[LoadSequence], model: CostModel) -> F8:
    """Both stages, [2, 3] as `throttle.STAGE`. `model` says how much of each step is computing."""
    kinds, shares, lines = _flat(sequences, model)
    stages = [
        [(tau, at, _excesses(shares, lines, tau, at)) for tau, at in product(taus, thresholds)]
        for taus, thresholds in zip(_TAUS_NS, _THRESHOLDS, strict=True)
    ]
    best, least = np.zeros((2, len(STAGE))), np.inf
    for (tau, at, recent), (long_tau, long_at, lasting) in product(*stages):
        slowed = np.column_stack([recent, lasting])
        slowdowns, loss = _slowdowns(slowed, kinds, lines[:, 2])
        if loss < least:
            least = loss
            best = np.array([(slowdowns[0], at, tau), (slowdowns[1], long_at, long_tau)])
    return best


def _flat(sequences: Sequence[LoadSequence], model: CostModel) -> tuple[I8, F8, F8]:
    """Of every step its shape's number and compute share, and [steps, 3]: whether a sequence begins
    with it, idle ns before it, and its ns."""
    shapes = list(dict.fromkeys(shape for sequence in sequences for shape in sequence.shapes))
    kinds, lines = [], []
    for sequence in sequences:
        numbers = [shapes.index(shape) for shape in sequence.shapes]
        for at, (shape, idle_ns, gpu_ns) in enumerate(sequence.steps):
            kinds.append(numbers[shape])
            lines.append((at == 0, idle_ns, gpu_ns))
    of_shape = np.array([_share(model, shape.sums()) for shape in shapes])
    return np.array(kinds, np.int64), of_shape[kinds], np.array(lines, float)


def _share(model: CostModel, step: object) -> float:
    return min(1.0, compute_ns(model, step) / profiled_ns(model, step))


def _excesses(shares: F8, lines: F8, tau: float, threshold: float) -> F8:
    """What one stage's slowdown is multiplied with, for each step."""
    found = np.empty(len(shares))
    _note_excesses(shares, lines, tau, threshold, found)
    return found


@hot
def _note_excesses(shares: F8, lines: F8, tau: float, threshold: float, found: F8) -> None:
    load = 0.0
    for i in range(len(shares)):
        begins, idle, lasted = lines[i, 0], lines[i, 1], lines[i, 2]
        load = 0.0 if begins > 0 else next_load(load, 0.0, idle / tau)
        found[i] = mean_excess(load, shares[i], lasted / tau, threshold) * shares[i]
        load = next_load(load, shares[i], lasted / tau)


def _slowdowns(slowed: F8, kinds: I8, measured: F8) -> tuple[F8, float]:
    """One slowdown a stage, and the sum of squared relative errors that is left."""
    slowdowns = np.zeros(slowed.shape[1])
    for _ in range(_ROUNDS):
        ratio = (1 + slowed @ slowdowns) / measured
        squares = np.bincount(kinds, ratio * ratio)
        full_clock = np.bincount(kinds, ratio) / squares
        weights = full_clock[kinds] / measured
        slowdowns = nonnegative_least_squares(slowed * weights[:, None], 1 - weights)
    off = 1 - full_clock[kinds] * (1 + slowed @ slowdowns) / measured
    return slowdowns, float(off @ off)
