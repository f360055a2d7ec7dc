"""How long a step of a given shape takes: in a steady sequence of its like, and alone.

Steps follow each other as the engine runs them, with one in flight ahead of the host. Where the host
takes so long to launch a step that the GPU may wait for it, a few are queued behind a pause of the
GPU, so that its own time is seen as well. So are steps that compute much, behind a pause long enough
for the GPU's full clock: what they take under load is measured apart (`throttle_timing`).
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import torch

from pcache.cost.points import Point, StepShape
from pcache.gpu.clock import GPU_REST_NS
from pcache.gpu.runner import Pending
from pcache.gpu.step import StepInputs
from pcache.gpu.synthetic import SyntheticRunner

__all__ = ["is_heavy", "time_step"]

_MEASURE_NS = 30_000_000
_FEWEST, _MOST = 2, 12
_LONG_NS = 30_000_000
"""Steps from here on need no warm-up, and their first run counts."""
_HEAVY_TOKENS = 256
"""New tokens from which a step may bring the GPU to its power limit."""
_HOST_MATTERS = 0.6
"""Share of a step's time on the GPU from which launching it may be what takes long."""
_CYCLES_A_NS = 2.0
"""At least as many as any GPU's clock has; a pause must not be too short."""
_PAUSE_OVER_LAUNCHES = 1.5
"""How much longer a pause is than launching what is queued behind it, and one step more."""
_ALONE_REPEATS = 2
_ALONE_WITHIN_NS = 60_000_000


@dataclass(frozen=True, slots=True)
class _Queue:
    """`rounds` times, `num_steps` launched while the GPU pauses for `rest_ns` or longer."""

    rounds: int
    num_steps: int
    rest_ns: int


_LIGHT, _HEAVY = _Queue(3, 2, 0), _Queue(3, 1, GPU_REST_NS)
"""No more steps at a time: a driver takes about a thousand launches ahead of the GPU, then it waits."""
_LONG_AND_HEAVY = _Queue(1, 1, 500_000_000)
"""Its earlier runs were the load of a good part of a second, and the GPU rests as long."""


def is_heavy(shape: StepShape) -> bool:
    """Whether the step may bring the GPU to its power limit: it is measured after a rest, and best
    after all light ones."""
    return shape.new_tokens >= _HEAVY_TOKENS


def time_step(steps: SyntheticRunner, shape: StepShape, *, alone: bool, held_out: bool) -> Point:
    """Measure one shape. With `alone` also as a single step on an idle device, if it is short."""
    first, inputs = steps.inputs_of(shape)
    rough_ns = max(1, steps.runner.launch(first).wait().gpu_ns)
    repeats = min(_MOST, max(_FEWEST, _MEASURE_NS // rough_ns))
    walls, hosts, on_gpu = _in_sequence(steps, inputs, repeats, int(rough_ns < _LONG_NS))
    if rough_ns >= _LONG_NS:
        on_gpu = [rough_ns, *on_gpu]
    if steps.model.device.type == "cuda":
        host_ns = float(np.median(hosts))
        if is_heavy(shape):
            queue = _LONG_AND_HEAVY if rough_ns >= _LONG_NS else _HEAVY
            on_gpu = _queued(steps, inputs, queue, host_ns)
        elif host_ns > _HOST_MATTERS * np.median(on_gpu):
            on_gpu = _queued(steps, inputs, _LIGHT, host_ns)
    apart = (0, 0)
    if alone and rough_ns < _ALONE_WITHIN_NS:
        apart = _alone(steps, inputs)
    low, middle, high = np.percentile(on_gpu, [25, 50, 75])
    return Point(
        shape=shape,
        gpu_ns=int(middle),
        spread=round(float(high - low) / 2 / float(middle), 5),
        wall_ns=int(np.median(walls)),
        host_ns=int(np.median(hosts)),
        repeats=len(on_gpu),
        alone_ns=apart[0],
        alone_gpu_ns=apart[1],
        held_out=held_out,
    )


def _in_sequence(
    steps: SyntheticRunner, inputs: StepInputs, repeats: int, warm_ups: int
) -> tuple[Sequence[int], Sequence[int], Sequence[int]]:
    """From token to token, in launching, and on the GPU, of steps with one in flight ahead."""
    in_flight: list[Pending] = []
    tokens_at: list[int] = []
    hosts: list[int] = []
    on_gpu: list[int] = []
    for _ in range(repeats + warm_ups):
        began = time.perf_counter_ns()
        in_flight.append(steps.runner.launch(inputs))
        hosts.append(time.perf_counter_ns() - began)
        for step in in_flight[:-1]:
            _note(step, tokens_at, on_gpu)
        in_flight = in_flight[-1:]
    _note(in_flight[0], tokens_at, on_gpu)
    return np.diff(tokens_at).tolist(), hosts[warm_ups:], on_gpu[warm_ups:]


def _note(step: Pending, tokens_at: list[int], on_gpu: list[int]) -> None:
    outputs = step.wait()
    tokens_at.append(outputs.on_host_at_ns)
    on_gpu.append(outputs.gpu_ns)


def _queued(
    steps: SyntheticRunner, inputs: StepInputs, queue: _Queue, host_ns: float
) -> Sequence[int]:
    """On the GPU, of steps that take `host_ns` to launch and were launched while it paused."""
    on_gpu = []
    pause_ns = max(_PAUSE_OVER_LAUNCHES * (queue.num_steps + 1) * host_ns, queue.rest_ns)
    for _ in range(queue.rounds):
        torch.cuda._sleep(int(pause_ns * _CYCLES_A_NS))
        pending = [steps.runner.launch(inputs) for _ in range(queue.num_steps)]
        on_gpu += [step.wait().gpu_ns for step in pending]
    return on_gpu


def _alone(steps: SyntheticRunner, inputs: StepInputs) -> tuple[int, int]:
    """Until the tokens are on the host, and on the GPU, of a step on a device that has rested."""
    until, on_gpu = [], []
    for _ in range(_ALONE_REPEATS):
        time.sleep(GPU_REST_NS / 1e9)
        began = time.perf_counter_ns()
        outputs = steps.runner.launch(inputs).wait()
        until.append(outputs.on_host_at_ns - began)
        on_gpu.append(outputs.gpu_ns)
    return int(np.median(until)), int(np.median(on_gpu))
