"""Radix tree, trie and hashes as a cache grows: nodes, bytes, look-up time, and what they find.

Prompts of one generated workload are added one after another. At several sizes the same prompts, among
the first that were added, are looked up and timed: the same work at every size. What is found is asked
of the 500 prompts that come next. Bytes are those of the index alone, at half load of its table:
keys and values of the table, and for the radix tree the nodes' bounds and tokens. The cached KV and
its block ids, which all of them need, are not in them.
"""

from __future__ import annotations

import os
import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from benchmarks.claims.index_structures import (
    Index,
    empty_index,
    hash_add,
    hash_find,
    radix_add,
    radix_find,
    trie_add,
    trie_find,
)
from pcache.jit import compiled
from pcache.provenance import provenance
from pcache.trace import generate
from pcache.types import I4, I8, Trace

__all__ = ["BLOCKS", "SIZES", "compare", "measure_indexes"]

SIZES = (250, 500, 1000, 2000, 4000, 8000, 16_000)
"""Prompts in the cache."""
NEXT = 500
"""Prompts after those in the cache, that what is found is asked of."""
TIMED = 200
"""Of the first prompts in the cache, that look-ups are timed with."""
PASSES = 101
BLOCKS = (16, 64)
LENGTHS = (0, 500, 1000, 2000, 4000)
"""Edges of the classes of prompt lengths, in tokens."""

_ENTRY, _BOUNDS, _TOKEN, _LOAD = 8 + 4, 4 + 4, 4, 0.5


@dataclass(frozen=True, slots=True)
class Kind:
    """One structure. `whole` finds a prompt only as a whole, as a table of whole-prompt hashes does."""

    name: str
    add: Callable[[Index, I4], None]
    find: Callable[[Index, I4], tuple[int, int]]
    stores_tokens: bool = False


def measure_indexes(out: Path, num_prompts: int = SIZES[-1]) -> pd.DataFrame:
    """Measure up to `num_prompts` cached prompts and write index.csv and index_lengths.csv to `out`."""
    trace = generate("multi-turn-chat", seed=1, requests=num_prompts + NEXT)
    growth, lengths = compare(trace, [size for size in SIZES if size <= num_prompts])
    out.mkdir(parents=True, exist_ok=True)
    known = provenance()
    growth["machine"], growth["numba"] = _processor(), known["versions"]["numba"]
    growth["commit"] = known["commit"]
    growth.to_csv(out / "index.csv", index=False, float_format="%.6g", lineterminator="\n")
    lengths.to_csv(out / "index_lengths.csv", index=False, float_format="%.6g", lineterminator="\n")
    return growth


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown"


def kinds() -> list[Kind]:
    """The structures that are compared."""
    hashes = [
        Kind(f"hash, blocks of {b}", partial(hash_add, block=b), partial(hash_find, block=b))
        for b in BLOCKS
    ]
    return [
        Kind("radix tree", radix_add, radix_find, True),
        Kind("trie", trie_add, trie_find),
        *hashes,
    ]


def compare(trace: Trace, sizes: list[int]) -> tuple[pd.DataFrame, pd.DataFrame]:
    """By size of the cache: a row a structure and size. By prompt length, at the largest size."""
    prompts = list(_prompts(trace))
    timed = prompts[:TIMED]
    rows: list[dict[str, Any]] = []
    lengths: list[dict[str, Any]] = []
    for kind in kinds():
        for size in sizes:
            index = _built(kind, prompts[:size])
            asked = prompts[size : size + NEXT]
            found = sum(kind.find(index, prompt)[0] for prompt in asked)
            passed = [kind.find(index, prompt)[1] for prompt in timed]
            nanoseconds = _times(kind, index, timed)
            rows.append({
                "structure": kind.name, "prompts": size,
                "tokens_added": sum(map(len, prompts[:size])),
                "nodes": int(index.used[0]) - 1, "bytes": _bytes(kind, index),
                "found": found / sum(map(len, asked)), "passed": statistics.mean(passed),
                "lookup_us": float(np.mean(nanoseconds)) / 1000,
                "lookup_ns_per_token": nanoseconds.sum() / sum(map(len, timed)),
            })  # fmt: skip
        lengths += _by_length(kind.name, timed, nanoseconds)
    whole = _whole_prompts(prompts, sizes)
    return pd.DataFrame(rows + whole), pd.DataFrame(lengths)


