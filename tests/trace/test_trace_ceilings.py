"""Ceilings and shared prefixes: against brute force, and against published figures."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_checks import mooncake, native, shared, shipped, write_lines

from pcache.errors import ConfigError
from pcache.trace import read_trace
from pcache.trace.ceilings import CEILING_COLUMNS, ceilings, default_block_sizes
from pcache.trace.popular import popular_prefixes
from pcache.types import Trace


def common(one: list[int], other: list[int]) -> int:
    """Length of the common prefix."""
    length = 0
    while length < min(len(one), len(other)) and one[length] == other[length]:
        length += 1
    return length


def brute_force(trace: Trace, size: int, warm_up: int) -> dict[str, float]:
    """The definitions of the module, prompt against prompt."""
    rows, shares, block_shares = [], [], []
    earlier: list[tuple[int, list[int], list[int]]] = []
    for request in range(len(trace)):
        prompt = trace.prompt_token_keys(request).tolist()
        salt, num = int(trace.salt[request]), len(prompt)
        mine = [(before, whole) for tenant, before, whole in earlier if tenant == salt]
        seen = max((common(prompt, before) for before, _ in mine), default=0)
        seen_outputs = max((common(prompt, whole) for _, whole in mine), default=0)
        hit = min(seen, num - 1) // size * size
        hit_with_outputs = min(seen_outputs, num - 1) // size * size
        blocks = -(-num // size)
        repeated = 0
        while repeated < blocks and any(
            len(before) > repeated * size
            and common(prompt, before) >= min((repeated + 1) * size, num, len(before))
            for before, _ in mine
        ):
            repeated += 1
        rows.append((hit, hit_with_outputs, num - seen, blocks, repeated))
        shares.append(hit / num)
        block_shares.append(repeated / blocks)
        output = trace.known_output(request).tolist()
        earlier.append((salt, prompt, prompt + output[:-1]))
    total = int(trace.prompt_tokens[warm_up:].sum())
    hits, hits_with_outputs, cold, blocks, repeated = map(sum, zip(*rows[warm_up:], strict=True))
    return {
        "blocks": blocks,
        "distinct_blocks": blocks - repeated,
        "by_block": repeated / blocks,
        "by_block_request_mean": float(np.mean(block_shares[warm_up:])),
        "by_token": hits / total,
        "request_mean": float(np.mean(shares[warm_up:])),
        "cold": cold / total,
        "by_token_with_outputs": hits_with_outputs / total,
    }


requests = st.fixed_dictionaries(
    {
        "tokens": st.lists(st.integers(0, 1), min_size=1, max_size=10),
        "salt": st.sampled_from(["", "x"]),
        "output": st.lists(st.integers(0, 1), max_size=4),
    }
)


@settings(deadline=None, max_examples=100)
@given(
    drawn=st.lists(requests, min_size=1, max_size=10), size=st.integers(1, 5),
    counted=st.integers(1, 10),
)  # fmt: skip
def test_ceilings_equal_brute_force(
    tmp_path_factory: pytest.TempPathFactory, drawn: list[dict[str, Any]], size: int, counted: int
) -> None:
    lines = [
        native(
            id=str(at),
            prompt={"tokens": fields["tokens"]},
            salt=fields["salt"],
            output={"tokens": fields["output"]} if fields["output"] else {"num_tokens": 3},
        )
        for at, fields in enumerate(drawn)
    ]
    trace = read_trace(write_lines(tmp_path_factory.mktemp("t") / "t.jsonl", *lines))
    warm_up = max(0, len(trace) - counted)
    row = ceilings(trace, [size], warm_up=warm_up).iloc[0]
    for name, value in brute_force(trace, size, warm_up).items():
        assert row[name] == pytest.approx(value), name
    assert row["by_token"] + row["cold"] + row["rounding"] == pytest.approx(1)
    with_outputs = ("by_token_with_outputs", "cold_with_outputs", "rounding_with_outputs")
    assert sum(row[name] for name in with_outputs) == pytest.approx(1)


def test_last_token_rule_and_partial_blocks(tmp_path: Path) -> None:
    tokens = list(range(64))
    lines = [native(id=str(at), prompt={"tokens": tokens}) for at in range(2)]
    table = ceilings(read_trace(write_lines(tmp_path / "t.jsonl", *lines)), [1, 16, 64, 100])
    assert list(table["by_token"] * 128) == [63, 48, 0, 0]
    assert list(table["rounding"] * 128) == [1, 16, 64, 64]
    assert list(table["distinct_blocks"]) == [64, 4, 1, 1]
    assert list(table.columns) == list(CEILING_COLUMNS)


def test_block_sizes(tmp_path: Path) -> None:
    trace = read_trace(
        write_lines(tmp_path / "t.jsonl", mooncake(input_length=20, hash_ids=[1, 2, 3])),
        block_tokens=8,
    )
    assert default_block_sizes(trace) == [1, 8, 16, 64, 512]
    with pytest.raises(ConfigError, match="block size is 0"):
        ceilings(trace, [0])


def test_shared_prefixes(tmp_path: Path) -> None:
    image = [{"hash": "cat", "start": 0, "num_tokens": 1}]
    lines = [
        native(id="a", prompt={"tokens": [1, 2, 3, 4, 5, 6]}),
        native(id="b", prompt={"tokens": [1, 2, 3, 9]}),
        native(id="c", prompt={"tokens": [1, 2, 3, 4, 5, 7]}),
        native(id="d", prompt={"tokens": [0, 3]}, images=image),
        native(id="e", prompt={"tokens": [0, 4]}, images=image),
    ]
    table = popular_prefixes(read_trace(write_lines(tmp_path / "t.jsonl", *lines)), top=3)
    assert table.drop(columns="share").to_dict("list") == {
        "prefix_tokens": [3, 5, 1],
        "own_tokens": [3, 2, 1],
        "requests": [3, 2, 2],
        "tokens_saved": [6, 2, 1],
        "preview": ["tokens 1, 2, 3", "tokens 4, 5", "image cat"],
    }
    assert list(table["share"]) == pytest.approx([6 / 9, 2 / 9, 1 / 9])


def test_previews_of_text_and_blocks(tmp_path: Path) -> None:
    text = {"text": "You are a helpful\nassistant, " * 3}
    lines = [native(id=name, prompt=text) for name in "ab"]
    table = popular_prefixes(read_trace(write_lines(tmp_path / "t.jsonl", *lines)))
    assert table["preview"].tolist() == ["You are a helpful assistant, You are a helpful a…"]
    lines = [mooncake(), mooncake()]
    table = popular_prefixes(read_trace(write_lines(tmp_path / "t.jsonl", *lines)))
    assert table["preview"].tolist() == ["blocks 0, 1"]


def test_savings_add_up_to_the_ceiling() -> None:
    trace = shipped("tree-of-thought")
    saved = popular_prefixes(trace, top=10**6)["tokens_saved"].sum()
    assert saved / trace.prompt_tokens.sum() == pytest.approx(1 - ceilings(trace, [1])["cold"][0])


def test_conversation_trace_has_its_published_figures() -> None:
    trace = read_trace(shared("traces/mooncake_conversation.jsonl.xz"))
    row = ceilings(trace, [512]).iloc[0]
    assert (row["blocks"], row["distinct_blocks"]) == (288_500, 182_790)
    assert round(row["by_block"] * 100, 2) == 36.64
    assert round(row["by_token"] * 100, 2) == 37.34
    assert round(row["by_block_request_mean"] * 100, 2) == 38.43


def test_ceiling_is_what_a_real_engine_reached_without_limit() -> None:
    trace = read_trace(shared("traces/mooncake_conversation.jsonl.xz"))
    real = pd.read_csv(shared("golden/vllm_conv_capinf_bs512.csv.gz"))
    row = ceilings(trace, [512]).iloc[0]
    assert row["by_token"] == real["cached_tokens"].sum() / real["input_tokens"].sum()
    mean = (real["cached_tokens"] / real["input_tokens"]).mean()
    assert row["request_mean"] == pytest.approx(mean)


@pytest.mark.slow
def test_airline_chats_with_a_real_tokenizer_have_their_published_figures() -> None:
    model = os.environ.get("PCACHE_SMOLLM2_GGUF")
    if not model:
        pytest.skip("needs PCACHE_SMOLLM2_GGUF, the path of SmolLM2-135M-Instruct as GGUF")
    trace = read_trace(shared("traces/tau_airline.jsonl.xz"), tokenizer=model)
    assert round(float(trace.prompt_tokens.mean())) == 3265
    assert trace.prompt_tokens.max() == 12_443
    row = ceilings(trace, [1]).iloc[0]
    assert round(row["by_token"] * 100, 1) == 92.8
    assert round(row["by_token_with_outputs"] * 100, 1) == 95.0
