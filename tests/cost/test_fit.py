"""Fitting: known coefficients come back, noise does little, nothing turns negative."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from made_up_profile import CONTEXT_KNOTS, HOST_NS, KNOTS, SIZES, made_up_cost, made_up_profile

from pcache.cost.fit import fit_host, fit_steps
from pcache.cost.nnls import nonnegative_least_squares
from pcache.cost.points import CLASSES, LoopSample, Point, StepShape
from pcache.cost.profile import fitted
from pcache.cost.profiled import profiled_ns
from pcache.types import F8

TRUE = made_up_cost().model


@given(st.integers(0, 10_000), st.integers(1, 5), st.integers(1, 9))
def test_least_squares_against_every_choice_of_columns(seed: int, width: int, height: int) -> None:
    rng = np.random.default_rng(seed)
    columns, wanted = rng.normal(size=(height, width)), rng.normal(size=height)
    if width > 1 and seed % 3 == 0:
        columns[:, -1] = 2 * columns[:, 0]
    found = nonnegative_least_squares(columns, wanted)
    assert (found >= 0).all()
    assert residual(columns, wanted, found) == pytest.approx(best_of_all(columns, wanted))


def residual(columns: F8, wanted: F8, x: F8) -> float:
    return float(np.linalg.norm(columns @ x - wanted))


def best_of_all(columns: F8, wanted: F8) -> float:
    best = float(np.linalg.norm(wanted))
    for size in range(1, columns.shape[1] + 1):
        for chosen in map(list, combinations(range(columns.shape[1]), size)):
            x = np.linalg.lstsq(columns[:, chosen], wanted, rcond=None)[0]
            if (x >= 0).all():
                best = min(best, residual(columns[:, chosen], wanted, x))
    return best


def measured(rng: np.random.Generator, noise: float, held_out: bool = False) -> list[Point]:
    """Steps of all kinds and how long the true model takes, with relative noise."""
    shapes = [((0, size, 1),) for size in KNOTS if size > 1]
    shapes += [((31, 1, size),) for size in (*SIZES.decodes, 11, 40)]
    for _ in range(120):
        extends, ones = int(rng.integers(0, 6)), int(rng.integers(0, 30))
        lengths = rng.integers(0, 20_000, size=(extends + ones, 1))
        counts = [*rng.integers(2, 200, size=extends), *[1] * ones]
        drawn = [(int(at), int(n), 1) for at, n in zip(lengths[:, 0], counts, strict=True)]
        if drawn:
            shapes.append(tuple(drawn))
    points = []
    for shape in shapes:
        for samples, shared in ((True, 0), (False, 0), (True, 32)):
            step = StepShape(shape, samples, shared)
            took = profiled_ns(TRUE, step.sums()) * (1 + noise * rng.normal())
            points.append(Point(step, int(took), 0.0, int(took), 1000, 5, held_out=held_out))
    return points


def test_a_known_model_comes_back() -> None:
    points = measured(np.random.default_rng(1), 0)
    found = fit_steps(points, KNOTS, CONTEXT_KNOTS, SIZES.table())
    for point in measured(np.random.default_rng(2), 0):
        assert profiled_ns(found, point.shape.sums()) == pytest.approx(point.gpu_ns, rel=2e-3)


def test_noise_neither_shows_much_nor_breaks_the_laws() -> None:
    points = measured(np.random.default_rng(1), 0.02)
    held = measured(np.random.default_rng(2), 0, held_out=True)
    profile = fitted(
        made_up_profile(points=points + held, loop=[LoopSample(1, 1, True, False, 1, 1, 1)])
    )
    assert [row.kind for row in profile.errors] == list(CLASSES)
    assert all(row.p90 < 0.04 and abs(row.mean) < 0.01 for row in profile.errors)
    assert profile.terms is not None
    assert min(profile.terms.values()) >= 0
    assert list(profile.linear) == sorted(profile.linear)


def test_held_out_points_are_not_fitted() -> None:
    points = measured(np.random.default_rng(1), 0)
    wrong = [Point(p.shape, 10 * p.gpu_ns, 0.0, 1, 1, 1, held_out=True) for p in points]
    one, other = (
        fit_steps(chosen, KNOTS, CONTEXT_KNOTS, SIZES.table())
        for chosen in (points, points + wrong)
    )
    assert np.array_equal(one.linear, other.linear)
    assert np.array_equal(one.terms, other.terms)
    slow = [Point(p.shape, p.gpu_ns, 0.0, 1, 9_000_000, 1, held_out=True) for p in points]
    hosts = [fit_host(chosen, [], TRUE, False).host for chosen in (points, points + slow)]
    assert np.array_equal(*hosts)


def test_the_hosts_part_comes_back_through_pauses() -> None:
    """One sample in ten is a pause ten times as long as anything else."""
    rng = np.random.default_rng(4)
    loop = []
    for number in range(400):
        num, tokens = int(rng.integers(1, 200)), int(rng.integers(1, 3000))
        pause = 5_000_000 if number % 10 == 0 else 0
        graph = number % 3 > 0
        kind = "graph" if graph else "eager"
        loop.append(
            LoopSample(
                num, tokens, graph, False,
                int(HOST_NS["plan"] + num * HOST_NS["plan_request"]
                    + tokens * HOST_NS["plan_token"]) + pause,
                int(HOST_NS[kind] + num * HOST_NS[f"{kind}_request"]) + pause,
                int(HOST_NS["commit"] + num * HOST_NS["commit_request"]) if number % 2 else -1,
            )
        )  # fmt: skip
    graph = alone(8, 1_060_000)
    host = dict(zip(HOST_NS, fit_host([graph], loop, TRUE, False).host.tolist(), strict=True))
    for name, wanted in HOST_NS.items():
        if name not in ("submit", "start", "start_eager"):
            assert host[name] == pytest.approx(wanted, rel=0.02), name
    assert (host["submit"], host["start"], host["start_eager"]) == (90_000, 60_000, 60_000)


def alone(new_tokens: int, alone_gpu_ns: int, host_ns: int = 1) -> Point:
    """A step of a millisecond, and how long it took on an idle device."""
    return Point(StepShape(((0, new_tokens, 1),)), 1_000_000, 0.0, 1, host_ns, 5,
                 alone_ns=alone_gpu_ns + 90_000, alone_gpu_ns=alone_gpu_ns)  # fmt: skip


def test_steps_outside_graphs_begin_late_of_their_own() -> None:
    """Not those that the GPU waits for all the way, as launching takes longer than they do."""
    points = [alone(8, 1_060_000), alone(200, 1_900_000), alone(300, 9_000_000, 9_000_000)]
    host = dict(zip(HOST_NS, fit_host(points, [], TRUE, False).host.tolist(), strict=True))
    assert (host["start"], host["start_eager"]) == (60_000, 900_000)


def test_a_slow_while_of_the_host_does_not_count_for_all_launches() -> None:
    slow = [LoopSample(1, 1000, False, True, -1, 24_000_000, -1)] * 9
    points = [alone(1000 + 16 * n, 1_000_000, 12_000_000) for n in range(20)]
    host = dict(zip(HOST_NS, fit_host(points, slow, TRUE, False).host.tolist(), strict=True))
    assert host["eager"] + host["eager_request"] == pytest.approx(12_000_000, rel=0.01)
