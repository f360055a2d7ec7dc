"""Steps under load, timed on a CPU with a tiny model."""

from __future__ import annotations

import pytest

from pcache.cost.points import StepShape
from pcache.gpu.backend import backend_named
from pcache.gpu.layouts import NO_GRAPHS
from pcache.gpu.model import Model
from pcache.gpu.runner import RunnerConfig
from pcache.gpu.synthetic import SyntheticRunner
from pcache.gpu.throttle_timing import load_sequences, time_sequence
from pcache.gpu.weights import random_weights
from pcache.shapes import model_shape

pytestmark = pytest.mark.usefixtures("one_thread")


def test_shapes_take_turns_until_time_is_over() -> None:
    import torch

    shape, device = model_shape("tiny"), torch.device("cpu")
    weights = random_weights(shape, 0, torch.float32, device)
    model = Model(shape, weights, backend_named("reference"), 64)
    config = RunnerConfig(64, 4, 32, graphs=NO_GRAPHS)
    steps = SyntheticRunner(model, 40, 4, config)
    extend, decode = StepShape(((8, 16, 1),)), StepShape(((20, 1, 3),))
    found = time_sequence(steps, (extend, decode, decode), 30_000_000, rest_s=0)
    assert found.shapes == (extend, decode)
    numbers = [number for number, _, _ in found.steps]
    assert numbers == ([0, 1, 1] * len(numbers))[: len(numbers)]
    assert all(idle >= 0 and ns > 0 for _, idle, ns in found.steps)
    assert found.steps[0][1] == 0
    took = sum(idle + ns for _, idle, ns in found.steps)
    assert 20_000_000 < took < 10 * 30_000_000


def test_every_turn_fits_into_a_step() -> None:
    for largest in (128, 8192):
        turns = [shapes for shapes, _ in load_sequences(largest)]
        assert max(shape.new_tokens for shapes in turns for shape in shapes) == largest
        assert any(shape.new_tokens == 8 for shapes in turns for shape in shapes)
