"""Every command and option is explained, and the example in its help works."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest
from command_line import ROOT, commands, example, pcache

from pcache.trace import fetch

COMMANDS = commands()
ON_A_DEVICE = ("run", "compare", "calibrate", "bench kernels", "bench engine")
"""Commands that need a GPU, or minutes on a CPU."""
LONGEST_HELP = 120


def test_the_commands_are_those_of_the_readme() -> None:
    readme = (ROOT / "README.md").read_text()
    missing = [path for path in COMMANDS if f"pcache {path}" not in readme]
    assert not missing


@pytest.mark.parametrize("path", COMMANDS)
def test_everything_is_documented(path: str) -> None:
    command = COMMANDS[path]
    summary = command.help.split("\n\n")[0]
    assert summary.endswith(".")
    assert len(" ".join(summary.split())) < LONGEST_HELP
    undocumented = [name for name in map(_name, command.params) if not _help(command.params, name)]
    assert not undocumented
    shown = pcache(*path.split(), "--help").stdout
    assert f"Example: pcache {path}" in " ".join(shown.split())
    assert all(_name(parameter) in shown for parameter in command.params)


def _name(parameter: Any) -> str:
    long = [option for option in parameter.opts if option.startswith("--")]
    return str(long[0] if long else parameter.metavar or parameter.name)


def _help(parameters: list[Any], name: str) -> str:
    return next(str(one.help or "") for one in parameters if _name(one) == name)


@pytest.fixture
def workplace(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A directory with the shipped traces in it, as in a checkout."""
    (tmp_path / "traces").symlink_to(ROOT / "traces")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(fetch, "_retrieve", lambda _trace, _advance: Path("traces/README.md"))
    return tmp_path


@pytest.mark.parametrize("path", [path for path in COMMANDS if path not in ON_A_DEVICE])
def test_examples_work(path: str, workplace: Path) -> None:
    if path == "report":
        pcache("replay", "traces/rag.jsonl.xz", "--limit", "9", "--out", "runs/demo")
    arguments = example(COMMANDS[path])
    assert pcache(*arguments).stdout
    for option, value in pairwise(arguments):
        if option == "--out":
            assert (workplace / value).exists()


def test_help_without_a_command() -> None:
    shown = pcache(code=2).stdout
    assert all(path.split()[0] in shown for path in COMMANDS)


def test_version() -> None:
    assert pcache("--version").stdout.startswith("pcache ")
