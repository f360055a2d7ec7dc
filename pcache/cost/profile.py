"""A profile: how long the engine's steps take with one model on one GPU, measured by `calibrate`.

It holds the fitted numbers, their errors on points held out of the fit, and the raw measurements, from
which `fitted` can make them again. `profile_file` keeps it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from pcache.cost.contract import CostModel, StepCost
from pcache.cost.fit import ErrorRow, error_rows, fit_host, fit_steps
from pcache.cost.points import LoadSequence, LoopSample, Point
from pcache.cost.profiled import TERMS
from pcache.cost.throttle import POWER, STAGE
from pcache.cost.timing import HOST
from pcache.errors import ConfigError
from pcache.shapes import ModelShape
from pcache.types import I8

__all__ = ["EngineSizes", "Profile", "fitted"]

_FEWEST_POINTS = 20
"""To fit, for less than one of each kind of step says nothing."""


@dataclass(frozen=True, slots=True)
class EngineSizes:
    """Sizes of the engine's CUDA graphs, ascending, as `gpu.layouts.GraphBuckets`."""

    decodes: tuple[int, ...] = ()
    extend_tokens: tuple[int, ...] = ()
    mixed_decodes: tuple[int, ...] = ()
    """Of decodes beside extends, 0 included."""
    max_extends: int = 0

    def table(self) -> I8:
        """As `CostModel.sizes`."""
        rows = (self.decodes, self.extend_tokens, self.mixed_decodes, (self.max_extends,))
        width = max(map(len, rows))
        return np.array([[*row, *[-1] * (width - len(row))] for row in rows], np.int64)


@dataclass(frozen=True, slots=True)
class Profile:
    """One GPU with one model. Numbers in ns: `terms` as `profiled.TERMS`, `host` as `timing.HOST`,
    `linear` and `context` one for each of their sizes, `throttle` as `throttle.STAGE`, a row a stage,
    none where the GPU keeps its clock, `power` as `throttle.POWER`.

    gpu       name as in `pcache.shapes.GPUS`, or the device's own; `device` is always that
    measured  versions, date, memory and clocks of the machine
    complete  false where calibration was cut short: raw points only, nothing fitted
    """

    name: str
    gpu: str
    device: str
    shape: ModelShape
    dtype: str
    block_size_tokens: int
    memory_bytes: int
    synchronous: bool
    measured: Mapping[str, Any]
    sizes: EngineSizes
    linear_sizes: tuple[int, ...]
    context_sizes: tuple[int, ...]
    points: Sequence[Point]
    loop: Sequence[LoopSample]
    complete: bool = False
    terms: Mapping[str, float] | None = None
    linear: tuple[float, ...] = ()
    context: tuple[float, ...] = ()
    host: Mapping[str, float] | None = None
    throttle: tuple[tuple[float, ...], ...] = ()
    power: tuple[float, ...] = (0.0,) * len(POWER)
    errors: Sequence[ErrorRow] = ()
    sequences: Sequence[LoadSequence] = ()

    def cost(self) -> StepCost:
        """As a cost model. Raises ConfigError for an incomplete profile."""
        if not self.complete or self.terms is None or self.host is None:
            raise _incomplete(self)
        terms, host = self.terms, self.host
        model = CostModel(
            np.zeros(9),
            np.array([terms[name] for name in TERMS], float),
            np.column_stack([self.linear_sizes, self.linear]).astype(float),
            np.column_stack([self.context_sizes, self.context]).astype(float),
            self.sizes.table(),
            np.array([host[name] for name in HOST], float),
            np.array(self.throttle, float).reshape(-1, len(STAGE)),
            np.array(self.power, float),
        )
        return StepCost(model, f"profile {self.name}")


def _incomplete(profile: Profile) -> ConfigError:
    return ConfigError(
        f"profile {profile.name} is incomplete ({len(profile.points)} points measured, nothing "
        "fitted): calibrate again"
    )


def fitted(profile: Profile) -> Profile:
    """The profile with everything fitted from its raw measurements.

    Raises ConfigError where they are not all there, or where nothing can be fitted to them.
    """
    if not profile.loop or sum(not point.held_out for point in profile.points) < _FEWEST_POINTS:
        raise _incomplete(profile)
    steps = fit_steps(
        profile.points, profile.linear_sizes, profile.context_sizes, profile.sizes.table(),
        profile.sequences,
    )  # fmt: skip
    model = fit_host(profile.points, profile.loop, steps, profile.synchronous)
    return replace(
        profile,
        complete=True,
        terms=dict(zip(TERMS, map(float, model.terms), strict=True)),
        linear=tuple(map(float, model.linear[:, 1])),
        context=tuple(map(float, model.context[:, 1])),
        host=dict(zip(HOST, map(float, model.host), strict=True)),
        throttle=tuple(tuple(map(float, stage)) for stage in model.throttle),
        power=tuple(map(float, model.power)),
        errors=error_rows(profile.points, model),
    )
