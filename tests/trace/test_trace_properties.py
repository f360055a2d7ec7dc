"""A reader gives a valid trace or a TraceError, whatever the bytes; native survives writing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from trace_checks import assert_same, assert_valid, mooncake, native

from pcache.errors import TraceError
from pcache.trace import FORMATS, read_trace, write_trace

relaxed = settings(
    deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

CHAT = {"messages": [{"role": "user", "content": "hi"}], "completion": "yo", "timestamp": 1.5}
VALID = [
    native(session="s", turn=1, salt="t", images=[{"hash": "h", "start": 0, "num_tokens": 2}]),
    native(prompt={"text": "abc"}, output={"text": "d"}),
    native(prompt={"messages": CHAT["messages"]}, n=3),
    native(prompt={"blocks": [3, 4], "block_tokens": 4, "num_tokens": 7}),
    mooncake(),
    {"chat_id": 1, "parent_chat_id": -1, "timestamp": 1.0, "input_length": 20,
     "output_length": 3, "type": "text", "turn": 1, "hash_ids": [1, 2]},
    CHAT,
    CHAT | {"tools": [{"name": "f"}], "completion": {"content": None, "tool_calls": [1]}},
]  # fmt: skip
CSV = (
    "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-11-16 18:15:46.6805900,374,44\n",
    "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n5,GPT-4,1,2,3,API\n",
)

json_values = st.recursive(
    st.none() | st.booleans() | st.integers(-2, 2**70) | st.floats() | st.text(max_size=4),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3)
    ),
    max_leaves=6,
)


def read_or_refuse(path: Path, content: bytes, format: str = "auto") -> None:
    path.write_bytes(content)
    refusal = ""
    try:
        assert_valid(read_trace(path, format=format))
    except TraceError as error:
        refusal = str(error)
    assert not refusal or (str(path) in refusal and "\n" not in refusal)


@relaxed
@given(content=st.binary(max_size=200), format=st.sampled_from(["auto", *FORMATS]))
def test_arbitrary_bytes(tmp_path: Path, content: bytes, format: str) -> None:
    read_or_refuse(tmp_path / "t", content, format)


@relaxed
@given(
    prefix=st.sampled_from([b"\x1f\x8b", b"\xfd7zXZ\0", b"\x28\xb5\x2f\xfd"]),
    rest=st.binary(max_size=60),
)
def test_arbitrary_bytes_behind_a_magic_number(tmp_path: Path, prefix: bytes, rest: bytes) -> None:
    read_or_refuse(tmp_path / "t", prefix + rest)


def places(value: Any, path: tuple[Any, ...] = ()) -> list[tuple[Any, ...]]:
    """Paths to every value inside a JSON value."""
    inner = (
        value.items()
        if isinstance(value, dict)
        else enumerate(value)
        if isinstance(value, list)
        else ()
    )
    return [path, *(deeper for key, below in inner for deeper in places(below, (*path, key)))]


@relaxed
@given(data=st.data())
def test_mutated_lines(tmp_path: Path, data: st.DataObject) -> None:
    """One value anywhere in one of two lines becomes another, or disappears."""
    valid = data.draw(st.sampled_from(VALID))
    lines = [json.loads(json.dumps(valid)), json.loads(json.dumps(valid))]
    for name in ("id", "chat_id"):
        if name in lines[1]:
            lines[1][name] = type(lines[1][name])(7)
    at = data.draw(st.integers(0, 1))
    *way, last = data.draw(st.sampled_from(places(lines[at])[1:]))
    target = lines[at]
    for key in way:
        target = target[key]
    if data.draw(st.booleans()):
        target[last] = data.draw(json_values)
    else:
        del target[last]
    content = "".join(json.dumps(line) + "\n" for line in lines).encode()
    if data.draw(st.booleans()):
        content = content[: data.draw(st.integers(0, len(content)))]
    read_or_refuse(tmp_path / "t.jsonl", content)


@relaxed
@given(
    content=st.sampled_from(CSV),
    at=st.integers(0, 90),
    piece=st.text(alphabet='0123456789-.,"\n\rnaeNI ', max_size=6),
)
def test_mutated_csv(tmp_path: Path, content: str, at: int, piece: str) -> None:
    read_or_refuse(tmp_path / "t.csv", (content[:at] + piece + content[at + 1 :]).encode())


names = st.text(st.characters(exclude_categories=("C", "Z")) | st.just(" "), max_size=5)
token_ids = st.lists(st.integers(0, 2**53 - 1), min_size=1, max_size=6)


@st.composite
def native_lines(draw: st.DrawFn) -> list[dict[str, Any]]:
    """A file of tokens, or one of blocks."""
    block_tokens = draw(st.none() | st.integers(1, 600))
    arrivals = sorted(draw(st.lists(st.integers(0, 10**18), min_size=1, max_size=6)))
    lines = []
    for number, arrival in enumerate(arrivals):
        line = native(id=f"{draw(names)}{number}", arrival_ns=arrival)
        if block_tokens is None:
            line["prompt"] = {"tokens": draw(token_ids)}
            line["output"] = draw(
                st.builds(lambda ids: {"tokens": ids}, token_ids)
                | st.builds(lambda n: {"num_tokens": n}, st.integers(1, 2**24))
            )
            start = draw(st.integers(0, len(line["prompt"]["tokens"]) - 1))
            if draw(st.booleans()):
                line["images"] = [{"hash": draw(names), "start": start, "num_tokens": 1}]
        else:
            num_tokens = draw(st.integers(1, 2000))
            num = -(-num_tokens // block_tokens)
            ids = draw(st.lists(st.integers(0, 2**40), min_size=num, max_size=num))
            line["prompt"] = {"blocks": ids, "block_tokens": block_tokens, "num_tokens": num_tokens}
        line |= {
            "session": draw(names),
            "turn": draw(st.integers(0, 2**31 - 1)),
            "priority": draw(st.integers(-(2**31), 2**31 - 1)),
            "salt": draw(names),
            "class": draw(names),
        }
        if "num_tokens" in line["output"]:
            line["n"] = draw(st.integers(1, 3))
        lines.append(line)
    return lines


@relaxed
@given(lines=native_lines())
@pytest.mark.parametrize("ending", ["", ".zst"])
def test_native_survives_writing(tmp_path: Path, lines: list[dict[str, Any]], ending: str) -> None:
    first, second = tmp_path / "t.jsonl", tmp_path / f"t.jsonl{ending}"
    first.write_text("".join(json.dumps(line) + "\n" for line in lines))
    trace = read_trace(first)
    assert_valid(trace)
    write_trace(trace, second)
    assert_same(read_trace(second), trace, but=("sha256",))
