"""`pcache calibrate` on a CPU, end to end, and the steps that a GPU would be measured with."""

from __future__ import annotations

from dataclasses import replace
from itertools import pairwise, product
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from click.testing import Result
from reference.cost import graph_of
from typer.testing import CliRunner

from pcache.cli.main import app
from pcache.cost import CostModel
from pcache.cost.points import CLASSES
from pcache.cost.profile import EngineSizes
from pcache.cost.profile_file import incomplete_path, read_profile
from pcache.errors import DeviceError
from pcache.gpu import calibrate as calibration
from pcache.gpu.calibration_grid import (
    Limits,
    context_sizes,
    designed_steps,
    drawn_steps,
    linear_sizes,
)
from pcache.gpu.layouts import GraphBuckets, Layouts
from pcache.gpu.runner import Runner
from pcache.gpu.step_timing import is_heavy

GPU = Limits(256, 8192, 65536, 600_000, 16, Layouts(GraphBuckets(), 256, 8192).sizes)

pytestmark = pytest.mark.usefixtures("one_thread")


@pytest.fixture(autouse=True)
def _small_steps(monkeypatch: pytest.MonkeyPatch) -> None:
    small = replace(calibration._CPU, max_step_tokens=256, max_context_tokens=512, kv_tokens=8192)
    monkeypatch.setattr(calibration, "_CPU", small)


def pcache(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(app, list(arguments))
    assert result.exit_code == code, result.output
    return result


def test_a_small_model_on_a_cpu_and_its_simulation(tmp_path: Path) -> None:
    path = tmp_path / "profile.json"
    shown = pcache("calibrate", "--device", "cpu", "--out", str(path)).stdout
    assert "Relative error of the fit" in shown
    profile = read_profile(path)
    assert (profile.gpu, profile.shape.name, profile.synchronous) == ("cpu", "tiny", True)
    assert profile.complete
    assert {row.kind for row in profile.errors} == {"decode", "long extend", "mixed", "alone"}
    assert sum(point.held_out for point in profile.points) == 15
    assert all(point.gpu_ns > 0 and point.wall_ns > 0 for point in profile.points)
    heavy = [is_heavy(point.shape) for point in profile.points]
    assert any(heavy)
    assert heavy == sorted(heavy), "a light step was measured after a heavy one"
    assert profile.linear[-1] > 0
    assert list(profile.linear) == sorted(profile.linear)
    assert profile.host is not None
    assert profile.host["plan"] > 0
    assert any(sample.idle for sample in profile.loop)
    again = tmp_path / "again.json"
    pcache("calibrate", "--refit", str(path), "--out", str(again))
    assert again.read_text() == path.read_text()
    trace = str(Path(__file__).parents[2] / "traces" / "few-shot.jsonl.xz")
    arguments = ("simulate", trace, "--limit", "5", "--kv-tokens", "20k", "--profile", str(path))
    assert "the profile cpu-tiny-fp32, measured on CPU" in pcache(*arguments).stdout


@pytest.mark.parametrize(
    ("error", "code"), [(DeviceError("made up"), 2), (KeyboardInterrupt(), 130)]
)
def test_what_was_measured_survives(
    error: BaseException, code: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measure, calls = calibration.time_step, iter(range(100))

    def fail(*arguments: Any, **named: Any) -> Any:
        if next(calls) == 3:
            raise error
        return measure(*arguments, **named)

    monkeypatch.setattr(calibration, "time_step", fail)
    path = tmp_path / "profile.json"
    path.write_text("what an earlier calibration took minutes for")
    ended = pcache("calibrate", "--device", "cpu", "--out", str(path), code=code)
    assert path.read_text() == "what an earlier calibration took minutes for"
    kept = incomplete_path(path)
    assert f"what was measured is in {kept}, incomplete" in ended.output
    partial = read_profile(kept)
    assert (len(partial.points), partial.complete) == (3, False)
    refused = pcache("simulate", "traces/rag.jsonl.xz", "--profile", str(kept), code=2)
    assert "is incomplete (3 points measured, nothing fitted): calibrate again" in refused.stderr
    refused = pcache("calibrate", "--refit", str(kept), "--out", str(path), code=2)
    assert "calibrate again" in refused.stderr


def test_an_interrupt_before_the_first_step_leaves_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupt(*_: Any, **__: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(calibration, "time_step", interrupt)
    path = tmp_path / "profile.json"
    ended = pcache("calibrate", "--device", "cpu", "--out", str(path), code=130)
    assert "Interrupted: nothing was measured yet." in ended.output
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--model", "tiny"), "--model does not go with --refit, which measures nothing"),
        (("--block-size", "64"), "--block-size does not go with --refit"),
    ],
)
def test_a_refit_has_no_use_for_other_options(
    arguments: tuple[str, ...], said: str, tmp_path: Path
) -> None:
    source = str(tmp_path / "no.json")
    assert said in pcache("calibrate", "--refit", source, *arguments, code=2).stderr


def test_a_directory_is_no_profile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Runner, "prepare", lambda _: pytest.fail("too late"))
    refused = pcache("calibrate", "--device", "cpu", "--out", str(tmp_path), code=2)
    assert "is a directory; give --out the file to write" in refused.stderr
    (tmp_path / "file").touch()
    below = str(tmp_path / "file" / "profile.json")
    refused = pcache("calibrate", "--device", "cpu", "--out", below, code=2)
    assert "cannot write the profile (File exists); choose another --out" in refused.stderr


def test_the_grid_covers_every_graph_and_knot() -> None:
    design = designed_steps(GPU)
    assert all(GPU.allow(shape) for shape in design)
    model = CostModel(np.zeros(9), sizes=GPU.sizes.table())
    parts = [[request[:2] + (1,) for request in shape.requests for _ in range(request[2])]
             for shape in design]  # fmt: skip
    graphs = {graph_of(model, requests) for requests in parts} - {None}
    wanted = {(0, size) for size in GPU.sizes.decodes}
    assert graphs == wanted | set(product(GPU.sizes.extend_tokens, GPU.sizes.mixed_decodes))
    eager = {part[0][1] for part in parts if len(part) == 1 and graph_of(model, part) is None}
    assert set(linear_sizes(GPU)) <= set(map(sum, graphs)) | eager
    assert len(design) < 400


def test_held_out_steps_are_of_every_class_and_not_of_the_grid() -> None:
    drawn = drawn_steps(GPU, 20, 0)
    assert drawn == drawn_steps(GPU, 20, 0) != drawn_steps(GPU, 20, 1)
    assert len(drawn) == 20 * len(CLASSES)
    assert all(GPU.allow(shape) for shape in drawn)
    assert not set(drawn) & set(designed_steps(GPU))
    assert 2 <= sum(shape.shared_tokens > 0 for shape in drawn) <= 10


def test_a_small_machine_gets_a_smaller_grid() -> None:
    small = Limits(8, 256, 512, 2000, 16, EngineSizes())
    assert all(small.allow(shape) for shape in designed_steps(small))
    assert linear_sizes(small)[-1] == 256
    assert all(1.1 * a < b for a, b in pairwise(linear_sizes(small)[-2:]))
    assert context_sizes(small) == (0, 512, 2048)
    assert context_sizes(replace(small, kv_tokens=16384)) == (0, 512, 2048, 8192)
    assert context_sizes(replace(small, kv_tokens=470_000))[-2:] == (131_072, 524_288)
    assert len(drawn_steps(small, 3, 0)) == 9, "no graphs, so no short extends"
