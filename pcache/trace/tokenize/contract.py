"""What a reader needs of a tokenizer."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from pcache.types import I8

__all__ = ["Chat", "ChatRejected", "Tokenizer", "canonical_json", "other_fields"]


@dataclass(frozen=True, slots=True)
class Chat:
    """Messages as the chat APIs take them (`role`, `content`, …), and the tools offered."""

    messages: list[dict[str, Any]]
    tools: list[dict[str, Any]] | None = None


class ChatRejected(Exception):
    """The chat template refuses chat number `index` of a batch."""

    def __init__(self, index: int, reason: str) -> None:
        super().__init__(reason)
        self.index, self.reason = index, reason


class Tokenizer(Protocol):
    """Text to token ids, always the same ids for the same text."""

    name: str
    vocab_size: int

    def encode_texts(self, texts: Sequence[str]) -> list[I8]:
        """Prompts of a completion API, with what the model wants at their start."""

    def encode_chats(self, chats: Sequence[Chat]) -> list[I8]:
        """Prompts of a chat API, up to where the assistant begins to speak.

        Raises ChatRejected.
        """

    def encode_outputs(self, texts: Sequence[str]) -> list[I8]:
        """Generated text, with the token that ends a turn."""

    def encode_answers(self, chats: Sequence[Chat], answers: Sequence[dict[str, Any]]) -> list[I8]:
        """What the assistant generated to give each chat's next message, with what ends a turn.

        A message with nothing but content is its text. Others (`tool_calls`, …) are what the chat
        template adds for them. Raises ChatRejected.
        """

    def decode(self, ids: I8) -> str:
        """Tokens of the vocabulary as text to look at; half a character is U+FFFD."""


def other_fields(message: dict[str, Any]) -> dict[str, Any]:
    """Fields besides role and content that say something (`name`, `tool_calls`, …)."""
    return {
        name: value
        for name, value in message.items()
        if name not in ("role", "content") and value is not None
    }


def canonical_json(value: object) -> str:
    """JSON with sorted keys and no spaces: equal texts for equal values."""
    return json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
