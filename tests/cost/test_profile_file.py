"""Profiles as files: what was written is read, and what cannot be used is named."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from made_up_profile import made_up_profile

from pcache.cost.fit import ErrorRow
from pcache.cost.points import LoadSequence, LoopSample, Point, StepShape
from pcache.cost.profile_file import read_profile, write_profile
from pcache.cost.shipped import (
    PROFILES,
    profile_at,
    profile_name,
    shipped_profile,
    shipped_profiles,
)
from pcache.errors import ConfigError

POINT = Point(StepShape(((16, 3, 2), (100, 1, 1)), False, 16), 5, 0.01, 6, 7, 8, 9, 10, True)
FULL = made_up_profile(
    points=[POINT], loop=[LoopSample(1, 2, True, False, 3, -1, 5)],
    errors=[ErrorRow("decode", 3, -0.01, 0.01, 0.02, 0.03)],
    sequences=[LoadSequence((POINT.shape, StepShape(((0, 9, 1),))), ((0, 0, 5), (1, 2, 7)))],
)  # fmt: skip


def test_round_trip(tmp_path: Path) -> None:
    path = tmp_path / "new" / "profile.json"
    write_profile(FULL, path)
    assert read_profile(path) == FULL
    again, first = read_profile(path).cost(), FULL.cost()
    assert again.source == first.source == "profile made-up"
    assert all(map(np.array_equal, again.model, first.model))
    assert again.model.power.tolist() == [0.15, 0.5]


def changed(**changes: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda value: value | changes


def without(name: str) -> Callable[[dict[str, Any]], Any]:
    return lambda value: {key: kept for key, kept in value.items() if key != name}


@pytest.mark.parametrize(
    ("spoil", "problem"),
    [
        (lambda _: [1, 2], "not a profile (no format_version)"),
        (without("format_version"), "not a profile (no format_version)"),
        (changed(format_version=9), "format version 9, this pcache reads 1; calibrate again"),
        (without("linear"), "damaged profile (no linear); calibrate again"),
        (changed(linear=[1.0, 2.0]), "linear has 2 times for 9 sizes"),
        (changed(linear=[9.0 - at for at in range(9)]), "linear does not ascend"),
        (changed(terms={"pair": 1.0}), "expected eager, head"),
        (changed(terms=None), "terms are "),
        (lambda value: value | {"host": value["host"] | {"plan": -1.0}}, "a negative or infinite"),
        (lambda value: value | {"host": value["host"] | {"plan": "1"}}, "damaged profile"),
        (changed(points=[{"requests": []}]), "damaged profile"),
        (
            changed(throttle=[[0.1, 0.1, 0.5, 1e7]]),
            "throttle is not two stages of compute_slowdown",
        ),
        (changed(throttle=[[0.1, -0.5]] * 2), "throttle is not two stages of compute_slowdown"),
        (
            changed(throttle=[[0.1, 0.5, 1e7], [0.1] * 4]),
            "throttle is not two stages of compute_slow",
        ),
        (
            changed(throttle=[[0.1, 0.1, -0.5, 1e7]] * 2),
            "a threshold in the throttle outside 0 to 1",
        ),
        (changed(power=[1.5, 0.5]), "power is not draw and shared_busy, each from 0 to 1"),
        (changed(power=[0.5]), "power is not draw and shared_busy, each from 0 to 1"),
        (without("power"), "no power"),
        (changed(throttle=[[0.1, 0.1, 0.5, 0.0]] * 2), "or a tau_ns below 1 ms"),
        (
            changed(throttle=[[1e300, 0.1, 0.5, 1e7]] * 2),
            "a slowdown in the throttle that is not from",
        ),
        (changed(throttle=[[0.1, 0.1, 0.5, "x"]] * 2), "damaged profile"),
        (changed(throttle=True), "damaged profile"),
        (changed(sequences=[{"shapes": [], "steps": [[1]]}]), "damaged profile"),
        (changed(shape={"name": "x"}), "damaged profile"),
        (lambda value: value | {"shape": value["shape"] | {"num_layers": -1}}, "a shape in which"),
        (changed(measured=[]), "measured is a list, not a dict"),
        (changed(memory_bytes="a lot"), "memory_bytes is a str, not a int"),
        (changed(gpu=["x"]), "gpu is a list, not a str"),
        (changed(complete="no"), "complete is a str, not a bool"),
        (changed(block_size_tokens=0), "a block size of 0"),
        (lambda value: value | {"sizes": value["sizes"] | {"decodes": "abc"}}, "damaged profile"),
        (lambda value: value | {"sizes": value["sizes"] | {"decodes": [4, 2]}}, "do not ascend"),
        (lambda value: value | {"errors": [value["errors"][0] | {"p50": None}]}, "damaged profile"),
        (lambda value: value | {"points": [value["points"][0] | {"gpu_ns": 0}]}, "took no time"),
        (lambda value: value | {"points": [value["points"][0] | {"gpu_ns": "x"}]}, "damaged"),
        (changed(linear=[1e300] * 9), "a negative or infinite time"),
    ],
)
def test_what_cannot_be_used_is_named(
    spoil: Callable[[dict[str, Any]], Any], problem: str, tmp_path: Path
) -> None:
    path = tmp_path / "profile.json"
    write_profile(FULL, path)
    path.write_text(json.dumps(spoil(json.loads(path.read_text()))))
    with pytest.raises(ConfigError) as error:
        read_profile(path)
    assert str(error.value).startswith(f"{path}: ")
    assert problem in str(error.value)
    assert "\n" not in str(error.value)


def test_a_file_that_is_none(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the profile .*pcache calibrate makes one"):
        read_profile(tmp_path / "no.json")
    for text in ("{", "[" * 100_000):
        (tmp_path / "text").write_text(text)
        with pytest.raises(ConfigError, match="not a profile"):
            read_profile(tmp_path / "text")


def test_an_incomplete_profile_is_no_cost_model(tmp_path: Path) -> None:
    write_profile(
        made_up_profile(complete=False, terms=None, points=[POINT]), tmp_path / "part.json"
    )
    partial = read_profile(tmp_path / "part.json")
    with pytest.raises(ConfigError, match=r"incomplete \(1 points measured"):
        partial.cost()
    unfinished = made_up_profile(complete=False, throttle=((0.1,) * 4,))
    with pytest.raises(ConfigError, match="is incomplete"):
        unfinished.cost()


@pytest.mark.parametrize("name", shipped_profiles())
def test_shipped_profiles_are_where_they_are_looked_for(name: str) -> None:
    profile = read_profile(PROFILES / f"{name}.json")
    assert profile.complete
    assert name == profile.name == profile_name(profile.gpu, profile.shape.name, profile.dtype)
    assert shipped_profile(profile.gpu, profile.shape.name, profile.dtype) == profile
    assert profile.errors


def test_a_profile_is_a_file_or_the_name_of_a_shipped_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert profile_at("h200-llama-3.1-8b") == shipped_profile("h200", "llama-3.1-8b")
    monkeypatch.chdir(tmp_path)
    write_profile(FULL, Path("h200-llama-3.1-8b"))
    assert profile_at("h200-llama-3.1-8b") == FULL
    with pytest.raises(ConfigError, match="cannot read the profile"):
        profile_at("h300-llama-3.1-8b")


def test_no_profile_of_a_pair_that_nobody_measured() -> None:
    assert shipped_profile("rtx4090", "llama-3.1-70b") is None
