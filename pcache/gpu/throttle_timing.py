"""How step times rise under load: steps one after the other, from a GPU that has rested."""

from __future__ import annotations

import time
from collections.abc import Iterator
from itertools import cycle

from pcache.cost.points import LoadSequence, StepShape
from pcache.gpu.runner import Pending
from pcache.gpu.synthetic import SyntheticRunner

__all__ = ["load_sequences", "time_sequence"]

_REST_S = 1.0
_SHORT_NS, _LONG_NS = 400_000_000, 2_500_000_000
_DECODE = StepShape(((1024, 1, 8),))


def load_sequences(max_step_tokens: int) -> Iterator[tuple[tuple[StepShape, ...], int]]:
    """Shapes to take turns, and for how many ns: extends alone, and with decodes between them, in
    which a GPU draws less."""
    small, middle, large = (min(tokens, max_step_tokens) for tokens in (512, 1024, 2048))
    for tokens in (small, middle, large):
        yield (_extend(tokens),), _SHORT_NS
    for decodes in (1, 2, 4):
        yield (_extend(middle), *[_DECODE] * decodes), _SHORT_NS
    yield (_extend(max_step_tokens),), _LONG_NS
    yield (_extend(large), *[_DECODE] * 3), _LONG_NS


def _extend(tokens: int) -> StepShape:
    return StepShape(((0, tokens, 1),))


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
    in_flight: list[tuple[int, Pending]] = []
    found: list[tuple[int, int, int]] = []
    ended_at = previous = -1

    def note() -> None:
        nonlocal ended_at
        number, pending = in_flight.pop(0)
        outputs = pending.wait()
        idle = outputs.on_host_at_ns - outputs.gpu_ns - ended_at if found else 0
        found.append((number, max(0, idle), outputs.gpu_ns))
        ended_at = outputs.on_host_at_ns

    for shape in cycle(shapes):
        number = different.index(shape)
        same_tables = number == previous
        in_flight.append((number, steps.runner.launch(prepared[number][same_tables])))
        previous = number
        if len(in_flight) > 1:
            note()
        if time.perf_counter_ns() - began > lasting_ns:
            break
    note()
    return LoadSequence(different, tuple(found))
