"""Chat templates: the Jinja programs that models ship to turn messages into one text.

They are strangers' code, so they run in Jinja's sandbox with only what the templates of published
models use: `tojson` without HTML escapes, `raise_exception`, `break` and `continue`, and
`generation` blocks, which change nothing. There is no `strftime_now`, because the same trace must
give the same tokens every day; templates that ask whether it is there use the date they carry.
"""

from __future__ import annotations

import json
from typing import Any, NoReturn

from pcache.errors import ConfigError
from pcache.trace.tokenize.contract import Chat
from pcache.trace.tokenize.libraries import jinja2_library

__all__ = ["ChatTemplate"]


class ChatTemplate:
    """One compiled template with the special tokens (`bos_token`, …) it may use."""

    def __init__(self, text: str, special_tokens: dict[str, str], where: str) -> None:
        jinja2 = jinja2_library()
        try:
            self._template = _environment().from_string(text)
        except jinja2.TemplateError as error:
            raise ConfigError(f"{where}: the chat template is not valid ({error})") from error
        self._special_tokens = special_tokens

    def render(self, chat: Chat, *, answered: bool = False) -> str:
        """The text up to where the assistant begins to speak, or all of it if `answered`.

        Raises ValueError with the template's reason when it refuses the messages.
        """
        try:
            text: str = self._template.render(
                messages=chat.messages,
                tools=chat.tools,
                documents=None,
                add_generation_prompt=not answered,
                **self._special_tokens,
            )
        except Exception as error:
            # A template fails in whatever way its expressions do: TypeError for content that is
            # null, UndefinedError for a missing field, TemplateError for its own complaints.
            raise ValueError(str(error) or type(error).__name__) from error
        return text


def _environment() -> Any:
    from jinja2 import TemplateError, nodes
    from jinja2.ext import Extension, loopcontrols
    from jinja2.parser import Parser
    from jinja2.sandbox import ImmutableSandboxedEnvironment

    class GenerationBlock(Extension):
        """`{% generation %}` marks what the assistant said; its text is kept as it is."""

        tags = {"generation"}  # noqa: RUF012 - the attribute Jinja reads

        def parse(self, parser: Parser) -> list[nodes.Node]:
            next(parser.stream)
            return parser.parse_statements(("name:endgeneration",), drop_needle=True)

    def raise_exception(message: str) -> NoReturn:
        raise TemplateError(message)

    def tojson(
        value: Any,
        ensure_ascii: bool = False,
        indent: int | None = None,
        separators: tuple[str, str] | None = None,
        sort_keys: bool = False,
    ) -> str:
        return json.dumps(
            value,
            ensure_ascii=ensure_ascii,
            indent=indent,
            separators=separators,
            sort_keys=sort_keys,
        )

    environment = ImmutableSandboxedEnvironment(
        trim_blocks=True, lstrip_blocks=True, extensions=[GenerationBlock, loopcontrols]
    )
    environment.filters["tojson"] = tojson
    environment.globals["raise_exception"] = raise_exception
    return environment
