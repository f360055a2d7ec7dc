"""The native format, field by field."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from trace_checks import assert_same, assert_valid, native, write_lines

from pcache.errors import TraceError
from pcache.trace import read_trace, write_trace
from pcache.types import IMAGE_SYMBOL, Image

IMAGE = {"hash": "x", "start": 1, "num_tokens": 2}
BLOCKS = {"blocks": [7, 8], "block_tokens": 4, "num_tokens": 6}


def test_all_fields(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        native(id="a", session="s", turn=3, priority=-2, salt="t", n=2, images=[IMAGE]),
        native(id="b", arrival_ns=5, output={"tokens": [9, 8]}, **{"class": "chat"}),
        native(id="c", arrival_ns=5, prompt={"tokens": [1, 2, 3, 4]}, images=[IMAGE]),
    )
    trace = read_trace(path)
    assert_valid(trace)
    assert trace.request_ids == ["a#0", "a#1", "b", "c"]
    assert trace.session_ids == ["s", "s", "", ""]
    assert trace.turn.tolist() == [3, 3, 0, 0]
    assert trace.priority.tolist() == [-2, -2, 0, 0]
    assert [trace.salts[at] for at in trace.salt] == ["t", "t", "", ""]
    assert [trace.classes[at] for at in trace.workload_class] == ["", "", "chat", ""]
    assert trace.output_tokens.tolist() == [2, 2, 2, 2]
    assert trace.known_output(2).tolist() == [9, 8]
    image = [1, IMAGE_SYMBOL, IMAGE_SYMBOL + 1]
    assert trace.prompt_symbols(1).tolist() == image
    assert trace.prompt_symbols(3).tolist() == [*image, 4]
    assert trace.images == [Image(request, 1, 2, "x") for request in (0, 1, 3)]
    assert (trace.name, trace.source_format, trace.tokenizer) == ("t", "native", "")


def test_text_and_messages_use_the_tokenizer(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        native(id="a", prompt={"text": "hé"}, output={"text": "o"}),
        native(id="b", prompt={"messages": [{"role": "user", "content": "hi"}]}),
        native(id="c"),
    )
    trace = read_trace(path)
    assert trace.tokenizer == "bytes"
    assert bytes(trace.prompt_symbols(0).tolist()).decode() == "hé"
    assert trace.known_output(0).tolist() == [ord("o"), 257]
    assert trace.prompt_symbols(2).tolist() == [1, 2, 3]


def test_blocks(tmp_path: Path) -> None:
    trace = read_trace(write_lines(tmp_path / "t.jsonl", native(prompt=BLOCKS)))
    assert_valid(trace)
    assert (trace.symbol_tokens, trace.prompt_tokens.tolist()) == (4, [6])
    assert trace.prompt_token_keys(0).tolist() == [28, 29, 30, 31, 32, 33]


@pytest.mark.parametrize(
    ("changes", "problem"),
    [
        ({"id": ...}, "field 'id' is missing"),
        ({"id": 3}, "field 'id' is 3; expected valid Unicode text"),
        ({"id": "\ud800"}, "field 'id' is \"\\ud800\""),
        ({"colour": 1}, "unknown field 'colour'"),
        ({"arrival_ns": -1}, "field 'arrival_ns' is -1; expected an integer from 0"),
        ({"arrival_ns": 1.5}, "field 'arrival_ns' is 1.5"),
        ({"arrival_ns": True}, "field 'arrival_ns' is true"),
        ({"arrival_ns": 10**30}, "field 'arrival_ns' is 1000000"),
        ({"turn": -1}, "field 'turn' is -1"),
        ({"priority": 2**31}, "field 'priority' is 2147483648"),
        ({"n": 0}, "field 'n' is 0"),
        ({"n": 2, "output": {"tokens": [1]}}, "1 where the output is known"),
        ({"prompt": 3}, "field 'prompt' is 3; expected an object"),
        ({"prompt": {}}, "field 'prompt' has none; expected one of tokens, text"),
        ({"prompt": {"text": "a", "tokens": [1]}}, "has tokens and text"),
        ({"prompt": {"tokens": []}}, "the prompt has 0 tokens"),
        ({"prompt": {"tokens": [1, -2]}}, "field 'prompt.tokens' is -2"),
        ({"prompt": {"tokens": [1, False]}}, "field 'prompt.tokens' is false"),
        ({"prompt": {"tokens": [2**53]}}, "field 'prompt.tokens' is 9007199254740992"),
        ({"prompt": {"tokens": 5}}, "expected a list of integers"),
        ({"prompt": {"tokens": [1], "extra": 1}}, "unknown field 'prompt.extra'"),
        ({"prompt": {"text": 5}}, "field 'prompt.text' is 5"),
        ({"prompt": {"messages": []}}, "expected a list of messages"),
        ({"prompt": {"messages": [{"content": "x"}]}}, "messages[0].role"),
        ({"prompt": {"messages": [{"role": "user", "content": 1}]}}, "messages[0].content"),
        ({"prompt": BLOCKS | {"num_tokens": 20}}, "needs 5 blocks of 4 tokens"),
        ({"prompt": BLOCKS | {"num_tokens": 12}}, "block_tokens 8 fits all lines"),
        ({"prompt": BLOCKS, "output": {"tokens": [1]}}, "only output a prompt of blocks"),
        ({"prompt": BLOCKS, "images": [IMAGE]}, "images need a prompt of tokens"),
        ({"prompt": {"text": "abcdef"}, "images": [IMAGE]}, "images need a prompt of tokens"),
        ({"images": [IMAGE | {"start": 2}]}, "at tokens 2 to 4 does not fit"),
        ({"images": [IMAGE, IMAGE]}, "does not fit"),
        ({"images": [{"hash": "x"}]}, "field 'images[].num_tokens' is missing"),
        ({"images": 5}, "expected a list of objects"),
        ({"output": {"num_tokens": 0}}, "field 'output.num_tokens' is 0"),
        ({"output": {"num_tokens": 2**24 + 1}}, "from 1 to 16,777,216"),
        ({"output": {"num_tokens": True}}, "field 'output.num_tokens' is true"),
    ],
)
def test_bad_values_are_named(tmp_path: Path, changes: dict[str, Any], problem: str) -> None:
    first = "" if "blocks" in str(changes.get("prompt")) else native(id="fine")
    path = write_lines(tmp_path / "t.jsonl", first, native(**changes))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    message = str(caught.value)
    assert message.startswith(f"{path}:2: ")
    assert problem in message
    assert "\n" not in message


@pytest.mark.parametrize(
    ("lines", "problem"),
    [
        ([native(), native()], ':2: id "a" is already that of line 1'),
        ([native(arrival_ns=9), native(id="b", arrival_ns=8)], ":2: arrives at 8e-09 s, before"),
        ([native(), native(id="b", prompt=BLOCKS)], ":2: prompt of blocks after one of tokens"),
        ([native(prompt=BLOCKS), native(id="b")], ":2: prompt of tokens after one of blocks"),
        (
            [native(prompt=BLOCKS), native(id="b", prompt=BLOCKS | {"block_tokens": 3})],
            ":2: field 'prompt.block_tokens' is 3; expected 4 as in the lines before",
        ),
        ([native(), '{"id": "b", "arriv'], "the file ends in mid-line"),
        ([native(), '{"id": "b", "arriv', native()], ":2: not valid JSON"),
        ([native(), '{"id": "b", "id": "c"}'], ':2: not valid JSON (field "id" appears twice)'),
        ([native(), '{"arrival_ns": NaN}'], ":2: not valid JSON (NaN is not a number)"),
        ([native(), "7"], ":2: 7 is not an object"),
        ([native(), "1" * 5000], ":2: not valid JSON (a number with thousands of digits)"),
        ([native(), "[" * 100_000], ":2: JSON nested too deeply"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, lines: list[Any], problem: str) -> None:
    path = write_lines(tmp_path / "t.jsonl", *lines)
    path.write_text(path.read_text().removesuffix("\n"))
    with pytest.raises(TraceError) as caught:
        read_trace(path)
    assert problem in str(caught.value)
    assert "\n" not in str(caught.value)


def test_too_many_tokens(tmp_path: Path) -> None:
    huge = {"blocks": [0], "block_tokens": 2**24, "num_tokens": 2**24}
    lines = [native(id=str(number), prompt=huge) for number in range(130)]
    with pytest.raises(TraceError, match=r":128: the trace passes 2,147,483,648 .* --limit 127"):
        read_trace(write_lines(tmp_path / "t.jsonl", *lines))
    assert len(read_trace(tmp_path / "t.jsonl", limit=127)) == 127


def test_write_read_is_the_identity_with_images_and_samples(tmp_path: Path) -> None:
    path = write_lines(
        tmp_path / "t.jsonl",
        native(id="a", n=3, images=[IMAGE], salt="x", session="s", turn=2, priority=4),
        native(id="b", output={"tokens": [4]}, **{"class": "c"}),
    )
    trace = read_trace(path)
    write_trace(trace, path)
    again = read_trace(path)
    assert_same(trace, again, but=("sha256",))
    assert again.images == trace.images
    assert np.array_equal(again.symbols, trace.symbols)
