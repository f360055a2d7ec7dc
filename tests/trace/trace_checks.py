"""What the tests of traces share: writing small files, the invariants of Trace, real traces."""

from __future__ import annotations

import json
import os
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from pcache.trace import read_trace
from pcache.types import IMAGE_SYMBOL, Trace

TRACES = Path(__file__).parents[2] / "traces"


def shared(name: str) -> Path:
    """A file of the shared folder; the test is skipped where there is none."""
    default = Path(__file__).parents[3] / "shared"
    path = Path(os.environ.get("PCACHE_SHARED", default)) / name
    if not path.is_file():
        pytest.skip(f"needs {path}")
    return path


@cache
def shipped(name: str) -> Trace:
    """A trace of the repository, read once for all tests."""
    return read_trace(TRACES / f"{name}.jsonl.xz")


def write_lines(path: Path, *lines: Any) -> Path:
    """Objects as JSON lines; strings as they are."""
    texts = [line if isinstance(line, str) else json.dumps(line) for line in lines]
    path.write_text("".join(text + "\n" for text in texts))
    return path


def native(**changes: Any) -> dict[str, Any]:
    """A valid line of the native format, with changes; a value of ... removes the field."""
    fields = {
        "id": "a",
        "arrival_ns": 0,
        "prompt": {"tokens": [1, 2, 3]},
        "output": {"num_tokens": 2},
        **changes,
    }
    return {name: value for name, value in fields.items() if value is not ...}


def mooncake(**changes: Any) -> dict[str, Any]:
    """A valid line of a Mooncake trace, with changes."""
    fields = {"timestamp": 0, "input_length": 600, "output_length": 5, "hash_ids": [0, 1]}
    return fields | changes


def assert_valid(trace: Trace) -> None:
    """All that the docstring of Trace promises."""
    num = len(trace)
    assert num > 0
    columns = (
        trace.request_ids, trace.session_ids, trace.turn, trace.arrival_ns, trace.prompt_tokens,
        trace.output_tokens, trace.priority, trace.salt, trace.workload_class,
    )  # fmt: skip
    assert {len(column) for column in columns} == {num}
    assert len(set(trace.request_ids)) == num
    assert trace.arrival_ns[0] >= 0
    assert (np.diff(trace.arrival_ns) >= 0).all()
    assert trace.prompt_tokens.min() >= 1
    assert trace.output_tokens.min() >= 1
    assert trace.salts[0] == trace.classes[0] == ""
    assert 0 <= trace.salt.min() <= trace.salt.max() < len(trace.salts)
    assert 0 <= trace.workload_class.min() <= trace.workload_class.max() < len(trace.classes)
    assert trace.symbol_offsets[0] == 0
    assert trace.symbol_offsets[-1] == len(trace.symbols)
    for request in range(num):
        prompt, output = trace.prompt_symbols(request), trace.known_output(request)
        assert len(prompt) == -(-trace.prompt_tokens[request] // trace.symbol_tokens)
        assert len(output) in (0, trace.output_tokens[request])
        if trace.symbol_tokens > 1:
            assert len(output) == 0
    for image in trace.images:
        span = trace.prompt_symbols(image.request)[image.start : image.start + image.num_tokens]
        assert len(span) == image.num_tokens
        assert (span >= IMAGE_SYMBOL).all()


def assert_same(one: Trace, other: Trace, *, but: tuple[str, ...] = ()) -> None:
    """Equal in every field except `but`."""
    for name in Trace.__slots__:
        if name in but:
            continue
        left, right = getattr(one, name), getattr(other, name)
        if isinstance(left, np.ndarray):
            assert left.dtype == right.dtype, name
            assert np.array_equal(left, right), name
        else:
            assert left == right, name
