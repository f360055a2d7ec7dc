"""Mooncake and Bailian: hash blocks in, hash blocks out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from trace_checks import assert_same, assert_valid, mooncake, native, shared, write_lines

from pcache.errors import ConfigError, TraceError
from pcache.trace import read_trace, write_trace
from pcache.trace.ceilings import ceilings
from pcache.trace.formats.mooncake_write import chained_block_ids
from pcache.types import Trace


def bailian(**changes: Any) -> dict[str, Any]:
    fields = {
        "chat_id": 1, "parent_chat_id": -1, "timestamp": 61.114, "input_length": 40,
        "output_length": 132, "type": "text", "turn": 1, "hash_ids": [5, 6, 7],
    }  # fmt: skip
    return fields | changes


def test_mooncake(tmp_path: Path) -> None:
    path = write_lines(tmp_path / "t.jsonl", mooncake(), mooncake(timestamp=27482.5))
    trace = read_trace(path)
    assert_valid(trace)
    assert trace.request_ids == ["0", "1"]
    assert trace.arrival_ns.tolist() == [0, 27_482_500_000]
    assert (trace.symbol_tokens, trace.prompt_symbols(1).tolist()) == (512, [0, 1])


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"hash_ids": [1]}, "'hash_ids' has 1 ids, but 'input_length' 600 needs 2 blocks of 512"),
        ({"hash_ids": [1, 2, 3]}, "has 3 ids"),
        ({"hash_ids": [1, -1]}, "field 'hash_ids' is -1"),
        ({"hash_ids": [1, None]}, "field 'hash_ids' is null"),
        ({"hash_ids": [1, 2**60]}, "field 'hash_ids' is 1152921504606846976"),
        ({"input_length": -600}, "field 'input_length' is -600"),
        ({"input_length": 0, "hash_ids": []}, "field 'input_length' is 0"),
        ({"output_length": 0}, "field 'output_length' is 0"),
        ({"output_length": "5"}, "field 'output_length' is \"5\""),
        ({"timestamp": -1}, "field 'timestamp' is -1; expected a number"),
        ({"timestamp": 1e300}, "field 'timestamp' is 1e+300"),
        ({"timestamp": True}, "field 'timestamp' is true"),
        ({"timestamp": 10**400}, "field 'timestamp' is 1000"),
        ({"extra": 1}, "unknown field 'extra'"),
    ],
)
def test_bad_mooncake_values(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    path = write_lines(tmp_path / "t.jsonl", mooncake(), mooncake(**changes))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert str(caught.value).startswith(f"{path}:2: ")
    assert problem in str(caught.value)


def test_infinity_is_named(tmp_path: Path) -> None:
    line = '{"timestamp": 1e999, "input_length": 1, "output_length": 1, "hash_ids": [1]}'
    with pytest.raises(TraceError, match=":1: field 'timestamp' is Infinity"):
        read_trace(write_lines(tmp_path / "t.jsonl", line))


def test_the_right_block_size_is_suggested(tmp_path: Path) -> None:
    lines = [
        mooncake(input_length=71, hash_ids=list(range(9))),
        mooncake(input_length=8, hash_ids=[0]),
        mooncake(input_length=9, hash_ids=[0, 1]),
    ]
    path = write_lines(tmp_path / "t.jsonl", *lines)
    with pytest.raises(TraceError, match="all lines fit --block-tokens 8"):
        read_trace(path)
    trace = read_trace(path, block_tokens=8)
    assert_valid(trace)
    assert trace.symbol_tokens == 8
    with pytest.raises(ConfigError, match="block tokens is 0"):
        read_trace(path, block_tokens=0)
    with pytest.raises(ConfigError, match="no block size to set"):
        read_trace(write_lines(path, native()), block_tokens=8)


def test_bailian(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        bailian(),
        bailian(chat_id=2, parent_chat_id=1, turn=2, timestamp=62),
        bailian(chat_id=3, parent_chat_id=2, turn=3, timestamp=63, type="search"),
        bailian(chat_id=4, parent_chat_id=99, turn=5, timestamp=63),
    )
    trace = read_trace(path)
    assert_valid(trace)
    assert trace.source_format == "bailian"
    assert trace.session_ids == ["1", "1", "1", "99"]
    assert trace.turn.tolist() == [0, 1, 2, 4]
    assert trace.symbol_tokens == 16
    assert trace.arrival_ns[0] == 61_114_000_000
    assert [trace.classes[at] for at in trace.workload_class] == ["text", "text", "search", "text"]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"chat_id": -3}, "field 'chat_id' is -3"),
        ({"turn": 0}, "field 'turn' is 0; expected an integer from 1"),
        ({"type": None}, "field 'type' is null"),
        ({"input_length": 100}, "needs 7 blocks of 16 tokens"),
    ],
)
def test_bad_bailian_values(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(TraceError, match=problem):
        read_trace(write_lines(tmp_path / "t.jsonl", bailian(**changes)))


def test_unix_time_starts_at_the_first_request(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        bailian(timestamp=1.7e9),
        bailian(chat_id=2, timestamp=1.7e9 + 2.5),
    )
    assert read_trace(path).arrival_ns.tolist() == [0, 2_500_000_000]


def brute_force_ids(trace: Trace, size: int) -> list[list[int]]:
    """Chained ids by comparing whole prefixes of token keys."""
    known: dict[tuple[int, ...], int] = {}
    return [
        [
            known.setdefault((int(trace.salt[at]), *keys[: begin + size]), len(known))
            for begin in range(0, len(keys), size)
        ]
        for at, keys in ((at, trace.prompt_token_keys(at).tolist()) for at in range(len(trace)))
    ]


@settings(deadline=None, max_examples=50)
@given(
    prompts=st.lists(
        st.tuples(st.lists(st.integers(0, 2), min_size=1, max_size=9), st.sampled_from("xy")),
        min_size=1,
        max_size=8,
    ),
    size=st.integers(1, 5),
)
def test_conversion_of_tokens_is_exact(
    tmp_path_factory: pytest.TempPathFactory, prompts: list[tuple[list[int], str]], size: int
) -> None:
    folder = tmp_path_factory.mktemp("convert")
    lines = [
        native(id=str(at), prompt={"tokens": tokens}, salt=salt)
        for at, (tokens, salt) in enumerate(prompts)
    ]
    trace = read_trace(write_lines(folder / "t.jsonl", *lines))
    assert list(chained_block_ids(trace, size)) == brute_force_ids(trace, size)
    write_trace(trace, folder / "m.jsonl", format="mooncake", block_tokens=size)
    again = read_trace(folder / "m.jsonl", format="mooncake", block_tokens=size)
    full = ceilings(trace, [size])["by_token"].iloc[0]
    assert ceilings(again, [size])["by_token"].iloc[0] == pytest.approx(full)


def test_block_traces_convert_between_sizes(tmp_path: Path) -> None:
    lines = [
        mooncake(input_length=20, hash_ids=[0, 1, 2]),
        mooncake(input_length=20, hash_ids=[0, 1, 3], timestamp=0.25),
    ]
    trace = read_trace(write_lines(tmp_path / "t.jsonl", *lines), block_tokens=8)
    for size, expected in (
        (8, [[0, 1, 2], [0, 1, 3]]),
        (16, [[0, 1], [0, 2]]),
        (4, [[0, 1, 2, 3, 4], [0, 1, 2, 3, 5]]),
    ):
        write_trace(trace, tmp_path / "u.jsonl", format="mooncake", block_tokens=size)
        again = read_trace(tmp_path / "u.jsonl", block_tokens=size)
        assert [again.prompt_symbols(at).tolist() for at in range(2)] == expected
        assert again.arrival_ns.tolist() == [0, 250_000]
    with pytest.raises(ConfigError, match="choose a multiple or a divisor"):
        write_trace(trace, tmp_path / "u.jsonl", format="mooncake", block_tokens=12)
    with pytest.raises(ConfigError, match="cannot be written"):
        write_trace(trace, tmp_path / "u.jsonl", format="bailian")


def test_conversation_trace_survives_writing(tmp_path: Path) -> None:
    trace = read_trace(shared("traces/mooncake_conversation.jsonl.xz"))
    expected = "b8cbb061a85206d729d91cdc2981f43c9e0d99209dce588d3af5f7934408b9df"
    assert trace.sha256 == expected
    assert (len(trace), int(trace.prompt_tokens.sum())) == (12_031, 144_793_823)
    write_trace(trace, tmp_path / "t.jsonl.gz", format="mooncake")
    again = read_trace(tmp_path / "t.jsonl.gz")
    # Its ids are dense in order of first appearance already, so not a byte changes.
    assert again.sha256 == expected
    assert_same(again, trace, but=("name",))
    assert np.array_equal(again.symbols, trace.symbols)
