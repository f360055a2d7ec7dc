"""The documents are true: commands in them parse, links lead somewhere, the reference is fresh."""

from __future__ import annotations

import re
import runpy
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer.main

from pcache.cli.main import app

ROOT = Path(__file__).parents[2]
DOCUMENTS = [
    ROOT / "README.md", ROOT / "traces" / "README.md", *sorted((ROOT / "docs").glob("*.md")),
    *sorted((ROOT / "reports").rglob("README.md")),
]  # fmt: skip


def commands(document: Path) -> Iterator[list[str]]:
    """Arguments of every indented `pcache ...` line, continuation lines joined."""
    text = document.read_text().replace("\\\n", " ")
    for line in re.findall(r"^    pcache (.+)$", text, re.MULTILINE):
        yield shlex.split(line, comments=True)


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_parse(document: Path) -> None:
    for arguments in commands(document):
        if "[OPTIONS]" in arguments:  # a line of usage
            continue
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            assert arguments, f"{document.name} has a command that does nothing"
            assert arguments[0] in command.commands, arguments
            command, arguments = command.commands[arguments[0]], arguments[1:]
        command.make_context(command.name, arguments)


def test_the_readme_has_commands() -> None:
    assert len(list(commands(ROOT / "README.md"))) > 5


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_somewhere(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)[^)]*\)", document.read_text()):
        if not target.startswith("https://"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_paths_exist(document: Path) -> None:
    for path in re.findall(
        r"`((?:pcache|tests|docs|benchmarks|tools)/[\w/.]+)`", document.read_text()
    ):
        assert "NAME" in path or (ROOT / path).exists(), path


def test_the_reference_is_what_the_help_says() -> None:
    reference = runpy.run_path(str(ROOT / "tools" / "cli_reference.py"))["reference"]()
    if (ROOT / "docs" / "cli.md").read_text() != reference:
        pytest.fail("docs/cli.md is old; run: python tools/cli_reference.py")
