"""Steps under load, timed on a CPU with a tiny model."""

from __future__ import annotations

import pytest

from pcache.cost.points import StepShape
from pcache.cost.profile import EngineSizes
from pcache.gpu.backend import backend_named
from pcache.gpu.calibration_grid import Limits
from pcache.gpu.layouts import NO_GRAPHS
from pcache.gpu.model import Model
from pcache.gpu.runner import Pending, Runner, RunnerConfig
from pcache.gpu.step import StepInputs
from pcache.gpu.synthetic import SyntheticRunner
from pcache.gpu.throttle_timing import load_sequences, time_sequence
from pcache.gpu.weights import random_weights
from pcache.shapes import model_shape

pytestmark = pytest.mark.usefixtures("one_thread")


def test_shapes_take_turns_until_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    import torch

    wrote_tables: list[bool] = []
    launch = Runner.launch

    def noted(runner: Runner, inputs: StepInputs) -> Pending:
        wrote_tables.append(len(inputs.table_runs) > 0)
        return launch(runner, inputs)

    shape, device = model_shape("tiny"), torch.device("cpu")
    weights = random_weights(shape, 0, torch.float32, device)
    model = Model(shape, weights, backend_named("reference"), 64)
    config = RunnerConfig(64, 4, 32, graphs=NO_GRAPHS)
    steps = SyntheticRunner(model, 40, 4, config)
    extend, decode = StepShape(((8, 16, 1),)), StepShape(((20, 1, 3),))
    monkeypatch.setattr(Runner, "launch", noted)
    found = time_sequence(steps, (extend, decode, decode), 30_000_000, rest_s=0)
    assert found.shapes == (extend, decode)
    numbers = [number for number, _, _ in found.steps]
    assert numbers == ([0, 1, 1] * len(numbers))[: len(numbers)]
    in_turn = wrote_tables[-len(numbers) :]  # after those that compile
    assert in_turn == ([True, True, False] * len(numbers))[: len(numbers)]
    assert all(idle >= 0 and ns > 0 for _, idle, ns in found.steps)
    assert found.steps[0][1] == 0
    took = sum(idle + ns for _, idle, ns in found.steps)
    assert 20_000_000 < took < 10 * 30_000_000


@pytest.mark.parametrize(
    ("rows", "step", "context", "kv_tokens"),
    [
        (256, 128, 65536, 600_000),
        (256, 8192, 65536, 600_000),
        (256, 8192, 2048, 600_000),
        (256, 8192, 65536, 100_000),
        (256, 8192, 65536, 10_000),
        (2, 8192, 512, 600_000),
    ],
)
def test_every_turn_is_within_the_limits(
    rows: int, step: int, context: int, kv_tokens: int
) -> None:
    limits = Limits(rows, step, context, kv_tokens, 16, EngineSizes())
    turns = [shapes for shapes, _ in load_sequences(limits)]
    shapes = {shape for turn in turns for shape in turn}
    assert all(limits.allow(shape) for shape in shapes)
    assert max(shape.new_tokens for shape in shapes) == min(step, context)
    traffic = [set(turn) for turn in turns if len(turn) > 100]
    assert len(traffic) == 2
    for drawn in traffic:
        decodes = {shape for shape in drawn if shape.new_tokens == shape.num_requests}
        assert {shape.shared_tokens > 0 for shape in decodes} == {False, True}
        mixed = {shape for shape in drawn - decodes if shape.num_requests > 1}
        assert 0 < len(mixed) < len(drawn - decodes)


def test_one_row_has_no_mixed_steps() -> None:
    turns = load_sequences(Limits(1, 8192, 512, 600_000, 16, EngineSizes()))
    assert {shape.num_requests for shapes, _ in turns for shape in shapes} == {1}
    assert sum(len(set(shapes)) > 2 for shapes, _ in turns) == 2


def test_turns_of_a_small_runner_have_decodes_too_and_none_twice() -> None:
    turns = load_sequences(Limits(4, 8192, 512, 600_000, 16, EngineSizes()))
    shapes = [shapes for shapes, _ in turns]
    assert len(set(shapes)) == len(shapes)
    assert all(shape.longest <= 512 for turn in shapes for shape in turn)
    assert sum(len(turn) > 1 for turn in shapes) == 6
    assert max(ns for turn, ns in turns if len(turn) == 1) > 1_000_000_000
