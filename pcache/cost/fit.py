"""From raw measurements to the numbers of a profile.

The model of `cost.profiled` is linear in its coefficients, so its own predictions with one
coefficient at a time are the columns of a least-squares problem, of relative errors, in which no
coefficient may be negative. Tables are fitted by their increments, which makes them monotone.
They are times at full clock: what a GPU's throttle adds to a step is taken off the measured ones.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from pcache.cost.contract import CostModel
from pcache.cost.fit_throttle import fit_throttle
from pcache.cost.nnls import nonnegative_least_squares
from pcache.cost.points import CLASSES, LoadSequence, LoopSample, Point, StepShape
from pcache.cost.profiled import TERMS, busy_ns, profiled_ns, runs_in_graph
from pcache.cost.throttle import throttled_ns
from pcache.cost.timing import HOST, run_step
from pcache.types import F8, I8

__all__ = ["ErrorRow", "after_rest_ns", "error_rows", "fit_host", "fit_steps"]

ALONE = "alone"
"""Class of errors: a step launched on an idle device, until its tokens are on the host."""
_REFITS = 3
"""Rounds of throttle and times at full clock, each fitted given the other; the third changes little."""
_INVERTING_ROUNDS = 6
_LAUNCHES_AHEAD = 0.8
"""Share of a step's time on the GPU: while launching takes no longer, the GPU waits only at first."""


@dataclass(frozen=True, slots=True)
class ErrorRow:
    """Relative errors on points of one class that were held out of the fit."""

    kind: str
    points: int
    mean: float
    """Signed: above 0 the model says too long."""
    p50: float
    p90: float
    worst: float


def fit_steps(
    points: Sequence[Point],
    linear: Sequence[int],
    context: Sequence[int],
    engine: I8,
    sequences: Sequence[LoadSequence] = (),
) -> CostModel:
    """Terms, and tables at the sizes `linear` and `context`, from the points that are not held out;
    throttle and power from `sequences`, none where there are none.

    `engine` is `CostModel.sizes`. The host's part is left out.
    """
    fitted = [point for point in points if not point.held_out]
    shapes = [point.shape for point in fitted]
    measured = np.array([point.gpu_ns for point in fitted], float)
    model = _fit_full_clock(shapes, measured, linear, context, engine)
    if not sequences:
        return model
    for _ in range(_REFITS):
        throttled = fit_throttle(sequences, model)
        pairs = zip(shapes, measured, strict=True)
        full_clock = np.array([_full_clock_ns(throttled, shape, ns) for shape, ns in pairs])
        model = _fit_full_clock(shapes, full_clock, linear, context, engine)
        model = model._replace(throttle=throttled.throttle, power=throttled.power)
    return model


def _full_clock_ns(model: CostModel, shape: StepShape, measured_ns: float) -> float:
    """Duration at full clock of a step that took `measured_ns` after a rest."""
    full_clock = measured_ns
    for _ in range(_INVERTING_ROUNDS):
        full_clock *= measured_ns / after_rest_ns(model, shape, full_clock)
    return full_clock


def after_rest_ns(model: CostModel, shape: StepShape, full_clock_ns: float | None = None) -> float:
    """Duration of a step on a GPU that has rested; at full clock as the model says, if not told."""
    step = shape.sums()
    full_clock = profiled_ns(model, step) if full_clock_ns is None else full_clock_ns
    return throttled_ns(model, step, full_clock, busy_ns(model, step), 0.0)


def _fit_full_clock(
    shapes: Sequence[StepShape],
    measured: F8,
    linear: Sequence[int],
    context: Sequence[int],
    engine: I8,
) -> CostModel:
    sums = [shape.sums() for shape in shapes]
    units = np.eye(len(linear) + len(context) + len(TERMS))
    columns = np.empty((len(shapes), len(units)))
    for at, unit in enumerate(units):
        model = _step_model(unit, linear, context, engine)
        columns[:, at] = [profiled_ns(model, step) for step in sums]
    found = nonnegative_least_squares(columns / measured[:, None], np.ones(len(shapes)))
    return _step_model(found, linear, context, engine)


def _step_model(found: F8, linear: Sequence[int], context: Sequence[int], engine: I8) -> CostModel:
    """From the increments of both tables, then terms."""
    first, second, terms = np.split(found, np.cumsum([len(linear), len(context)]))
    return CostModel(
        np.zeros(9), terms.copy(), _table(linear, first), _table(context, second), engine
    )


