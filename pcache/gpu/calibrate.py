"""`pcache calibrate`: measure a GPU with a model into a profile for the simulator."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path

import numpy as np
import torch

from pcache.cost.points import LoadSequence, LoopSample, Point
from pcache.cost.profile import Profile, fitted
from pcache.cost.profile_file import check_writable, incomplete_path, write_profile
from pcache.cost.shipped import profile_name
from pcache.errors import DeviceError
from pcache.gpu.calibration_grid import (
    Limits,
    context_sizes,
    designed_steps,
    drawn_steps,
    linear_sizes,
)
from pcache.gpu.device import current_gpu
from pcache.gpu.layouts import NO_GRAPHS, GraphBuckets, Layouts
from pcache.gpu.loop_timing import LoopLoad, time_loop
from pcache.gpu.model import Model
from pcache.gpu.run import EngineSettings, hardware, load_model, memory_tokens, threads_for
from pcache.gpu.runner import RunnerConfig
from pcache.gpu.step_timing import is_heavy, time_step
from pcache.gpu.synthetic import SyntheticRunner
from pcache.gpu.throttle_timing import load_sequences, time_sequence
from pcache.interrupt import held_interrupt

__all__ = ["CalibrationSettings", "calibrate"]


@dataclass(frozen=True, slots=True)
class CalibrationSettings:
    """What to measure. `seed` draws the steps held out of the fit, and the order of all."""

    engine: EngineSettings
    block_size: int = 16
    token_budget: int = 8192
    seed: int = 0


@dataclass(frozen=True, slots=True)
class _Extent:
    """How much is measured; on a CPU just enough to see everything work."""

    max_rows: int
    max_step_tokens: int
    max_context_tokens: int
    kv_tokens: int
    held_out_per_class: int
    loop_requests: int
    longest_output: int
    under_load: bool


_GPU = _Extent(
    max_rows=256, max_step_tokens=8192, max_context_tokens=65536, kv_tokens=600_000,
    held_out_per_class=20, loop_requests=160, longest_output=128,
    under_load=True,
)  # fmt: skip
_CPU = _Extent(
    max_rows=16, max_step_tokens=1024, max_context_tokens=2048, kv_tokens=16384,
    held_out_per_class=5, loop_requests=16, longest_output=12,
    under_load=False,
)  # fmt: skip


@dataclass(slots=True)
class _Raw:
    """What was measured so far, as in a profile."""

    points: list[Point] = field(default_factory=list)
    sequences: list[LoadSequence] = field(default_factory=list)
    loop: list[LoopSample] = field(default_factory=list)

    def put_into(self, profile: Profile) -> Profile:
        return replace(profile, points=self.points, sequences=self.sequences, loop=self.loop)


def calibrate(
    settings: CalibrationSettings, out: Path, progress: Callable[[float], None] | None = None
) -> Profile:
    """Measure, fit, and write the profile to `out`; `progress` hears the share that is done.

    An interrupted calibration, or one whose device failed, leaves what was measured at
    `incomplete_path(out)` and raises KeyboardInterrupt or DeviceError with words on that. Raises
    ConfigError, before anything is measured, where `out` cannot be written.
    """
    check_writable(out)
    extent = _CPU if settings.engine.device == "cpu" else _GPU
    if extent is _GPU:
        extent = replace(extent, max_step_tokens=settings.token_budget)
    model = load_model(settings.engine, extent.max_context_tokens)
    limits = _limits(settings, extent, model)
    profile = _unmeasured(settings, model, limits)
    raw = _Raw()
    try:
        with threads_for(model):
            _measure(settings, extent, model, limits, raw, progress or (lambda _: None))
    except (KeyboardInterrupt, DeviceError) as error:
        if not raw.points:
            raise
        write_profile(raw.put_into(profile), incomplete_path(out))
        said = f"{error}; " if str(error) else ""
        raise type(error)(
            f"{said}what was measured is in {incomplete_path(out)}, incomplete"
        ) from error
    profile = fitted(raw.put_into(profile))
    write_profile(profile, out)
    return profile


def _measure(
    settings: CalibrationSettings,
    extent: _Extent,
    model: Model,
    limits: Limits,
    raw: _Raw,
    progress: Callable[[float], None],
) -> None:
    """Fill `raw`: single steps, steps under load, and the loop around steps."""
    num_blocks = limits.kv_tokens // limits.block_size
    config = RunnerConfig(
        limits.max_context_tokens, limits.max_rows, limits.max_step_tokens,
        graphs=_buckets(settings),
    )  # fmt: skip
    steps = SyntheticRunner(model, num_blocks, limits.block_size, config)
    drawn = drawn_steps(limits, extent.held_out_per_class, settings.seed)
    shapes = [(shape, False) for shape in designed_steps(limits)] + [(s, True) for s in drawn]
    with held_interrupt() as raise_if_pressed:
        order = np.random.default_rng(settings.seed).permutation(len(shapes))
        for at in sorted(order, key=lambda at: is_heavy(shapes[at][0])):  # light ones on a cool GPU
            raise_if_pressed()
            shape, held_out = shapes[at]
            alone = held_out or shape.num_requests == 1
            raw.points.append(time_step(steps, shape, alone=alone, held_out=held_out))
            progress(len(raw.points) / (len(shapes) + 1))
        if extent.under_load:
            for taking_turns, lasting_ns in load_sequences(limits):
                raise_if_pressed()
                raw.sequences.append(time_sequence(steps, taking_turns, lasting_ns))
    load = LoopLoad(
        num_apart=extent.loop_requests // 6,
        num_requests=extent.loop_requests,
        longest_prompt=min(limits.max_context_tokens // 4, 2048),
        longest_output=extent.longest_output,
        gap_ns=min(point.gpu_ns for point in raw.points),
    )
    raw.loop += time_loop(steps, load, limits.sizes)


def _buckets(settings: CalibrationSettings) -> GraphBuckets:
    return GraphBuckets() if settings.engine.graphs else NO_GRAPHS


def _limits(settings: CalibrationSettings, extent: _Extent, model: Model) -> Limits:
    kv_tokens = extent.kv_tokens
    if model.device.type == "cuda":
        kv_tokens = min(kv_tokens, memory_tokens(model))
    layouts = Layouts(_buckets(settings), extent.max_rows, extent.max_step_tokens)
    return Limits(
        extent.max_rows,
        extent.max_step_tokens,
        min(extent.max_context_tokens, model.shape.max_context_tokens),
        kv_tokens,
        settings.block_size,
        layouts.sizes,
    )


def _unmeasured(settings: CalibrationSettings, model: Model, limits: Limits) -> Profile:
    device = torch.cuda.get_device_name(model.device) if model.device.type == "cuda" else "CPU"
    known = current_gpu() if model.device.type == "cuda" else None
    gpu = known.name if known else device.lower().replace(" ", "-")
    shape = replace(model.shape, name=Path(model.shape.name).name, dtype_bytes=model.dtype.itemsize)
    described = hardware(model.device)
    return Profile(
        name=profile_name(gpu, shape.name, settings.engine.dtype),
        gpu=gpu,
        device=device,
        shape=shape,
        dtype=settings.engine.dtype,
        block_size_tokens=settings.block_size,
        memory_bytes=described.get("memory_bytes", 0),
        synchronous=model.device.type == "cpu",
        measured=described | {"date": datetime.now(UTC).date().isoformat()},
        sizes=limits.sizes,
        linear_sizes=tuple(linear_sizes(limits)),
        context_sizes=context_sizes(limits),
        points=[],
        loop=[],
    )
