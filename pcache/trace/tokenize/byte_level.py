"""A tokenizer for logs whose model is unknown: one token a byte, and nothing is ever merged.

Ids 0 to 255 are the bytes of the UTF-8 text. 256 begins and 257 ends a message; no text contains
them. A chat is, for each message,

    256  role  "\\n"  content  257  "\\n"

and then `256 "assistant\\n"`, where the model goes on. Tools come first, as a message of role
`tools`. Fields of a message other than role and content (`name`, `tool_calls`, …) follow the role
after a space as JSON with sorted keys. So two chats have equal tokens only if they are equal.

Counts are those of bytes, about four times those of a trained tokenizer; shares are close to it.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import numpy as np

from pcache.trace.tokenize.contract import Chat
from pcache.types import I8

__all__ = ["ByteTokenizer"]

_BEGIN, _END = 256, 257


class ByteTokenizer:
    """See the module's text. Exact, needs no files."""

    name = "bytes"
    vocab_size = 258

    def encode_texts(self, texts: Sequence[str]) -> list[I8]:
        """The bytes of each text."""
        return [_encode(text) for text in texts]

    def encode_chats(self, chats: Sequence[Chat]) -> list[I8]:
        """Each chat as the module's text says; never rejects one."""
        known: dict[str, I8] = {}
        return [_encode_chat(chat, known) for chat in chats]

    def encode_outputs(self, texts: Sequence[str]) -> list[I8]:
        """The bytes of each text, and the end of the message."""
        return [np.append(_encode(text), _END) for text in texts]


def _encode(text: str) -> I8:
    return np.frombuffer(text.encode(), np.uint8).astype(np.int64)


def _encode_chat(chat: Chat, known: dict[str, I8]) -> I8:
    messages = chat.messages
    if chat.tools:
        messages = [{"role": "tools", "content": _json(chat.tools)}, *messages]
    parts = []
    for message in messages:
        key = _json(message)
        if key not in known:
            known[key] = _encode_message(message)
        parts.append(known[key])
    parts.append(np.append(_BEGIN, _encode("assistant\n")))
    return np.concatenate(parts)


def _encode_message(message: dict[str, Any]) -> I8:
    others = {name: value for name, value in message.items() if name not in ("role", "content")}
    head = str(message["role"]) + (" " + _json(others) if others else "")
    content = message.get("content")
    body = content if isinstance(content, str) else "" if content is None else _json(content)
    newline = _encode("\n")
    return np.concatenate(([_BEGIN], _encode(f"{head}\n{body}"), [_END], newline)).astype(np.int64)


def _json(value: object) -> str:
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
