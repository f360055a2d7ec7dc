"""Generators: the same bytes for the same seed, and the sharing each workload promises."""

from __future__ import annotations

import re
from dataclasses import fields
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest
from trace_checks import TRACES, assert_same, assert_valid, shipped

from pcache.errors import ConfigError
from pcache.trace import WORKLOADS, generate, read_trace, write_trace
from pcache.trace.ceilings import ceilings
from pcache.trace.generate import parse_parameters
from pcache.trace.generate.draws import VOCABULARY, Draws, popularity
from pcache.types import IMAGE_SYMBOL, Trace

SMALL = {"requests": 60}


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_workload_is_valid_and_depends_on_its_seed_only(name: str, tmp_path: Path) -> None:
    trace = generate(name, seed=7, **SMALL)
    assert_valid(trace)
    assert len(trace) == 60
    assert trace.classes == ["", name]
    assert all(len(trace.known_output(at)) for at in range(60))
    assert ((trace.symbols < VOCABULARY) | (trace.symbols >= IMAGE_SYMBOL)).all()
    write_trace(trace, tmp_path / f"{name}.jsonl")
    assert_same(read_trace(tmp_path / f"{name}.jsonl"), trace)
    assert generate(name, seed=7, **SMALL).sha256 == trace.sha256
    assert generate(name, seed=8, **SMALL).sha256 != trace.sha256


@pytest.mark.parametrize("name", WORKLOADS)
def test_shipped_traces_are_what_the_generators_make(name: str) -> None:
    assert generate(name, seed=1).sha256 == shipped(name).sha256


def test_the_readme_of_the_traces_is_true() -> None:
    text = (TRACES / "README.md").read_text()
    rows = re.findall(r"^\| `([a-z-]+)\.jsonl\.xz` \|(.*)\|$", text, re.MULTILINE)
    assert sorted(name for name, _ in rows) == sorted(WORKLOADS)
    for name, cells in rows:
        trace = shipped(name)
        row = ceilings(trace, [16]).iloc[0]
        assert [cell.strip() for cell in cells.split("|")] == [
            f"{len(trace):,}",
            f"{trace.prompt_tokens.mean():,.0f}",
            f"{trace.prompt_tokens.max():,}",
            f"{trace.output_tokens.mean():,.0f}",
            f"{trace.arrival_ns[-1] / 1e9:,.0f}",
            f"{row['by_token']:.1%}",
            f"{row['by_token_with_outputs']:.1%}",
        ]
    assert sum(path.stat().st_size for path in TRACES.glob("*.xz")) < 3_000_000


def first_of(trace: Trace, session: str) -> list[int]:
    return [at for at in range(len(trace)) if trace.session_ids[at] == session]


@pytest.mark.parametrize("name", ["multi-turn-chat", "agent-tools", "image-prompts"])
def test_the_next_turn_contains_the_last_one_and_its_output(name: str) -> None:
    trace = generate(name, seed=3, **SMALL)
    checked = 0
    for session in set(trace.session_ids):
        turns = first_of(trace, session)
        for before, after in pairwise(turns):
            whole = [*trace.prompt_symbols(before), *trace.known_output(before)]
            assert trace.prompt_symbols(after)[: len(whole)].tolist() == whole
            assert trace.turn[after] == trace.turn[before] + 1
            checked += 1
    assert checked > 5


def test_thoughts_branch_from_kept_thoughts() -> None:
    trace = generate("tree-of-thought", seed=3, requests=40, branches=3, kept=2, depth=3, rate=1e-3)
    assert trace.turn[:15].tolist() == [0] * 3 + [1] * 6 + [2] * 6
    children = {trace.prompt_symbols(at).tobytes() for at in range(3, 9)}
    parents = {
        np.concatenate((trace.prompt_symbols(at), trace.known_output(at))).tobytes()
        for at in range(3)
    }
    assert len(children) == 2
    assert children < parents


def test_samples_and_batches_have_one_prompt() -> None:
    trace = generate("self-consistency", seed=3, requests=24, samples=12, rate=1e-3)
    prompts = [trace.prompt_symbols(at).tobytes() for at in range(24)]
    assert [len(set(prompts[:12])), len(set(prompts))] == [1, 2]
    trace = generate("same-prompt", seed=3, requests=64, batch=32)
    assert len({trace.prompt_symbols(at).tobytes() for at in range(64)}) == 1
    assert len(set(trace.arrival_ns.tolist())) == 2


def test_texts_part_at_once() -> None:
    draws = Draws(0)
    heads = {tuple(draws.text(50)[:3].tolist()) for _ in range(3000)}
    assert len(heads) == 3000


def test_popularity_is_zipf() -> None:
    draws, cumulative = Draws(0), popularity(4, 1.0)
    counts = np.bincount([draws.choose(cumulative) for _ in range(5000)], minlength=4)
    expected = np.array([1, 1 / 2, 1 / 3, 1 / 4])
    assert counts / 5000 == pytest.approx(expected / expected.sum(), abs=0.03)


def test_lengths_have_the_mean_asked_for() -> None:
    draws = Draws(0)
    assert np.mean([draws.length(200, 0.8) for _ in range(5000)]) == pytest.approx(200, rel=0.05)
    assert np.mean([draws.geometric(5.0) for _ in range(5000)]) == pytest.approx(5, rel=0.05)
    assert {draws.geometric(1.0) for _ in range(10)} == {1}


@pytest.mark.parametrize("name", WORKLOADS)
def test_every_parameter_is_documented_and_bounded(name: str) -> None:
    assert WORKLOADS[name].__doc__
    for entry in fields(WORKLOADS[name]):
        assert entry.metadata["help"]
        if isinstance(entry.default, str):
            continue
        with pytest.raises(ConfigError, match=f"{entry.name} is"):
            generate(name, **{entry.name: entry.metadata["low"] - 1})
        with pytest.raises(ConfigError, match=f"{entry.name} is nan"):
            generate(name, **{entry.name: float("nan")})


def test_wrong_names_and_values() -> None:
    for act, problem in (
        (lambda: generate("nothing"), "workload 'nothing' is unknown; expected one of"),
        (lambda: generate("rag", colour=1), "rag has no parameter 'colour'; it has requests"),
        (lambda: generate("rag", arrivals="slow"), "arrivals 'slow' is unknown"),
        (lambda: generate("rag", requests=True), "requests is True"),
        (lambda: generate("rag", seed=-1), "seed is -1"),
        (lambda: parse_parameters("rag", ["zipf"]), "'zipf' is not a parameter"),
        (lambda: parse_parameters("rag", ["requests=1.5"]), "requests is '1.5'"),
    ):
        with pytest.raises(ConfigError, match=problem):
            act()
    assert parse_parameters("rag", ["zipf=2", "question-tokens=7", "arrivals=bursty"]) == {
        "zipf": 2.0,
        "question_tokens": 7,
        "arrivals": "bursty",
    }
