"""The claims: indexes against brute force, verdicts in words, and all of it with and without runs."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from made_up_profile import made_up_profile
from typer.testing import CliRunner

from benchmarks.claims import analyse as analysing
from benchmarks.claims import cases as designed
from benchmarks.claims.__main__ import app
from benchmarks.claims.index_growth import compare, kinds
from benchmarks.claims.index_structures import empty_index
from benchmarks.claims.index_verdicts import about_indexes, index_verdicts
from benchmarks.claims.verdicts import verdicts
from pcache.cost.profile_file import write_profile
from pcache.shapes import MODELS
from pcache.trace import generate
from pcache.types import I4

SMALL = {
    "system-prompt": (40, 8, 2, 4, 2.0),
    "prefill-in-turn": (64, 4, 2, 5, 1.0),
    "prefill-at-once": (64, 4, 2, 5, 0.0),
    "repeat-512": (48, 0, 2, 3, 3.0),
}


def small_cases() -> list[designed.Case]:
    """Cases of the claims with little to do."""
    known = {case.name: case for case in designed.CASES}
    return [
        replace(known[name], trace=partial(designed.shared_start, *sizes), expected_s=0.1)
        for name, sizes in SMALL.items()
    ]


def prompts(rng: np.random.Generator, number: int) -> list[I4]:
    """Short ones of two kinds of token, so that they share and part everywhere."""
    return [rng.integers(0, 2, rng.integers(1, 12)).astype(np.int32) for _ in range(number)]


@pytest.mark.parametrize("kind", kinds(), ids=lambda kind: kind.name)
def test_an_index_finds_what_brute_force_finds(kind) -> None:
    rng = np.random.default_rng(3)
    block = 1 if "hash" not in kind.name else 4
    add, find = kind.add, kind.find
    if "hash" in kind.name:
        add, find = partial(add.func, block=block), partial(find.func, block=block)
    index, known = empty_index(400, 400, 400), prompts(rng, 40)
    for prompt in known:
        add(index, prompt)
    begins = {tuple(p[:n]) for p in known for n in range(1, len(p) + 1)}
    for prompt in prompts(rng, 200):
        depths = range(block, len(prompt) + 1, block)
        found = max((n for n in depths if tuple(prompt[:n]) in begins), default=0)
        assert find(index, prompt)[0] == found
    nodes = {b for b in begins if len(b) % block == 0}
    if kind.name == "radix tree":  # a node ends where a prompt does or where two part
        ends = {tuple(p) for p in known}
        nodes = {b for b in begins if b in ends or {(*b, 0), (*b, 1)} <= begins}
    assert int(index.used[0]) - 1 == len(nodes)


def test_the_table_of_indexes_and_what_it_says() -> None:
    trace = generate("multi-turn-chat", seed=1, requests=560)
    growth, lengths = compare(trace, [20, 60])
    by = growth.set_index(["structure", "prompts"])
    found = by["found"].unstack()
    assert (found.loc["radix tree"] == found.loc["trie"]).all()
    assert (found.loc["hash, blocks of 16"] <= found.loc["radix tree"]).all()
    assert (found.loc["hash of whole prompts"] <= found.loc["hash, blocks of 64"]).all()
    assert by.loc[("trie", 60), "nodes"] > by.loc[("hash, blocks of 16", 60), "nodes"]
    assert (growth["lookup_us"].dropna() > 0).all()
    growth.loc[growth["structure"] == "radix tree", "lookup_us"] = [1.0, 2.0]
    tree, table = index_verdicts(growth)
    assert "3× the prompts: 2.00× the time in a radix tree" in tree.measured
    assert tree.verdict == "the look-up grows with the cache"
    assert f"radix tree {100 * found.loc['radix tree', 60]:.2f} %" in table.measured
    assert "takes 2.00 times as long" in about_indexes(growth, lengths)[0]


def test_a_verdict_follows_the_numbers() -> None:
    rows = [
        {"case": "system-prompt", "policy": policy, "requests": 9, "simulated_ttft_p50_ms": ttft,
         "measured_ttft_p50_ms": None}
        for policy, ttft in (("none", 100.0), ("radix", 50.0), ("hash", 50.0))
    ]  # fmt: skip
    machines = pd.DataFrame(
        [{"gpu": "x", "model": "m", "ttft_without_ms": 139.0, "ttft_hit_ms": 39.0}]
    )
    (less,) = verdicts(pd.DataFrame(rows), machines, pd.DataFrame())
    assert (less.simulated, less.measured) == ("100.0 to 50.0 ms, 2.0×", "not yet")
    assert "a saving of this size, less" in less.verdict
    for row, ttft in zip(rows, (100.0, 20.0, 20.0), strict=True):
        row["measured_ttft_p50_ms"] = ttft
    (more,) = verdicts(pd.DataFrame(rows), machines, pd.DataFrame())
    assert more.measured == "100.0 to 20.0 ms, 5.0×"
    assert "a saving of this size, yes" in more.verdict
    assert "TTFT p50 measured" in more.sentences[0]
    assert "here it is 0.080 ms" in more.sentences[0]


def test_a_factor_is_reached_by_policy_and_output_length() -> None:
    rates = {"none": 1.0, "radix": 2.0, "hash": 3.0}
    rows = [
        {"case": "chat", "policy": policy, "requests": 9, "simulated_ttft_p50_ms": 1.0,
         "simulated_throughput_requests_per_s": rate, "measured_ttft_p50_ms": 1.0,
         "measured_throughput_requests_per_s": rate**2}
        for policy, rate in rates.items()
    ]  # fmt: skip
    factors = pd.DataFrame(
        {"workload": "multi-turn chat", "output_tokens": [1, 8, 64], "radix": [2.0, 1.5, 1.1],
         "hash": [3.0, 2.4, 1.2]}
    )  # fmt: skip
    (said,) = verdicts(pd.DataFrame(rows), pd.DataFrame(), factors)
    assert said.simulated == "240 out: 2.00× radix, 3.00× hash"
    assert said.measured == "240 out: 4.00× radix, 9.00× hash"
    reached = "radix: not reached, at most 2.0×; hash: reached up to 8 output tokens"
    assert said.verdict == f"simulated: {reached}"
    assert "from 3.0× with answers of 1 token to 1.20× with 64" in said.sentences[0]


@pytest.mark.usefixtures("one_thread")
def test_the_claims_without_and_with_measured_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(designed, "CASES", small_cases())
    monkeypatch.setattr(analysing, "CASES", small_cases())
    monkeypatch.setattr(designed, "KV_TOKENS", 4000)
    monkeypatch.setattr(analysing, "OUTPUTS", (1, 8))
    profile = tmp_path / "profile.json"
    write_profile(made_up_profile(gpu="CPU", shape=replace(MODELS["tiny"], dtype_bytes=4)), profile)
    options = ["--profile", str(profile), "--report", str(tmp_path / "report")]

    def invoke(*arguments: str) -> str:
        result = CliRunner().invoke(app, arguments)
        assert result.exit_code == 0, result.output
        return result.output

    invoke("analyse", *options)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Not measured on a GPU yet" in page
    assert "multi-turn chat" in (tmp_path / "report" / "factors.csv").read_text()

    measure = ("measure", str(tmp_path / "runs"), "--device", "cpu", "--repeats", "2")
    invoke(*measure)
    assert "everything is measured already" in invoke(*measure)
    invoke("pack", str(tmp_path / "runs"), str(tmp_path / "runs.tar.xz"))
    refused = CliRunner().invoke(app, ["analyse", str(tmp_path / "runs.tar.xz"), *options[:2]])
    assert refused.exit_code == 1
    assert "give --report" in str(refused.exception) + refused.output
    invoke("analyse", str(tmp_path / "runs.tar.xz"), *options)
    page = (tmp_path / "report" / "index.html").read_text()
    assert "Not measured on a GPU yet" not in page
    assert "not measured yet" not in page
    table = pd.read_csv(tmp_path / "report" / "cases.csv")
    assert table["parity"].all()
    assert (table["num_measured"] == 2).all()
    assert table["measured_spread"].notna().all()
    in_turn = table[table["case"] == "prefill-in-turn"]
    assert in_turn["measured_prefilled_tokens"].tolist() == [5 * 68, 68 + 4 * 4, 68 + 4 * 4]
    assert (in_turn["simulated_prefilled_tokens"] == in_turn["measured_prefilled_tokens"]).all()
