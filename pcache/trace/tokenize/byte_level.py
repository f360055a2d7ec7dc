"""A tokenizer for logs whose model is unknown: one token a byte, and nothing is ever merged.

Ids 0 to 255 are the bytes of the UTF-8 text. 256 begins and 257 ends a message, and 258 comes
before further fields; no text contains them. A chat is, for each message,

    256 role "\\n" content 257 "\\n"        or        256 role "\\n" content 258 fields 257 "\\n"

and then `256 "assistant\\n"`, where the model goes on. Tools come first, as a message of role
`tools`. `fields` are those other than role and content (`name`, `tool_calls`, …) as JSON with
sorted keys. So two chats have equal tokens only if they are equal.

Counts are those of bytes, about four times those of a trained tokenizer; shares are close to it.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from pcache.trace.tokenize.contract import Chat, canonical_json, other_fields
from pcache.types import I8

__all__ = ["ByteTokenizer"]

_BEGIN, _END, _FIELDS = 256, 257, 258
_SHOWN = {_BEGIN: "⟦".encode(), _END: "⟧".encode(), _FIELDS: "¦".encode()}


class ByteTokenizer:
    """See the module's text. Exact, needs no files, refuses nothing."""

    name = "bytes"
    vocab_size = 259

    def encode_texts(self, texts: Sequence[str]) -> list[I8]:
        """The bytes of each text."""
        return [_encode(text) for text in texts]

    def encode_chats(self, chats: Sequence[Chat]) -> list[I8]:
        """Each chat as the module's text says."""
        known: dict[str, I8] = {}
        return [_encode_chat(chat, known) for chat in chats]

    def encode_outputs(self, texts: Sequence[str]) -> list[I8]:
        """The bytes of each text, and the end of the message."""
        return [np.append(_encode(text), _END) for text in texts]

    def encode_answers(
        self,
        chats: Sequence[Chat],  # noqa: ARG002 - an answer does not depend on what it answers
        answers: Sequence[dict[str, Any]],
    ) -> list[I8]:
        """Content, further fields if any, and the end of the message."""
        return [np.append(_body(answer), _END) for answer in answers]

    def decode(self, ids: I8) -> str:
        """The bytes as text, with ⟦ ⟧ where a message begins and ends and ¦ before its fields."""
        pieces = (bytes([one]) if one < 256 else _SHOWN[one] for one in ids.tolist())
        return b"".join(pieces).decode(errors="replace")


def _encode(text: str) -> I8:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)


def _encode_chat(chat: Chat, known: dict[str, I8]) -> I8:
    messages = chat.messages
    if chat.tools:
        messages = [{"role": "tools", "content": canonical_json(chat.tools)}, *messages]
    parts = []
    for message in messages:
        key = canonical_json(message)
        if key not in known:
            head, tail = _encode(f"{message['role']}\n"), [_END, ord("\n")]
            known[key] = np.concatenate(([_BEGIN], head, _body(message), tail)).astype(np.int64)
        parts.append(known[key])
    parts.append(np.append(_BEGIN, _encode("assistant\n")))
    return np.concatenate(parts)


def _body(message: dict[str, Any]) -> I8:
    content = _encode(message.get("content") or "")
    others = other_fields(message)
    if not others:
        return content
    return np.concatenate((content, [_FIELDS], _encode(canonical_json(others)))).astype(np.int64)
