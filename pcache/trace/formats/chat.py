"""OpenAI-style chat logs: JSON lines with the messages of one call each.

    {"messages": [{"role": "user", "content": "Hi"}], "completion": "Hello!", "timestamp": 1.5,
     "request_id": "a-0", "session_id": "a", "turn": 0}

| field | meaning |
|---|---|
| `messages` | what was sent; content is text, a list of text parts, or null |
| `tools` | tool definitions that were sent with it |
| `completion` | the answer: text, or a message with `content` and `tool_calls` |
| `output_tokens` | its length where the text is not known; else `max_completion_tokens`, `max_tokens` |
| `timestamp` | seconds, or Unix time; without any in the file all requests arrive at once |
| `request_id`, `session_id`, `turn`, `class` | names (optional; requests are numbered from 0) |
| `n` | answers asked for: n requests with one prompt |
| `cache_salt` | tenant; different salts share nothing |

Where none of the length fields is given, a last message by the assistant is taken as the answer, as
in files for fine-tuning. Other fields of a request body (`model`, `temperature`, …) are accepted and
change nothing, because they do not change the prompt.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from pcache.trace.build import MAX_SECONDS, build_trace, nanoseconds
from pcache.trace.formats.messages import check_messages
from pcache.trace.formats.samples import MAX_SAMPLES, sample_ids, spread
from pcache.trace.formats.sequences import Sequences, template_refusal
from pcache.trace.records import MAX_TOKENS, Records, parse_records
from pcache.trace.source import Source
from pcache.trace.tokenize import Chat, ChatRejected, Tokenizer
from pcache.types import I8, Trace

__all__ = ["BODY_FIELDS", "FIELDS", "read_chat"]

FIELDS = (
    "messages", "tools", "completion", "output_tokens", "max_completion_tokens", "max_tokens",
    "timestamp", "request_id", "session_id", "turn", "class", "n", "cache_salt",
)  # fmt: skip
BODY_FIELDS = (
    "audio", "frequency_penalty", "function_call", "functions", "logit_bias", "logprobs",
    "metadata", "modalities", "model", "parallel_tool_calls", "prediction", "presence_penalty",
    "prompt_cache_key", "reasoning_effort", "response_format", "safety_identifier", "seed",
    "service_tier", "stop", "store", "stream", "stream_options", "temperature", "tool_choice",
    "top_logprobs", "top_p", "user", "verbosity", "web_search_options",
)  # fmt: skip
_LENGTHS = ("output_tokens", "max_completion_tokens", "max_tokens")


def read_chat(source: Source, *, tokenizer: Tokenizer, limit: int | None) -> Trace:
    """Read a chat log. Raises TraceError."""
    records = parse_records(source, limit)
    records.check_fields(("messages",), (*FIELDS, *BODY_FIELDS))
    for at in range(len(records)):
        check_messages(records, at)
        _take_answer(records, at)
    sequences = _encode(records, tokenizer)
    samples = records.integers("n", 1, MAX_SAMPLES, default=1)
    for at, fields in enumerate(records.objects):
        if samples[at] > 1 and "completion" in fields:
            records.reject(
                at, "n", int(samples[at]), "1 where the output is known, since samples differ"
            )
    symbols, counts = sequences.interleaved(samples)
    names = records.strings("request_id") if "request_id" in records.objects[0] else None
    return build_trace(
        source,
        "chat",
        np.repeat(np.array(records.lines), samples).tolist(),
        request_ids=sample_ids(names or [str(at) for at in range(len(records))], samples),
        arrival_ns=np.repeat(_arrivals(records), samples),
        prompt_tokens=np.repeat(sequences.prompt_tokens, samples),
        output_tokens=np.repeat(sequences.output_tokens, samples),
        symbol_tokens=1,
        symbols=symbols,
        symbol_counts=counts,
        session_ids=spread(records.strings("session_id", default=""), samples),
        turn=np.repeat(records.integers("turn", 0, 2**31 - 1, default=0), samples),
        salts=spread(records.strings("cache_salt", default=""), samples),
        classes=spread(records.strings("class", default=""), samples),
        tokenizer=sequences.tokenizer,
    )


def _take_answer(records: Records, at: int) -> None:
    """Make `completion` a checked message, or leave a length in `output_tokens`."""
    fields = records.objects[at]
    messages: list[dict[str, Any]] = fields["messages"]
    if "completion" in fields:
        answer = fields["completion"]
        if isinstance(answer, str):
            answer = {"content": answer}
        if not isinstance(answer, dict):
            records.reject(at, "completion", answer, "text or a message")
        wrapped = Records(
            records.label, [records.lines[at]], [{"messages": [{"role": "assistant", **answer}]}]
        )
        check_messages(wrapped, 0)
        fields["completion"] = wrapped.objects[0]["messages"][0]
        return
    given = [name for name in _LENGTHS if fields.get(name) is not None]
    if given:
        fields["output_tokens"] = fields[given[0]]
    elif len(messages) > 1 and messages[-1]["role"] == "assistant":
        fields["completion"] = messages.pop()
    else:
        records.fail(
            at, "the output's length is unknown; add 'completion', 'output_tokens' or 'max_tokens'"
        )


def _encode(records: Records, tokenizer: Tokenizer) -> Sequences:
    chats = [Chat(fields["messages"], fields.get("tools")) for fields in records.objects]
    known = [at for at, fields in enumerate(records.objects) if "completion" in fields]
    unknown = [at for at, fields in enumerate(records.objects) if "completion" not in fields]
    lengths = np.zeros(len(records), np.int64)
    lengths[unknown] = records.select(unknown).integers("output_tokens", 1, MAX_TOKENS)
    outputs: list[I8] = [np.empty(0, np.int64)] * len(records)
    which: list[int] = list(range(len(records)))
    try:
        prompts = tokenizer.encode_chats(chats)
        which = known
        answers = tokenizer.encode_answers(
            [chats[at] for at in known], [records.objects[at]["completion"] for at in known]
        )
    except ChatRejected as error:
        template_refusal(records, which[error.index], tokenizer, error)
    for at, answer in zip(known, answers, strict=True):
        outputs[at] = answer
        lengths[at] = len(answer)
    prompt_tokens = np.array([len(prompt) for prompt in prompts], np.int64)
    return Sequences(prompts, outputs, prompt_tokens, lengths, tokenizer.name)


def _arrivals(records: Records) -> I8:
    if not any("timestamp" in fields for fields in records.objects):
        return np.zeros(len(records), np.int64)
    return nanoseconds(records.numbers("timestamp", 0, MAX_SECONDS), 1_000_000_000)
