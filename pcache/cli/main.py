"""The command line's root: `pcache COMMAND`."""

from __future__ import annotations

import signal
import sys

import typer

from pcache import __version__
from pcache.cli.bench import bench_app
from pcache.cli.calibrate import calibrate
from pcache.cli.compare import compare
from pcache.cli.curve import curve
from pcache.cli.policy import policy_app
from pcache.cli.replay import replay
from pcache.cli.report import report
from pcache.cli.run import run
from pcache.cli.simulate import simulate
from pcache.cli.sweep import sweep
from pcache.cli.trace import trace_app
from pcache.cli.usage import CommandLine

__all__ = ["app", "main"]

app = typer.Typer(
    name="pcache",
    cls=CommandLine,
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="A lab for LLM prefix caching: replay traces through caches, simulate serving, compare.",
)
app.command()(simulate)
app.command()(run)
app.command()(compare)
app.command()(replay)
app.command()(curve)
app.command()(sweep)
app.command()(report)
app.command()(calibrate)
app.add_typer(trace_app, name="trace")
app.add_typer(policy_app, name="policy")
app.add_typer(bench_app, name="bench")


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"pcache {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_print_version, is_eager=True, help="Print the version."
    ),
) -> None:
    """A lab for LLM prefix caching: replay traces through caches, simulate serving, compare."""


def main() -> None:
    """Entry point. A reader that closes the pipe early, and Ctrl-C, end it quietly; a request to
    terminate is taken as Ctrl-C, so that what was done so far is kept."""
    signal.signal(signal.SIGTERM, lambda *_: signal.raise_signal(signal.SIGINT))
    try:
        app()
    except BrokenPipeError:
        sys.stderr.close()
        raise SystemExit(1) from None
