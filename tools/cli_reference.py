"""`python tools/cli_reference.py` writes docs/cli.md, all commands, from what `--help` knows."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import typer.main

from pcache.cli.main import app

TARGET = Path(__file__).parents[1] / "docs" / "cli.md"
HEADER = """# Commands

Made by `tools/cli_reference.py` from the help texts; a test keeps it up to date. Results go to
stdout, progress and errors to stderr. Bad input ends with one line and exit status 2, Ctrl-C with
130.
"""


def reference() -> str:
    """The page as Markdown."""
    return "\n".join([HEADER, *_sections(typer.main.get_command(app), "pcache")])


def _sections(command: Any, path: str) -> Iterator[str]:
    for name, child in getattr(command, "commands", {}).items():
        yield from _sections(child, f"{path} {name}")
    if not hasattr(command, "commands"):
        yield _section(command, path)


def _section(command: Any, path: str) -> str:
    text, _, example = command.help.rpartition("Example: ")
    positional = [one for one in command.params if not one.opts[0].startswith("-")]
    options = [one for one in command.params if one.opts[0].startswith("-")]
    usage = " ".join([path, *map(_placeholder, positional), "[OPTIONS]"])
    rows = [f"| `{_placeholder(one)}` | {_escaped(one.help)} | |" for one in positional]
    rows += [f"| `{one.opts[0]}` | {_escaped(one.help)} | {_default(one)} |" for one in options]
    return "\n".join(
        [
            f"## {path}\n",
            f"    {usage}\n",
            text.strip() + "\n",
            f"    {' '.join(example.split())}\n",
            "| | meaning | default |",
            "|---|---|---|",
            *rows,
            "",
        ]
    )


def _placeholder(parameter: Any) -> str:
    name = parameter.metavar or parameter.name.upper()
    return str(name if parameter.required else f"[{name}]")


def _default(option: Any) -> str:
    if option.required:
        return "required"
    if option.default is None or isinstance(option.default, (bool, tuple, list)):
        return ""
    return f"`{getattr(option.default, 'value', option.default)}`"


def _escaped(text: str) -> str:
    return " ".join(text.split()).replace("|", "\\|")


if __name__ == "__main__":
    TARGET.write_text(reference())
