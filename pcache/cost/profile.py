"""A profile: how long the engine's steps take with one model on one GPU, measured by `calibrate`.

A JSON file that holds the fitted numbers, their errors on points held out of the fit, and the raw
measurements, from which `fitted` can make them again.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields, replace
from pathlib import Path
from typing import Any

import numpy as np

from pcache.cost.contract import CostModel, StepCost
from pcache.cost.fit import ErrorRow, error_rows, fit_host, fit_steps
from pcache.cost.points import LoadSequence, LoopSample, Point
from pcache.cost.profiled import TERMS
from pcache.cost.throttle import STAGE
from pcache.cost.timing import HOST
from pcache.errors import ConfigError
from pcache.shapes import ModelShape
from pcache.types import I8

__all__ = ["EngineSizes", "Profile", "fitted", "read_profile", "write_profile"]

FORMAT_VERSION = 1
_MOST_SLOWDOWN, _LEAST_TAU_NS = 100, 1e6
"""Beyond what a throttle can be."""


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
    none where the GPU keeps its clock.

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
        )
        return StepCost(model, f"profile {self.name}")


def _incomplete(profile: Profile) -> ConfigError:
    return ConfigError(
        f"profile {profile.name} is incomplete ({len(profile.points)} points measured, nothing "
        "fitted): calibrate again"
    )


def fitted(profile: Profile) -> Profile:
    """The profile with everything fitted from its raw measurements.

    Raises ConfigError where they are not all there.
    """
    if not profile.loop:
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
        errors=error_rows(profile.points, model),
    )


def write_profile(profile: Profile, path: Path) -> None:
    """Write a profile as JSON, a measurement a line. Raises ConfigError if that is impossible."""
    measured = {
        "points": [point.to_json() for point in profile.points],
        "loop": [asdict(sample) for sample in profile.loop],
        "sequences": [asdict(sequence) for sequence in profile.sequences],
    }
    head = {"format_version": FORMAT_VERSION} | {
        field.name: getattr(profile, field.name) for field in fields(Profile)
    }
    head |= {
        "shape": asdict(profile.shape),
        "sizes": asdict(profile.sizes),
        "errors": [asdict(row) for row in profile.errors],
    }
    parts = [f"  {json.dumps(k)}: {json.dumps(v)}" for k, v in head.items() if k not in measured]
    for name, rows in measured.items():
        lines = ",\n".join(f"    {json.dumps(row)}" for row in rows)
        parts.append(f"  {json.dumps(name)}: [\n{lines}\n  ]")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial = path.with_name(f".{path.name}.partial")
        partial.write_text("{\n" + ",\n".join(parts) + "\n}\n")
        partial.replace(path)
    except OSError as error:
        raise ConfigError(f"{path}: cannot write the profile ({error.strerror})") from error


def read_profile(path: Path) -> Profile:
    """Read and check a profile. Raises ConfigError naming the file and what is wrong with it."""
    try:
        value = json.loads(path.read_text())
    except OSError as error:
        raise ConfigError(
            f"{path}: cannot read the profile ({error.strerror}); pcache calibrate makes one"
        ) from error
    except ValueError as error:
        raise ConfigError(f"{path}: not a profile (no JSON: {error})") from error
    if not isinstance(value, dict) or "format_version" not in value:
        raise ConfigError(f"{path}: not a profile (no format_version); pcache calibrate makes one")
    if value["format_version"] != FORMAT_VERSION:
        raise ConfigError(
            f"{path}: format version {value['format_version']!r}, this pcache reads "
            f"{FORMAT_VERSION}; calibrate again"
        )
    try:
        profile = _profile(value)
        problem = _problem(profile)
    except KeyError as error:
        problem = f"no {error.args[0]}"
    except (TypeError, ValueError, AttributeError) as error:
        problem = str(error).splitlines()[0]
    if problem:
        raise ConfigError(f"{path}: damaged profile ({problem}); calibrate again")
    return profile


def _profile(value: dict[str, Any]) -> Profile:
    later = {"throttle": (), "sequences": ()}  # what profiles lack that are older than it
    given: dict[str, Any] = {field.name: (later | value)[field.name] for field in fields(Profile)}
    scaling = tuple((name, at) for name, at in given["shape"]["rope_scaling"])
    sizes: dict[str, Any] = {
        name: tuple(size) if isinstance(size, list) else size
        for name, size in given["sizes"].items()
    }
    given["shape"] = ModelShape(**given["shape"] | {"rope_scaling": scaling})
    given["sizes"] = EngineSizes(**sizes)
    for name in ("linear_sizes", "linear", "context_sizes", "context"):
        given[name] = tuple(given[name])
    given["points"] = [Point.from_json(row) for row in given["points"]]
    given["loop"] = [LoopSample(**row) for row in given["loop"]]
    given["throttle"] = tuple(map(_stage, given["throttle"]))
    if given["terms"] and given["host"]:
        given["terms"] = {"split_extends": 0.0, "split_decodes": 0.0} | given["terms"]
        given["host"] = {"start_eager": given["host"].get("start")} | given["host"]
    given["sequences"] = [LoadSequence.from_json(row) for row in given["sequences"]]
    given["errors"] = [ErrorRow(**row) for row in given["errors"]]
    return Profile(**given)


def _stage(numbers: Sequence[float]) -> tuple[float, ...]:
    """One stage of the throttle; in older profiles waiting for memory draws nothing."""
    stage = tuple(map(float, numbers))
    return (*stage, 0.0) if len(stage) == len(STAGE) - 1 else stage


def _problem(profile: Profile) -> str | None:
    """What makes the fitted numbers unusable, if anything."""
    if not profile.complete:
        return None
    terms, host = profile.terms or {}, profile.host or {}
    for name, known, given in (("terms", TERMS, terms), ("host", HOST, host)):
        if sorted(given) != sorted(known):
            return f"{name} are {', '.join(given)}; expected {', '.join(known)}"
    numbers = [*terms.values(), *host.values(), *profile.linear, *profile.context]
    if not all(np.isfinite(number) and number >= 0 for number in numbers):
        return "a negative or infinite time"
    for name in ("linear", "context"):
        sizes, times = getattr(profile, f"{name}_sizes"), getattr(profile, name)
        if len(sizes) < 2 or len(sizes) != len(times):
            return f"{name} has {len(times)} times for {len(sizes)} sizes; expected 2 or more"
        if list(sizes) != sorted(set(sizes)) or list(times) != sorted(times):
            return f"{name} does not ascend"
    if profile.throttle and [len(stage) for stage in profile.throttle] != [len(STAGE)] * 2:
        return f"throttle is not two stages of {', '.join(STAGE)}"
    for compute, memory, threshold, tau_ns, draw in profile.throttle:
        if not (0 <= compute < _MOST_SLOWDOWN and 0 <= memory < _MOST_SLOWDOWN):
            return f"a slowdown in the throttle that is not from 0 to {_MOST_SLOWDOWN}"
        if not (0 <= threshold <= 1 and 0 <= draw <= 1 and _LEAST_TAU_NS <= tau_ns < np.inf):
            return "a threshold or draw in the throttle outside 0 to 1, or a tau_ns below 1 ms"
    return None
