"""A trained tokenizer with its chat template, wherever they were loaded from."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from pcache.errors import ConfigError
from pcache.trace.tokenize.contract import Chat, ChatRejected, canonical_json, other_fields
from pcache.trace.tokenize.segments import SegmentEncoder
from pcache.trace.tokenize.template import ChatTemplate
from pcache.types import I8

if TYPE_CHECKING:
    from tokenizers import Tokenizer as Backend

__all__ = ["TrainedTokenizer"]


class TrainedTokenizer:
    """Gives the ids that transformers gives for the same files.

    `templates` are chat templates by name: `default`, and `tool_use` if there is a separate one
    for chats with tools. `end_of_turn` is the token a model ends its answers with, if known.
    """

    def __init__(
        self,
        name: str,
        backend: Backend,
        templates: dict[str, ChatTemplate],
        end_of_turn: str | None,
    ) -> None:
        self.name = name
        self.vocab_size = backend.get_vocab_size()
        backend.no_truncation()
        backend.no_padding()
        self._backend = backend
        self._segments = SegmentEncoder(backend)
        self._templates = templates
        self._end_text = end_of_turn
        self._end_of_turn = backend.token_to_id(end_of_turn) if end_of_turn else None

    def encode_texts(self, texts: Sequence[str]) -> list[I8]:
        """Ids of each text, with what the tokenizer adds at its ends."""
        encoded = self._backend.encode_batch_fast(list(texts))
        return [np.array(one.ids, np.int64) for one in encoded]

    def encode_chats(self, chats: Sequence[Chat]) -> list[I8]:
        """Ids of each chat as its template renders it. Raises ChatRejected and ConfigError."""
        return self._segments.encode([self._render(at, chat) for at, chat in enumerate(chats)])

    def encode_outputs(self, texts: Sequence[str]) -> list[I8]:
        """Ids of each generated text, with the token that ends a turn."""
        ids = self._segments.encode(texts)
        if self._end_of_turn is None:
            return ids
        return [np.append(one, self._end_of_turn) for one in ids]

    def encode_answers(self, chats: Sequence[Chat], answers: Sequence[dict[str, Any]]) -> list[I8]:
        """Ids of each answer; one with more than content as the template writes it.

        A template that does not write it as a continuation of the chat says nothing about what was
        generated; then it is the content, and the other fields as JSON.
        """
        texts = []
        for at, (chat, answer) in enumerate(zip(chats, answers, strict=True)):
            if not other_fields(answer):
                texts.append(answer["content"] or "")
            else:
                texts.append(self._written(at, chat, answer))
        return self.encode_outputs(texts)

    def decode(self, ids: I8) -> str:
        """Ids as text, special tokens included."""
        return str(self._backend.decode(ids.tolist(), skip_special_tokens=False))

    def _written(self, at: int, chat: Chat, answer: dict[str, Any]) -> str:
        before = self._render(at, chat)
        whole = self._render(at, Chat([*chat.messages, answer], chat.tools), answered=True)
        if not whole.startswith(before):
            return (answer.get("content") or "") + canonical_json(other_fields(answer))
        text = whole[len(before) :]
        return text.split(self._end_text)[0] if self._end_text else text

    def _render(self, at: int, chat: Chat, *, answered: bool = False) -> str:
        if not self._templates:
            raise ConfigError(
                f"tokenizer '{self.name}' has no chat template, which chat messages need; put the "
                "model's chat_template.jinja beside it or use --tokenizer bytes"
            )
        purpose = "tool_use" if chat.tools and "tool_use" in self._templates else "default"
        try:
            return self._templates[purpose].render(chat, answered=answered)
        except ValueError as error:
            raise ChatRejected(at, str(error)) from error
