"""What the command lines of the studies share: options, and runs packed into files and back."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

__all__ = ["Device", "Only", "Profile", "Repeats", "Runs", "Seconds", "study_app"]

Runs = Annotated[Path, typer.Argument(help="Directory of the measured runs.")]
Repeats = Annotated[int, typer.Option(min=1, help="Runs of each.")]
Seconds = Annotated[float, typer.Option(help="Start no run that is expected to end after so many.")]
Device = Annotated[str, typer.Option(help="cuda, or cpu with a tiny model to see that all works.")]
Only = Annotated[str, typer.Option(help="Those whose name contains this.")]
Profile = Annotated[
    str | None,
    typer.Option(help="Step times; default those that lie with the runs, or the shipped profile."),
]


def study_app(about: str) -> typer.Typer:
    """An application with `pack` and `unpack`."""
    app = typer.Typer(help=about, no_args_is_help=True, add_completion=False)
    app.command()(pack)
    app.command()(unpack)
    return app


def pack(
    out: Runs, archive: Annotated[Path, typer.Argument(help="The file to write, NAME.tar.xz.")]
) -> None:
    """Put the measured runs below OUT into ARCHIVE (and NAME-2 … if it grows too large)."""
    from benchmarks.archive import pack as pack_runs

    for path in pack_runs(out, archive):
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


def unpack(archive: Annotated[Path, typer.Argument(help="NAME.tar.xz.")], out: Runs) -> None:
    """Put the runs of ARCHIVE and its further parts below OUT, so that `measure` goes on after them."""
    from benchmarks.archive import unpack as unpack_runs

    unpack_runs(archive, out)
