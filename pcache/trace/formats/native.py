"""pcache's own format: JSON lines, one request a line, in order of arrival.

    {"id": "chat-1/0", "arrival_ns": 1500000, "prompt": {"tokens": [1, 2, 3]},
     "output": {"num_tokens": 40}, "session": "chat-1", "turn": 0}

| field | meaning |
|---|---|
| `id` | name of the request, unique |
| `arrival_ns` | arrival in integer nanoseconds from the start of the trace, never decreasing |
| `prompt` | exactly one of `{"tokens": [ids]}`, `{"text": "…"}`, `{"messages": [{"role": …, \
"content": …}, …], "tools": […]}` (tools optional), and \
`{"blocks": [ids], "block_tokens": 512, "num_tokens": 6758}` |
| `output` | exactly one of `{"num_tokens": 40}`, `{"tokens": [ids]}`, `{"text": "…"}` |
| `session`, `turn` | conversation and turn in it from 0 (optional) |
| `priority` | more urgent is higher (optional, 0) |
| `salt` | tenant; different salts share nothing (optional, none) |
| `n` | sampling width: n requests `ID#0` … with one prompt (optional, 1) |
| `images` | `[{"hash": "…", "start": 10, "num_tokens": 576}]`: spans of the prompt's tokens that \
stand for an image, known by the hash of its content; what the prompt says there is ignored |
| `class` | kind of traffic (optional) |

A block id stands for its tokens and everything before them; a file has blocks of one size in every
line or in none. Text and messages need a tokenizer.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pcache.trace.build import build_trace
from pcache.trace.formats.blocks import read_blocks
from pcache.trace.formats.native_images import place_images
from pcache.trace.formats.native_tokens import OUTPUT_KINDS, read_sequences
from pcache.trace.formats.samples import MAX_SAMPLES, sample_ids, spread
from pcache.trace.formats.sequences import Sequences
from pcache.trace.records import MAX_TOKENS, Records, parse_records
from pcache.trace.source import Source
from pcache.trace.tokenize import Tokenizer
from pcache.types import I8, Trace

__all__ = ["OPTIONAL_FIELDS", "REQUIRED_FIELDS", "read_native"]

REQUIRED_FIELDS = ("id", "arrival_ns", "prompt", "output")
OPTIONAL_FIELDS = ("session", "turn", "priority", "salt", "n", "images", "class")

MAX_ARRIVAL_NS = 10**18
_PROMPT_KINDS = ("tokens", "text", "messages", "blocks")


def read_native(source: Source, *, tokenizer: Tokenizer, limit: int | None) -> Trace:
    """Read a native trace. Raises TraceError."""
    records = parse_records(source, limit)
    records.check_fields(REQUIRED_FIELDS, OPTIONAL_FIELDS)
    prompts, outputs = records.nested("prompt"), records.nested("output")
    prompt_kinds = one_kind(prompts, _PROMPT_KINDS)
    output_kinds = one_kind(outputs, OUTPUT_KINDS)
    samples = records.integers("n", 1, MAX_SAMPLES, default=1)
    _check_samples(records, samples, output_kinds)
    if "blocks" in prompt_kinds:
        return _read_block_trace(source, records, prompt_kinds, output_kinds, samples)
    sequences = read_sequences(prompts, prompt_kinds, outputs, output_kinds, tokenizer)
    images = place_images(records, prompt_kinds, sequences.prompts, samples)
    return _build(source, records, samples, sequences, 1, images, sequences.tokenizer)


def one_kind(records: Records, kinds: Sequence[str]) -> list[str]:
    """Which of `kinds` each object has; it must be exactly one."""
    found = []
    for at, fields in enumerate(records.objects):
        present = [kind for kind in kinds if kind in fields]
        if len(present) != 1:
            what = " and ".join(present) or "none"
            name = records.path.removesuffix(".")
            records.fail(at, f"field '{name}' has {what}; expected one of {', '.join(kinds)}")
        found.append(present[0])
    return found


def _check_samples(records: Records, samples: I8, output_kinds: list[str]) -> None:
    for at in np.flatnonzero(samples > 1):
        if output_kinds[at] != "num_tokens":
            records.reject(
                int(at), "n", int(samples[at]), "1 where the output is known, since samples differ"
            )


def _read_block_trace(
    source: Source, records: Records, prompt_kinds: list[str], output_kinds: list[str], samples: I8
) -> Trace:
    prompts, outputs = records.nested("prompt"), records.nested("output")
    for at, kind in enumerate(prompt_kinds):
        if kind != prompt_kinds[0]:
            records.fail(
                at,
                f"prompt of {kind} after one of {prompt_kinds[0]}; hash blocks and tokens cannot "
                "be compared: keep them in separate files",
            )
    for at, kind in enumerate(output_kinds):
        if kind != "num_tokens":
            records.fail(at, "output.num_tokens is the only output a prompt of blocks can have")
        if "images" in records.objects[at]:
            records.fail(at, "images need a prompt of tokens; block ids already cover them")
    prompts.check_fields(("blocks", "block_tokens", "num_tokens"))
    outputs.check_fields(("num_tokens",))
    sizes = prompts.integers("block_tokens", 1, MAX_TOKENS)
    for at in np.flatnonzero(sizes != sizes[0])[:1]:
        prompts.reject(
            int(at), "block_tokens", int(sizes[at]), f"{sizes[0]} as in the lines before"
        )
    length, ids, counts = read_blocks(
        prompts, "blocks", "num_tokens", int(sizes[0]), "block_tokens {} fits all lines"
    )
    blocks = np.split(ids, np.cumsum(counts)[:-1])
    output_tokens = outputs.integers("num_tokens", 1, MAX_TOKENS)
    sequences = Sequences(blocks, [ids[:0]] * len(blocks), length, output_tokens, "")
    return _build(source, records, samples, sequences, int(sizes[0]), [], "")


def _build(
    source: Source,
    records: Records,
    samples: I8,
    sequences: Sequences,
    symbol_tokens: int,
    images: list[Any],
    tokenizer: str,
) -> Trace:
    def repeat(column: I8) -> I8:
        return np.repeat(column, samples)

    parts, counts = sequences.interleaved(samples)
    return build_trace(
        source,
        "native",
        repeat(np.array(records.lines)).tolist(),
        request_ids=sample_ids(records.strings("id"), samples),
        arrival_ns=repeat(records.integers("arrival_ns", 0, MAX_ARRIVAL_NS)),
        prompt_tokens=repeat(sequences.prompt_tokens),
        output_tokens=repeat(sequences.output_tokens),
        symbol_tokens=symbol_tokens,
        symbols=parts,
        symbol_counts=counts,
        session_ids=spread(records.strings("session", default=""), samples),
        turn=repeat(records.integers("turn", 0, 2**31 - 1, default=0)),
        priority=repeat(records.integers("priority", -(2**31), 2**31 - 1, default=0)),
        salts=spread(records.strings("salt", default=""), samples),
        classes=spread(records.strings("class", default=""), samples),
        images=images,
        tokenizer=tokenizer,
    )