def _table(sizes: Sequence[int], increments: F8) -> F8:
    return np.column_stack([np.array(sizes, float), np.cumsum(increments)])


def fit_host(
    points: Sequence[Point], loop: Sequence[LoopSample], steps: CostModel, synchronous: bool
) -> CostModel:
    """Add the host's part, from the samples of a run and from single steps.

    Launches outside graphs are few in the run and take long, so those of single steps count too: a
    virtual machine's processor may be half as fast for seconds.
    """
    host = dict.fromkeys(HOST, 0.0)
    host["synchronous"] = float(synchronous)
    _fit_terms(
        host,
        ("plan", "plan_request", "plan_token"),
        [(s.plan_ns, s.num_requests, s.new_tokens) for s in loop],
    )
    _fit_terms(host, ("commit", "commit_request"), [(s.commit_ns, s.num_requests) for s in loop])
    single = [(p, runs_in_graph(steps, p.shape.sums())) for p in points if not p.held_out]
    eager = [(p.host_ns, p.shape.num_requests) for p, graph in single if not graph]
    for name, in_graph, more in (("graph", True, []), ("eager", False, eager)):
        launches = [(s.launch_ns, s.num_requests) for s in loop if s.graph is in_graph]
        _fit_terms(host, (name, f"{name}_request"), launches + more)
    if synchronous:  # there a launch holds the step itself
        around = float(np.median([p.host_ns - p.gpu_ns for p, _ in single]))
        host |= {"eager": max(0.0, around), "eager_request": 0.0}
    alone = [(p, graph) for p, graph in single if p.alone_ns]
    if alone and not synchronous:
        host["submit"] = float(np.median([p.alone_ns - p.alone_gpu_ns for p, _ in alone]))
        late: dict[bool, list[int]] = {True: [], False: []}
        for p, graph in alone:
            if graph or p.host_ns < _LAUNCHES_AHEAD * p.gpu_ns:
                late[graph].append(p.alone_gpu_ns - p.gpu_ns)
        host["start"] = _median_of(late[True])
        host["start_eager"] = _median_of(late[False] or late[True])
    return steps._replace(host=np.array([host[name] for name in HOST]))


def _median_of(late_ns: list[int]) -> float:
    return max(0.0, float(np.median(late_ns))) if late_ns else 0.0


def _fit_terms(
    host: dict[str, float], names: tuple[str, ...], samples: Sequence[tuple[int, ...]]
) -> None:
    """Fit a constant and a term a feature to samples of (ns, features), leaving out negative ns.

    Least absolute errors, by reweighting: one pause of the interpreter among hundreds of samples
    must not count by its square.
    """
    known = np.array([sample for sample in samples if sample[0] >= 0], float)
    if len(known) == 0:
        return
    columns = np.column_stack([np.ones(len(known)), known[:, 1:]])
    weights = np.ones(len(known))
    for _ in range(20):
        found = nonnegative_least_squares(columns * weights[:, None], known[:, 0] * weights)
        off = np.abs(known[:, 0] - columns @ found)
        weights = 1 / np.sqrt(off + 0.01 * np.median(known[:, 0]) + 1)
    host.update(zip(names, map(float, found), strict=True))


def error_rows(points: Sequence[Point], model: CostModel) -> list[ErrorRow]:
    """Errors on the held-out points by class, and of steps alone on the device."""
    held = [point for point in points if point.held_out]
    rows = []
    for kind in CLASSES:
        chosen = [point for point in held if point.shape.kind(model) == kind]
        off = [after_rest_ns(model, p.shape) / p.gpu_ns - 1 for p in chosen]
        rows.append(_error_row(kind, off))
    alone = [point for point in held if point.alone_ns]
    rows.append(_error_row(ALONE, [_alone(model, p.shape) / p.alone_ns - 1 for p in alone]))
    return [row for row in rows if row.points]


def _alone(model: CostModel, shape: StepShape) -> int:
    """From launch to tokens on an idle device."""
    step = shape.sums()
    run_step(model, step, 0, 0)
    return int(step[0].ends_at_ns - step[0].launched_at_ns)


def _error_row(kind: str, off: list[float]) -> ErrorRow:
    if not off:
        return ErrorRow(kind, 0, 0, 0, 0, 0)
    size = np.abs(off)
    p50, p90 = np.percentile(size, [50, 90])
    return ErrorRow(kind, len(off), float(np.mean(off)), float(p50), float(p90), float(size.max()))
