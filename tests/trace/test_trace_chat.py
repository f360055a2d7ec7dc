"""OpenAI-style chat logs."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trace_checks import assert_valid, write_lines

from pcache.errors import TraceError
from pcache.trace import read_trace
from pcache.types import Trace

USER = {"role": "user", "content": "hi"}
BEGIN, END, FIELDS = 256, 257, 258


def chat(**changes: Any) -> dict[str, Any]:
    fields = {"messages": [USER], "completion": "yo", **changes}
    return {name: value for name, value in fields.items() if value is not ...}


def spelled(trace: Trace, request: int = 0) -> str:
    """Prompt of the byte-level tokenizer with its markers as brackets."""
    return "".join(
        {BEGIN: "<", END: ">", FIELDS: "|"}.get(symbol, chr(symbol))
        for symbol in trace.prompt_symbols(request).tolist()
    )


def test_all_fields(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        chat(request_id="x", session_id="s", turn=4, timestamp=1.5, model="m", temperature=0.3),
        chat(request_id="y", timestamp=2, cache_salt="t", completion=..., max_tokens=9, n=2),
    )
    trace = read_trace(path)
    assert_valid(trace)
    assert trace.source_format == "chat"
    assert trace.request_ids == ["x", "y#0", "y#1"]
    assert (trace.session_ids[0], trace.turn[0]) == ("s", 4)
    assert trace.arrival_ns.tolist() == [1_500_000_000, 2_000_000_000, 2_000_000_000]
    assert trace.output_tokens.tolist() == [3, 9, 9]
    assert trace.known_output(0).tolist() == [ord("y"), ord("o"), END]
    assert len(trace.known_output(1)) == 0
    assert trace.salts[trace.salt[1]] == "t"
    assert spelled(trace) == "<user\nhi>\n<assistant\n"


def test_the_next_turn_begins_with_prompt_and_answer(tmp_path: Path) -> None:
    call = {"role": "assistant", "content": None, "tool_calls": [{"b": 1, "a": "é"}]}
    tools = [{"name": "f"}]
    path = write_lines(
        tmp_path / "t.jsonl",
        chat(tools=tools, completion=call),
        chat(tools=tools, messages=[USER, call, USER]),
    )
    trace = read_trace(path)
    first = [*trace.prompt_symbols(0), *trace.known_output(0)]
    assert trace.prompt_symbols(1)[: len(first)].tolist() == first
    assert 'tools\n[{"name":"f"}]>' in spelled(trace)


def test_plain_messages_arrive_at_once_and_may_end_with_the_answer(tmp_path: Path) -> None:
    answer = {"role": "assistant", "content": "sure"}
    lines = [chat(completion=..., messages=[USER, answer]), chat(completion=..., output_tokens=3)]
    trace = read_trace(write_lines(tmp_path / "t.jsonl", *lines))
    assert trace.request_ids == ["0", "1"]
    assert trace.arrival_ns.tolist() == [0, 0]
    assert spelled(trace) == "<user\nhi>\n<assistant\n"
    assert bytes(trace.known_output(0)[:-1].tolist()) == b"sure"
    assert trace.output_tokens.tolist() == [5, 3]


def test_text_parts_are_joined(tmp_path: Path) -> None:
    parts = [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}]
    trace = read_trace(
        write_lines(tmp_path / "t.jsonl", chat(messages=[{"role": "user", "content": parts}]))
    )
    assert spelled(trace) == "<user\na\nb>\n<assistant\n"


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"completion": ...}, "the output's length is unknown; add 'completion'"),
        ({"completion": 3}, "field 'completion' is 3; expected text or a message"),
        ({"completion": {"content": 3}}, "messages[0].content"),
        ({"completion": ..., "max_tokens": 0}, "field 'output_tokens' is 0"),
        ({"messages": "hi"}, "field 'messages' is \"hi\"; expected a list"),
        ({"messages": ["hi"]}, "messages[0]"),
        ({"messages": [{"role": "user", "content": "\ud800"}]}, "expected valid Unicode text"),
        ({"messages": [{"role": "user", "content": [{"type": "image_url"}]}]}, "only text parts"),
        ({"tools": {}}, "expected a list of tool definitions"),
        ({"n": 2}, "1 where the output is known"),
        ({"timestamp": "now"}, "field 'timestamp' is \"now\""),
        ({"prompt": "x"}, "unknown field 'prompt'"),
    ],
)
def test_bad_values(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    with pytest.raises(TraceError) as caught:
        read_trace(write_lines(tmp_path / "t.jsonl", chat(**changes)), format="chat")
    assert str(caught.value).startswith(f"{tmp_path / 't.jsonl'}:1: ")
    assert problem in str(caught.value)


def test_a_time_in_some_lines_only(tmp_path: Path) -> None:
    with pytest.raises(TraceError, match=":2: field 'timestamp' is missing"):
        read_trace(write_lines(tmp_path / "t.jsonl", chat(timestamp=1), chat()))
