"""Chat messages as they stand in logs: what is checked before a chat template sees them."""

from __future__ import annotations

from typing import Any

from pcache.trace.records import Records, shown

__all__ = ["check_messages"]


def check_messages(records: Records, at: int) -> None:
    """Record `at` has a list of messages, each with a role and content that is text or absent.

    Content given as a list of text parts becomes one text, joined by line feeds. Raises TraceError.
    """
    fields = records.objects[at]
    messages = fields.get("messages")
    if not isinstance(messages, list) or not messages:
        records.reject(at, "messages", messages, "a list of messages, at least one")
    for number, message in enumerate(messages):
        where = f"messages[{number}]"
        if not isinstance(message, dict):
            records.reject(at, where, message, "an object with role and content")
        role = message.get("role")
        if not isinstance(role, str) or not role:
            records.reject(at, f"{where}.role", role, "a role such as user")
        message["content"] = _text(records, at, where, message.get("content"))
        _check_encodable(records, at, where, message)
    tools = fields.get("tools")
    if tools is not None and not (
        isinstance(tools, list) and all(isinstance(tool, dict) for tool in tools)
    ):
        records.reject(at, "tools", tools, "a list of tool definitions")
    _check_encodable(records, at, "tools", tools)


def _text(records: Records, at: int, where: str, content: Any) -> str | None:
    if content is None or isinstance(content, str):
        return content
    if not isinstance(content, list):
        records.reject(at, f"{where}.content", content, "text, a list of text parts, or null")
    texts = []
    for part in content:
        text = part.get("text") if isinstance(part, dict) else None
        if not isinstance(text, str):
            records.fail(
                at,
                f"'{records.path}{where}.content' has the part {shown(part)}; only text parts can "
                "be read: give images in the native format, as tokens with 'images'",
            )
        texts.append(text)
    return "\n".join(texts)


def _check_encodable(records: Records, at: int, where: str, value: object) -> None:
    try:
        _encode_all(value)
    except UnicodeEncodeError:
        records.reject(at, where, value, "valid Unicode text")


def _encode_all(value: object) -> None:
    if isinstance(value, str):
        value.encode()
    elif isinstance(value, dict):
        for name, element in value.items():
            name.encode()
            _encode_all(element)
    elif isinstance(value, list):
        for element in value:
            _encode_all(element)
