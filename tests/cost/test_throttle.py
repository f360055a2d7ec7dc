"""The throttle against numerical integration of what its module says, and its fit."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from made_up_profile import KNOTS, SIZES, made_up_cost, made_up_profile

from pcache.cost import CostModel, run_step, step_record
from pcache.cost.fit_throttle import fit_throttle, predicted_ns
from pcache.cost.points import LoadSequence, LoopSample, Point, StepShape
from pcache.cost.profile import fitted
from pcache.cost.profiled import busy_ns, profiled_ns
from pcache.cost.throttle import mean_excess, next_load, throttled_ns
from pcache.types import F8

MODEL = made_up_cost().model
fraction = st.floats(0, 1)


@given(fraction, fraction, st.floats(0.01, 20), fraction)
@example(0.0, 1.0, 5.0, 0.5)  # rises through the threshold
@example(1.0, 0.0, 5.0, 0.5)  # falls through it
@example(0.3, 0.3, 1.0, 0.3)
@example(0.9, 0.1, 20.0, 0.1)  # nears the threshold and never crosses it
def test_mean_excess_is_an_integral(
    load: float, share: float, elapsed: float, threshold: float
) -> None:
    steps = 20_000
    t = (np.arange(steps) + 0.5) * elapsed / steps
    loads = share + (load - share) * np.exp(-t)
    wanted = np.maximum(0, loads - threshold).mean()
    assert mean_excess(load, share, elapsed, threshold) == pytest.approx(wanted, abs=1e-6)
    assert next_load(load, share, elapsed) == pytest.approx(loads[-1], abs=2e-3)


def test_a_rested_gpu_slows_under_load_and_recovers() -> None:
    extend = StepShape(((0, 1024, 1),)).sums()
    cool, computing = profiled_ns(MODEL, extend), busy_ns(MODEL, extend)
    first, second, *_, last = (throttled_ns(MODEL, extend, cool, computing, 0) for _ in range(200))
    assert cool < first < second < last
    assert last == throttled_ns(MODEL, extend, cool, computing, 0)
    assert throttled_ns(MODEL, extend, cool, computing, 1e9) == first


def test_without_stages_nothing_is_slower() -> None:
    extend = StepShape(((0, 1024, 1),)).sums()
    model = MODEL._replace(throttle=np.zeros((0, 4)))
    cool, computing = profiled_ns(model, extend), busy_ns(model, extend)
    assert [throttled_ns(model, extend, cool, computing, 0) for _ in range(9)] == [cool] * 9


def test_loads_outlive_a_step() -> None:
    """The same step, after a long one and after a rest."""
    step = step_record()
    shape = StepShape(((0, 1024, 1),)).sums()[0]
    for name in ("num_requests", "num_extends", "extend_tokens", "tile_context"):
        step[0][name] = shape[name]
    durations = []
    for planned in (0, 100_000_000, 100_000_001, 900_000_000):
        run_step(MODEL, step, planned, int(step[0].ends_at_ns))
        durations.append(int(step[0].ends_at_ns - step[0].starts_at_ns))
    assert durations[1] < durations[2]
    assert durations[3] == pytest.approx(durations[0], rel=1e-3)


def throttled_model(throttle: F8, *power: float) -> CostModel:
    return MODEL._replace(throttle=throttle, power=np.array(power))


def sequence(
    shapes: list[StepShape], model: CostModel, lasting_ns: float, noise: float
) -> LoadSequence:
    """What a GPU with that throttle takes for the shapes in turn."""
    rng = np.random.default_rng(len(shapes))
    loads, steps, lasted = [0.0, 0.0], [], 0.0
    while lasted < lasting_ns:
        number = len(steps) % len(shapes)
        step = shapes[number].sums()
        step[0].recent_load, step[0].lasting_load = loads
        idle = 20_000.0
        cool, computing = profiled_ns(model, step), busy_ns(model, step)
        took = throttled_ns(model, step, cool, computing, idle) * (1 + noise * rng.normal())
        loads = [float(step[0].recent_load), float(step[0].lasting_load)]
        steps.append((number, int(idle), int(took)))
        lasted += took
    return LoadSequence(tuple(shapes), tuple(steps))


@pytest.mark.parametrize(
    ("throttle", "draw"),
    [
        (((0.3, 0.1, 0.5, 30e6), (0.0, 0.0, 0.7, 1e9)), 0.0),
        (((0.2, 0.0, 0.3, 60e6), (0.5, 0.3, 0.6, 0.7e9)), 0.15),
    ],
)
@pytest.mark.parametrize("noise", [0, 0.005])
def test_a_known_throttle_comes_back(
    throttle: tuple[tuple[float, ...], ...], draw: float, noise: float
) -> None:
    extends, decode = [StepShape(((0, n, 1),)) for n in (512, 1024, 4096)], StepShape(((64, 1, 4),))
    turns = [[extend] for extend in extends] + [
        [extends[1], decode, decode],
        [extends[1], *[decode] * 4],
    ]
    known = np.array(throttle)
    gpu = throttled_model(known, draw, 0)
    sequences = [sequence(shapes, gpu, 0.4e9, noise) for shapes in turns]
    long = [[extends[2]], [extends[2], decode, decode, decode]]
    sequences += [sequence(shapes, gpu, 2.5e9, noise) for shapes in long]
    model = fit_throttle(sequences, MODEL)
    found = model.throttle
    if noise == 0:
        slows = known[:, 0] > 0
        assert found[slows] == pytest.approx(known[slows], abs=1e-6)
        assert found[~slows, :2] == pytest.approx(0, abs=1e-6)
    compute, memory, threshold, tau = range(4)
    for slowdown, off in ((compute, 0.03), (memory, 0.06)):
        wanted, got = (of[:, slowdown] * (1 - of[:, threshold]) for of in (known, found))
        assert got == pytest.approx(wanted, abs=off)
    assert found[0, tau] == known[0, tau]
    assert model.power.tolist() == [draw, 0]
    assert found[0, threshold] == pytest.approx(known[0, threshold], abs=0.15)


@pytest.mark.parametrize("shared", [0.0, 0.5])
def test_what_reading_shared_context_draws_comes_back(shared: float) -> None:
    gpu = throttled_model(np.array(((0.3, 0.1, 0.2, 60e6), (0.2, 0.1, 0.4, 0.7e9))), 0.15, shared)
    extend, decode = StepShape(((0, 4096, 1),)), StepShape(((64, 1, 4),))
    together = StepShape(((4096, 1, 8),), shared_tokens=4000)
    turns = [[extend], [extend, *[decode] * 9], [extend, *[together] * 9], [extend, together]]
    sequences = [sequence(shapes, gpu, 1e9, 0.002) for shapes in turns]
    assert fit_throttle(sequences, MODEL).power.tolist() == [0.15, shared]


def test_computing_is_slowed_no_less_than_waiting_for_memory() -> None:
    upside_down = np.array(((0.1, 0.3, 0.3, 60e6), (0.0, 0.5, 0.4, 0.7e9)))
    extend, decode = StepShape(((0, 4096, 1),)), StepShape(((64, 1, 4),))
    turns = [[extend], [extend, decode], [extend, *[decode] * 20]]
    gpu = throttled_model(upside_down, 0.15, 0)
    found = fit_throttle([sequence(shapes, gpu, 1e9, 0) for shapes in turns], MODEL)
    compute, memory = found.throttle[:, 0], found.throttle[:, 1]
    assert memory.max() > 0
    assert (memory <= compute).all()


def test_a_sequence_is_predicted_step_by_step() -> None:
    known = np.array(((0.2, 0.1, 0.3, 60e6), (0.5, 0.3, 0.6, 0.7e9)))
    gpu = throttled_model(known, 0.15, 0.5)
    extend, decode = StepShape(((0, 4096, 1),)), StepShape(((64, 1, 4),), shared_tokens=48)
    made = sequence([extend, decode, decode], gpu, 2e9, 0)
    measured = [ns for _, _, ns in made.steps]
    predicted = predicted_ns(made, gpu)
    assert predicted == pytest.approx(measured, rel=1e-6)


def test_the_fit_takes_the_throttle_off_single_steps() -> None:
    """Of steps measured after a rest, long ones were slowed all the same."""
    known = np.array(((0.4, 0.1, 0.3, 20e6), (0.0, 0.0, 0.5, 1e9)))
    throttled = throttled_model(known, 0.15, 0.5)
    shapes = [StepShape(((0, size, 1),)) for size in KNOTS if size > 1]
    shapes += [
        StepShape(((start, count, 2), (64, 1, 3)))
        for start in (0, 900, 20_000)
        for count in (9, 300)
    ]
    shapes += [StepShape(((31, 1, size),)) for size in SIZES.decodes]
    shapes += [StepShape(((4096, 1, num),), shared_tokens=4000) for num in (2, 8, 16)]
    points = []
    for shape in shapes:
        step = shape.sums()
        cool, computing = profiled_ns(MODEL, step), busy_ns(MODEL, step)
        took = throttled_ns(throttled, step, cool, computing, 0)
        points.append(Point(shape, int(took), 0.0, int(took), 1000, 5))
    extends = [StepShape(((0, n, 1),)) for n in (256, 1024)]
    decode, sharing = StepShape(((31, 1, 4),)), StepShape(((4096, 1, 8),), shared_tokens=4000)
    turns = [[extends[0]], [extends[1]], [extends[1], decode, decode], [extends[0], decode]]
    turns += [[extends[1], *[sharing] * 9], [extends[1], *[decode] * 9]]
    sequences = [sequence(shapes, throttled, 0.3e9, 0) for shapes in turns]
    off = []
    for known_sequences in (sequences, []):
        profile = made_up_profile(
            points=points, sequences=known_sequences, loop=[LoopSample(1, 1, True, False, 1, 1, 1)]
        )
        model = fitted(profile).cost().model
        both = [(profiled_ns(model, s.sums()), profiled_ns(MODEL, s.sums())) for s in shapes]
        off.append(max(abs(found / wanted - 1) for found, wanted in both))
        assert model.power.tolist() == ([0.15, 0.5] if known_sequences else [0, 0])
    assert off[0] < 0.06
    assert off[1] > 0.1


def test_a_gpu_that_keeps_its_clock_has_no_throttle() -> None:
    extend, decode = StepShape(((0, 4096, 1),)), StepShape(((64, 1, 4),))
    steady = throttled_model(np.zeros((0, 4)), 0, 0)
    turns = [[extend], [extend, decode], [extend, *[decode] * 20]]
    found = fit_throttle([sequence(shapes, steady, 1e9, 0) for shapes in turns], MODEL)
    assert found.throttle.shape == (0, 4)
    assert found.power.tolist() == [0, 0]


def test_steps_that_waited_for_their_launch_say_nothing_of_the_throttle() -> None:
    gpu = throttled_model(np.array(((0.3, 0.1, 0.3, 60e6), (0.2, 0.1, 0.6, 0.7e9))), 0.15, 0)
    extends, decode = [StepShape(((0, n, 1),)) for n in (1024, 4096)], StepShape(((64, 1, 4),))
    waiting, never = StepShape(((0, 300, 1),)), StepShape(((0, 9, 1),))
    turns = [[extends[0]], [extends[1]], [extends[1], decode], [extends[0], decode, decode]]
    sequences = [sequence(shapes, gpu, 1e9, 0) for shapes in turns]
    late = int(20 * profiled_ns(MODEL, waiting.sums()))
    rng = np.random.default_rng(1)
    waited = tuple((0, 0, round(late * (1 + rng.random()))) for _ in range(50))
    both = [LoadSequence((waiting, never), waited), *sequences]
    assert fit_throttle(both, MODEL).throttle == pytest.approx(
        fit_throttle(sequences, MODEL).throttle
    )
