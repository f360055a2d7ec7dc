"""How step times rise under load: steps one after the other, from a GPU that has rested.

Prefills of one size, alone and with a few decodes between, show how fast a GPU slows down and how far.
Made-up traffic shows what that comes to where it matters: prefills of all sizes, alone or in one step
with decodes, before runs of decodes, long ones and in overload short ones. Some decodes share most of
their context, which a GPU reads from its cache and draws more power for.
"""

from __future__ import annotations

import time
from itertools import cycle, pairwise

import numpy as np

from pcache.cost.points import LoadSequence, StepShape
from pcache.gpu.calibration_grid import Limits
from pcache.gpu.runner import Pending
from pcache.gpu.step import StepOutputs
from pcache.gpu.synthetic import SyntheticRunner

__all__ = ["load_sequences", "time_sequence"]

_REST_S = 1.0
_SHORT_NS, _LONG_NS = 400_000_000, 4_000_000_000
_TRAFFIC = ((150, 14_000_000_000), (10, 10_000_000_000))
"""Most decodes between two prefills of traffic, and for how many ns."""
_PREFILLS = 100
"""After which traffic repeats itself."""
_PREFILL_TOKENS = (256, 512, 1024, 2048, 4096)
_DECODES, _BESIDE, _SHARING = (8, 1024), (24, 1024), (48, 4096, 0.9)
"""Decodes alone, beside a prefill, and with a part of their context shared: how many, and how long."""


def load_sequences(limits: Limits) -> list[tuple[tuple[StepShape, ...], int]]:
    """Shapes to take turns, and for how many ns, within the limits."""
    most = min(limits.max_step_tokens, limits.max_context_tokens)
    sizes = [*(min(tokens, most) for tokens in _PREFILL_TOKENS), most]
    alone = [StepShape(((0, tokens, 1),)) for tokens in sizes]
    middle, longest = alone[2], alone[-1]
    decode, sharing = (_decodes(limits, limits.max_rows, *which) for which in (_DECODES, _SHARING))
    beside = _decodes(limits, limits.max_rows - 1, *_BESIDE)
    room = most - beside.new_tokens
    mixed = [StepShape(((0, min(tokens, room), 1), *beside.requests)) for tokens in sizes]
    prefills = alone + mixed if beside.new_tokens and room > 1 else alone
    prefills = list(filter(limits.allow, prefills))

    turns: dict[tuple[StepShape, ...], int] = {}
    turns |= {(extend,): _SHORT_NS for extend in alone[:4]}
    turns |= {(middle, *[decode] * decodes): _SHORT_NS for decodes in (1, 2, 4)}
    turns |= {(middle, *[sharing] * 4): _SHORT_NS, (longest,): _LONG_NS}
    turns |= {_traffic(prefills, [decode, sharing], between): ns for between, ns in _TRAFFIC}
    return [(shapes, ns) for shapes, ns in turns.items() if all(map(limits.allow, shapes))]


def _decodes(
    limits: Limits, rows: int, num: int, context: int, shared_part: float = 0
) -> StepShape:
    """So many decodes of such a context, or as many as there are rows and memory for."""
    context, block_size = min(context, limits.max_context_tokens - 1), limits.block_size
    shared = int(shared_part * context) // block_size * block_size
    num = min(num, rows, limits.kv_tokens // (context + 1 + block_size))
    return StepShape(((context, 1, num),), shared_tokens=shared)


def _traffic(
    prefills: list[StepShape], decodes: list[StepShape], between: int
) -> tuple[StepShape, ...]:
    """Prefills in random order, each before 1 to `between` decodes of one kind, evenly by the
    logarithm."""
    rng = np.random.default_rng(1)
    turns: list[StepShape] = []
    for number in rng.integers(len(prefills), size=_PREFILLS):
        times = round(float(np.exp(rng.uniform(0, np.log(between)))))
        turns += [prefills[number], *[decodes[rng.integers(len(decodes))]] * times]
    return tuple(turns)


def time_sequence(
    steps: SyntheticRunner, shapes: tuple[StepShape, ...], lasting_ns: int, rest_s: float = _REST_S
) -> LoadSequence:
    """Run the shapes in turn for about `lasting_ns`, one step in flight ahead, after a rest."""
    different = tuple(dict.fromkeys(shapes))
    prepared = [steps.inputs_of(shape) for shape in different]
    for first, _ in prepared:  # compiles, and brings memory to the allocator
        steps.runner.launch(first).wait()
    time.sleep(rest_s)
    began = time.perf_counter_ns()
    numbers: list[int] = []
    outputs: list[StepOutputs] = []
    in_flight: Pending | None = None
    for shape in cycle(shapes):
        number = different.index(shape)
        first, again = prepared[number]
        ahead = steps.runner.launch(again if numbers[-1:] == [number] else first)
        numbers.append(number)
        if in_flight is not None:
            outputs.append(in_flight.wait())
        in_flight = ahead
        if time.perf_counter_ns() - began > lasting_ns:
            break
    assert in_flight is not None, "no shapes"
    outputs.append(in_flight.wait())
    idle = [0, *(b.on_host_at_ns - b.gpu_ns - a.on_host_at_ns for a, b in pairwise(outputs))]
    times = zip(numbers, idle, outputs, strict=True)
    return LoadSequence(different, tuple((n, max(0, ns), out.gpu_ns) for n, ns, out in times))
