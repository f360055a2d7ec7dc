"""Stretches of tokens as lines to look at, and tokens back to text."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from trace_checks import mooncake, native, write_lines

from pcache.trace import read_trace
from pcache.trace.excerpt import excerpts
from pcache.trace.tokenize import ByteTokenizer, Tokenizer


def show(tmp_path: Path, line: Any, start: int, stop: int) -> str:
    trace = read_trace(write_lines(tmp_path / "t.jsonl", line))
    tokenizer: Tokenizer | None = ByteTokenizer() if trace.tokenizer else None
    return excerpts(trace, tokenizer)(0, start, stop)


@pytest.mark.parametrize(
    ("changes", "start", "stop", "shown"),
    [
        ({"prompt": {"text": "a\nb\tc\x1b[1m\x07"}}, 0, 10, "a↵b c▯[1m▯"),
        ({"prompt": {"text": "é"}}, 0, 1, "\ufffd"),
        ({"prompt": {"text": "ab"}, "output": {"text": "cd"}}, 1, 4, "bcd"),
        ({"prompt": {"text": "ab"}, "output": {"text": "cd"}}, 2, 5, "cd⟧"),
        ({"prompt": {"text": "ab"}, "output": {"num_tokens": 9}}, 1, 10, "b(8 generated)"),
        ({"prompt": {"text": "ab"}, "output": {"num_tokens": 900}}, 4, 700, "(696 generated)"),
        ({"prompt": {"text": "x" * 300}}, 10, 290, "x" * 160 + "…"),
        ({"prompt": {"text": "x" * 159}, "output": {"text": "yz"}}, 0, 161, "x" * 159 + "y…"),
        ({"prompt": {"text": "ab"}, "salt": "team"}, 0, 2, "[team] ab"),
        ({"prompt": {"text": "ab"}, "salt": "team"}, 1, 2, "b"),
        ({"prompt": {"messages": [{"role": "user", "content": "hi"}]}}, 0, 10, "⟦user↵hi⟧↵"),
        ({"prompt": {"tokens": [7, 300, 9]}}, 0, 2, "7 300"),
        (
            {"prompt": {"tokens": [7] * 9}, "images": [{"hash": "cat", "start": 2, "num_tokens": 4}]},
            1, 8, "7[image cat]7 7",
        ),
    ],
)  # fmt: skip
def test_excerpts(
    tmp_path: Path, changes: dict[str, Any], start: int, stop: int, shown: str
) -> None:
    assert show(tmp_path, native(**changes), start, stop) == shown


def test_hash_blocks(tmp_path: Path) -> None:
    line = mooncake(input_length=1200, hash_ids=[4, 5, 6])
    assert show(tmp_path, line, 0, 512) == "block 4"
    assert show(tmp_path, line, 600, 1200) == "blocks 5 6"
    assert show(tmp_path, line, 1024, 1203) == "block 6(3 generated)"
