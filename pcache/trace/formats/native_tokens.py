"""Prompts and outputs of the native format as token ids, whatever the file gives them as."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

from pcache.trace.formats.messages import check_messages
from pcache.trace.formats.sequences import Sequences, template_refusal
from pcache.trace.records import MAX_SYMBOL, MAX_TOKENS, Records
from pcache.trace.tokenize import Chat, ChatRejected, Tokenizer
from pcache.types import I8

__all__ = ["OUTPUT_KINDS", "read_sequences"]

OUTPUT_KINDS = ("num_tokens", "tokens", "text")


def read_sequences(
    prompts: Records,
    prompt_kinds: list[str],
    outputs: Records,
    output_kinds: list[str],
    tokenizer: Tokenizer,
) -> Sequences:
    """Token ids of every line. Raises TraceError."""
    used = {*prompt_kinds, *output_kinds} & {"text", "messages"}

    def texts(records: Records) -> list[I8]:
        records.check_fields(("text",))
        return tokenizer.encode_texts(records.strings("text"))

    def generated(records: Records) -> list[I8]:
        records.check_fields(("text",))
        return tokenizer.encode_outputs(records.strings("text"))

    def messages(records: Records) -> list[I8]:
        records.check_fields(("messages",), ("tools",))
        return _encode_chats(records, tokenizer)

    prompt_ids = _by_kind(
        prompts, prompt_kinds, {"tokens": _token_ids, "text": texts, "messages": messages}
    )
    output_ids = _by_kind(
        outputs, output_kinds, {"tokens": _token_ids, "text": generated, "num_tokens": _unknown}
    )
    lengths = [len(ids) for ids in output_ids]
    for at, kind in enumerate(output_kinds):
        if kind == "num_tokens":
            lengths[at] = outputs.objects[at]["num_tokens"]
    return Sequences(
        prompt_ids,
        output_ids,
        np.array([len(ids) for ids in prompt_ids], np.int64),
        np.array(lengths, np.int64),
        tokenizer.name if used else "",
    )


def _encode_chats(records: Records, tokenizer: Tokenizer) -> list[I8]:
    chats = []
    for at in range(len(records)):
        check_messages(records, at)
        chats.append(Chat(records.objects[at]["messages"], records.objects[at].get("tools")))
    try:
        return tokenizer.encode_chats(chats)
    except ChatRejected as error:
        template_refusal(records, error.index, tokenizer, error)


def _by_kind(
    records: Records, kinds: Sequence[str], encoders: dict[str, Callable[[Records], list[I8]]]
) -> list[I8]:
    result: list[Any] = [None] * len(records)
    for kind in dict.fromkeys(kinds):
        which = [at for at, other in enumerate(kinds) if other == kind]
        for at, ids in zip(which, encoders[kind](records.select(which)), strict=True):
            result[at] = ids
    return result


def _token_ids(records: Records) -> list[I8]:
    records.check_fields(("tokens",))
    flat, counts = records.integer_lists("tokens", 0, MAX_SYMBOL)
    return np.split(flat, np.cumsum(counts)[:-1])


def _unknown(records: Records) -> list[I8]:
    records.check_fields(("num_tokens",))
    records.integers("num_tokens", 1, MAX_TOKENS)
    return [np.empty(0, np.int64)] * len(records)