def _built(kind: Kind, prompts: list[I4]) -> Index:
    """The structure over these prompts, its table no larger than half load needs: a larger one would
    miss the processor's caches more often than its content must."""
    entries, tokens = sum(map(len, prompts)), sum(map(len, prompts)) if kind.stores_tokens else 0
    for _ in range(2):
        index = empty_index(entries, entries if kind.stores_tokens else 0, tokens)
        for prompt in prompts:
            kind.add(index, prompt)
        entries = max(int(index.used[0]), 1)
    return index


def _prompts(trace: Trace) -> Iterator[I4]:
    for number in range(len(trace)):
        begin = trace.symbol_offsets[number]
        yield trace.symbols[begin : begin + trace.prompt_tokens[number]].astype(np.int32)


def _bytes(kind: Kind, index: Index) -> int:
    nodes = int(index.used[0]) - 1
    own = nodes * _BOUNDS + int(index.used[1]) * _TOKEN if kind.stores_tokens else 0
    return int(nodes * _ENTRY / _LOAD) + own


@compiled
def _walk(index: Index, tokens: I4, offsets: I8, which: int, block: int) -> int:
    """Look up every prompt of `tokens` once; the tokens found, so that nothing is optimised away."""
    found = 0
    for number in range(len(offsets) - 1):
        prompt = tokens[offsets[number] : offsets[number + 1]]
        if which == 0:
            found += radix_find(index, prompt)[0]
        elif which == 1:
            found += trie_find(index, prompt)[0]
        else:
            found += hash_find(index, prompt, block)[0]
    return found


def _times(kind: Kind, index: Index, timed: list[I4]) -> I8:
    """Nanoseconds of each look-up: the median over passes through all of them, in compiled code.

    Prompts are timed one by one with the others in between, so that each finds the caches as serving
    would leave them. What calling the code takes is timed in between too, and taken off."""
    which = {"radix tree": 0, "trie": 1}.get(kind.name, 2)
    block = int(kind.name.rpartition(" ")[2]) if which == 2 else 1
    calls = [(prompt, np.array([0, len(prompt)], np.int64)) for prompt in timed]
    nothing = (timed[0][:0], np.array([0, 0], np.int64))
    _walk(index, *nothing, which, block)
    taken = np.empty((PASSES, len(timed), 2), np.int64)
    for row in taken:
        for at, call in enumerate(calls):
            for part, (tokens, ends) in enumerate((call, nothing)):
                began = time.perf_counter_ns()
                _walk(index, tokens, ends, which, block)
                row[at, part] = time.perf_counter_ns() - began
    own = taken[:, :, 0] - np.median(taken[:, :, 1], axis=1)[:, None]
    return np.maximum(np.median(own, axis=0), 0).astype(np.int64)


def _by_length(name: str, timed: list[I4], nanoseconds: I8) -> list[dict[str, Any]]:
    tokens = np.array([len(prompt) for prompt in timed])
    rows = []
    for low, high in zip(LENGTHS, [*LENGTHS[1:], 1 << 40], strict=True):
        inside = (tokens >= low) & (tokens < high)
        if inside.any():
            rows.append({
                "structure": name, "tokens_from": low, "prompts": int(inside.sum()),
                "tokens_mean": float(tokens[inside].mean()),
                "lookup_us": float(nanoseconds[inside].mean()) / 1000,
            })  # fmt: skip
    return rows


def _whole_prompts(prompts: list[I4], sizes: list[int]) -> list[dict[str, Any]]:
    """A table of whole prompts, which is what cannot match partially; found, nothing timed."""
    rows = []
    for size in sizes:
        known = {prompt.tobytes() for prompt in prompts[:size]}
        asked = prompts[size : size + NEXT]
        hits = sum(len(prompt) for prompt in asked if prompt.tobytes() in known)
        rows.append({
            "structure": "hash of whole prompts", "prompts": size,
            "tokens_added": sum(map(len, prompts[:size])), "nodes": len(known),
            "bytes": int(len(known) * _ENTRY / _LOAD), "found": hits / sum(map(len, asked)),
        })  # fmt: skip
    return rows


def pin_to_one_core() -> None:
    """Stay on one core, so that a look-up finds its own caches warm."""
    os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
