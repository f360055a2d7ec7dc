"""A wrong command line is told like every other error: one line on stderr, exit status 2."""

from __future__ import annotations

import sys
from typing import Any, cast

import typer
from typer.core import TyperGroup

from pcache.cli.output import fail
from pcache.errors import ConfigError

__all__ = ["INTERRUPTED", "CommandLine", "refuse_options"]

INTERRUPTED = 130
"""Exit status after Ctrl-C, as shells have it."""

_UsageError = cast(type[Exception], typer.BadParameter.__base__)
"""Unknown commands and options, missing arguments and values of the wrong type; typer exports only
the last kind by name."""


def refuse_options(context: typer.Context, allowed: set[str], reason: str) -> None:
    """Raise ConfigError if another parameter than `allowed` was given on the command line: it does not
    go with `reason`."""
    for parameter in context.command.params:
        name = str(parameter.name)
        source = context.get_parameter_source(name)
        if name not in allowed and source is not None and source.name == "COMMANDLINE":
            raise ConfigError(f"{parameter.opts[0]} does not go with {reason}; leave it out")


class CommandLine(TyperGroup):
    """The root of the commands."""

    def main(self, *arguments: Any, **settings: Any) -> Any:
        """Run the command in `arguments` and end the process with its exit status."""
        settings["standalone_mode"] = False
        try:
            status = super().main(*arguments, **settings)
        except typer.Abort:  # what older releases make of Ctrl-C
            status = INTERRUPTED
        except _UsageError as error:
            _fail(error)
        sys.exit(status if isinstance(status, int) else 0)


def _fail(error: Any) -> None:
    words = " ".join(error.format_message().split()).rstrip(".")
    if not words:  # a group without a command: typer has printed its help instead
        sys.exit(2)
    command = error.ctx.command_path if error.ctx else "pcache"
    fail(ConfigError(f"{words[0].lower()}{words[1:]}; see {command} --help"))
