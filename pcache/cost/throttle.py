"""A GPU at its power limit lowers its clock, and its steps take longer.

A step draws power by its busy share, how much of its time the GPU is busy (`profiled.busy_ns`
over its duration): 1 while it is, `draw` in the rest of its time, when it waits for memory, and 0 when
the GPU idles. Busy are the tensor cores, and for a part `shared_busy` of the time decodes that read
what others read too: it comes from the GPU's cache, with less waiting. Power is limited on average over
a while, so a stage of the limit looks at a load, the mean of the power that forgets within `tau_ns`,

    load' = (power - load) / tau,  power = share + draw · (1 - share)

and of what the load exceeds `threshold` by, on average over the step,

    duration = full clock · (1 + excess · (compute_slowdown · share + memory_slowdown · (1 - share)))

There are two stages, which add up, for a limit within tens of milliseconds and one within about a
second. Decodes let the GPU recover, though less than idling does: after many of them a prefill slows
down earlier than after a rest.
"""

from __future__ import annotations

import math

from pcache.cost.contract import CostModel
from pcache.jit import hot
from pcache.types import F8, Records

__all__ = ["POWER", "STAGE", "mean_excess", "next_load", "power_of", "rest", "throttled_ns"]

STAGE = ("compute_slowdown", "memory_slowdown", "threshold", "tau_ns")
_COMPUTE, _MEMORY, _THRESHOLD, _TAU = range(len(STAGE))
POWER = ("draw", "shared_busy")
_DRAW = POWER.index("draw")


@hot
def next_load(load: float, power: float, elapsed: float) -> float:
    """The load after `elapsed`, in units of tau, under a constant power."""
    return power + (load - power) * math.exp(-elapsed)


@hot
def mean_excess(load: float, power: float, elapsed: float, threshold: float) -> float:
    """Mean over `elapsed`, in units of tau, of what the load exceeds the threshold by."""
    if elapsed <= 0:
        return max(0.0, load - threshold)
    first, last = load - threshold, next_load(load, power, elapsed) - threshold
    if first <= 0 and last <= 0:
        return 0.0
    begins, ends = 0.0, elapsed
    if (first < 0 or last < 0) and power != threshold:  # it crosses the threshold on the way
        crossing = math.log((load - power) / (threshold - power))
        begins, ends = (crossing, elapsed) if first < 0 else (0.0, crossing)
    decayed = (load - power) * (math.exp(-begins) - math.exp(-ends))
    return ((power - threshold) * (ends - begins) + decayed) / elapsed


@hot
def power_of(share: float, draw: float) -> float:
    """What a step of this busy share draws."""
    return share + draw * (1 - share)


@hot
def _slowed(stage: F8, load: float, share: float, power: float, cool_ns: float) -> float:
    excess = mean_excess(load, power, cool_ns / stage[_TAU], stage[_THRESHOLD])
    return excess * (stage[_COMPUTE] * share + stage[_MEMORY] * (1 - share)) * cool_ns


@hot
def rest(model: CostModel, step: Records, idle_ns: float) -> None:
    """Bring the loads of `step` to the end of a time without work."""
    stages, at = model.throttle, step[0]
    if len(stages) > 0:
        at.recent_load = next_load(at.recent_load, 0.0, idle_ns / stages[0, _TAU])
        at.lasting_load = next_load(at.lasting_load, 0.0, idle_ns / stages[1, _TAU])


@hot
def throttled_ns(
    model: CostModel, step: Records, cool_ns: float, busy_ns: float, idle_ns: float
) -> float:
    """Duration of a step that takes `cool_ns` at the GPU's full clock, `busy_ns` of them busy,
    begun after `idle_ns` without work; the loads of `step` are brought to its end."""
    stages, at = model.throttle, step[0]
    if len(stages) == 0 or cool_ns <= 0:
        return cool_ns
    rest(model, step, idle_ns)
    share, recent, lasting = min(1.0, busy_ns / cool_ns), at.recent_load, at.lasting_load
    power = power_of(share, model.power[_DRAW])
    duration = cool_ns + _slowed(stages[0], recent, share, power, cool_ns)
    duration += _slowed(stages[1], lasting, share, power, cool_ns)
    at.recent_load = next_load(recent, power, duration / stages[0, _TAU])
    at.lasting_load = next_load(lasting, power, duration / stages[1, _TAU])
    return duration
