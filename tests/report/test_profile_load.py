"""The chart of steps under load."""

from __future__ import annotations

from made_up_profile import made_up_cost

from pcache.cost.points import LoadSequence, StepShape
from pcache.report.figures.profile_load import draw

MODEL = made_up_cost().model
SMALL, LARGE = StepShape(((0, 256, 1),)), StepShape(((0, 4096, 1), (64, 1, 4)))
DECODE = StepShape(((64, 1, 8),))


def sequence(shapes: tuple[StepShape, ...], numbers: list[int]) -> LoadSequence:
    return LoadSequence(shapes, tuple((number, 0, 1_000_000) for number in numbers))


def test_titles_say_what_a_sequence_is_of() -> None:
    sequences = [
        sequence((SMALL,), [0] * 5),
        sequence((SMALL, DECODE), [0, 1, 1, 0, 1, 1]),
        sequence((SMALL, LARGE, DECODE), [0, 2, 2, 2, 1, 2, 2, 2, 2, 2]),
    ]
    chart = draw(sequences, MODEL, "load")
    assert chart is not None
    assert [axes.get_title() for axes in chart.figure.axes] == [
        "256 new", "256 new, 2 × batch of 8", "256 to 4,100 new, 4 × decodes",
    ]  # fmt: skip


def test_a_gpu_that_keeps_its_clock_has_no_chart() -> None:
    steady = MODEL._replace(throttle=MODEL.throttle[:0])
    assert draw([sequence((SMALL,), [0] * 5)], steady, "load") is None
