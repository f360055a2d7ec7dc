"""What the tests of the command line share: running commands, finding them, and small inputs."""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main
from click.testing import Result
from typer.testing import CliRunner

from pcache.cli.main import app

ROOT = Path(__file__).parents[2]
RAG = str(ROOT / "traces" / "rag.jsonl.xz")
CHAT = str(ROOT / "traces" / "multi-turn-chat.jsonl.xz")


def pcache(*arguments: str, code: int = 0, stdin: bytes | str | None = None) -> Result:
    """Run one command in this process; anything but the exit status `code` fails the test."""
    result = CliRunner().invoke(app, list(arguments), input=stdin)
    assert result.exit_code == code, result.output + result.stderr
    return result


def refused(*arguments: str, stdin: bytes | str | None = None) -> str:
    """The one line with which a command refuses its input, and exits with 2."""
    result = pcache(*arguments, code=2, stdin=stdin)
    assert result.stdout == ""
    assert result.stderr.startswith("pcache: error: ")
    assert result.stderr.count("\n") == 1
    assert "Traceback" not in result.stderr
    return result.stderr.removeprefix("pcache: error: ").rstrip("\n")


def commands() -> dict[str, Any]:
    """Every command by its path, such as `trace info`."""
    return dict(_walk(typer.main.get_command(app), ()))


def _walk(command: Any, path: tuple[str, ...]) -> Iterator[tuple[str, Any]]:
    children = getattr(command, "commands", None)
    if children is None:
        yield " ".join(path), command
        return
    for name, child in children.items():
        yield from _walk(child, (*path, name))


def example(command: Any) -> list[str]:
    """Arguments of the example in a command's help."""
    found = re.search(r"Example: pcache (.+)", command.help.replace("\n", " "))
    assert found, f"the help of {command.name} has no example"
    return shlex.split(found[1])
