"""Serial replay answers what the real SGLang and vLLM classes answered, in every request."""

from __future__ import annotations

import json
import re
from functools import cache
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from pcache.cache.contract import CacheConfig
from pcache.cache.replay import replay
from pcache.prefixes import PrefixForest, build_forest
from pcache.trace import read_trace
from pcache.types import I4, Trace

LARGE = re.compile(r"(sglang|vllm)_conv_cap(inf|\d+)_(?:p|bs)(\d+)(?:_(\w+)_radix)?\.csv\.gz")


@cache
def conversation(shared: Path) -> tuple[Trace, PrefixForest]:
    trace = read_trace(shared / "traces" / "mooncake_conversation.jsonl.xz")
    return trace, build_forest(trace)


@cache
def micro_trace(path: Path) -> tuple[Trace, PrefixForest]:
    """The micro traces are in Mooncake's format, but with blocks of 8 tokens."""
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    num, zeros = len(rows), np.zeros(len(rows), np.int32)
    offsets = np.cumsum([0] + [len(row["hash_ids"]) for row in rows])
    trace = Trace(
        path.stem, "mooncake", "", 8, [str(i) for i in range(num)], [""] * num, zeros,
        np.zeros(num, np.int64), np.array([row["input_length"] for row in rows], np.int32),
        np.array([row["output_length"] for row in rows], np.int32), zeros, zeros, [""], zeros, [""],
        np.array([id for row in rows for id in row["hash_ids"]]), offsets,
    )  # fmt: skip
    return trace, build_forest(trace)


def first_difference(want: I4, got: I4) -> str:
    at = np.flatnonzero(want != got)
    return f"{len(at)} differ, first {at[0]}: {want[at[0]]} != {got[at[0]]}" if len(at) else ""


def large_config(name: str) -> CacheConfig:
    found = LARGE.fullmatch(name)
    assert found, f"{name} is not named as the golden README says"
    engine, capacity, size, eviction = found.groups()
    kv_tokens = None if capacity == "inf" else int(capacity)
    index = {"sglang": "radix", "vllm": "hash"}[engine]
    return CacheConfig(index, int(size), kv_tokens, eviction or "lru")


@pytest.mark.slow
def test_conversation_trace(shared: Path) -> None:
    trace, forest = conversation(shared)
    files = sorted((shared / "golden").glob("*.csv.gz"))
    assert files
    wrong = {}
    for file in files:
        want = pd.read_csv(file)["cached_tokens"].to_numpy()
        got = replay(trace, large_config(file.name), forest=forest).cached_tokens
        wrong[file.name] = first_difference(want, got)
    assert not {name: found for name, found in wrong.items() if found}


@pytest.mark.parametrize("engine", ["vllm", "sglang"])
def test_micro_traces(shared: Path, engine: str) -> None:
    micro = shared / "golden" / "micro"
    answers = json.loads((micro / f"{engine}_micro.json").read_text())
    wrong, checked = {}, 0
    for key, want in answers.items():
        name, capacity, size, *options = key.split("|")
        if engine == "sglang" and options[0] != "radix":
            continue
        config = CacheConfig(
            "radix" if engine == "sglang" else "hash",
            int(re.sub(r"\D", "", size)),
            int(capacity.removeprefix("cap")),
            options[1] if engine == "sglang" else "lru",
        )
        chunk = [int(option[5:]) for option in options if option.startswith("chunk")]
        trace, forest = micro_trace(micro / f"{name}.jsonl")
        got = replay(
            trace, config, outputs="out" in options, forest=forest, chunk_tokens=sum(chunk)
        ).cached_tokens
        wrong[key] = first_difference(np.array(want), got)
        checked += 1
    assert checked >= 100
    assert not {key: found for key, found in wrong.items() if found}
