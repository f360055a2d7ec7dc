"""Command line of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.side_by_side.cells import read_cells, write_cells

app = typer.Typer(no_args_is_help=True, add_completion=False)


@app.command()
def design(gpu: str = "h200") -> None:
    """Write the table of cells."""
    from benchmarks.side_by_side.design import design as cells_for

    write_cells(cells_for(gpu))


@app.command()
def measure(
    out: Path,
    repeats: int = 2,
    seconds: Annotated[float, typer.Option(help="Start no run after so many seconds.")] = 3600,
    device: str = "cuda",
    only: Annotated[str, typer.Option(help="Cells whose name contains this.")] = "",
) -> None:
    """Measure every cell that OUT lacks."""
    from benchmarks.side_by_side.measure import measure as measure_cells

    cells = [cell for cell in read_cells() if only in cell.name]
    if not measure_cells(cells, out, repeats=repeats, seconds=seconds, device=device):
        raise SystemExit(1)


@app.command()
def pack(out: Path, archive: Path) -> None:
    """Put the measured runs below OUT into ARCHIVE, a .tar.xz (and NAME-2 … if it grows too large)."""
    from benchmarks.archive import pack as pack_runs

    for path in pack_runs(out, archive):
        print(f"{path}: {path.stat().st_size / 2**20:.1f} MiB")


@app.command()
def unpack(archive: Path, out: Path) -> None:
    """Put the runs of ARCHIVE and its further parts below OUT, so that `measure` goes on after them."""
    from benchmarks.archive import unpack as unpack_runs

    unpack_runs(archive, out)


@app.command()
def analyse(
    source: Annotated[Path, typer.Argument(help="Directory of measure, or an archive of pack.")],
    profile: Annotated[
        str | None, typer.Option(help="Step times; default the shipped profile of the GPU.")
    ] = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the page goes; default reports/side-by-side.")
    ] = None,
    only: Annotated[str, typer.Option(help="Cells whose name contains this.")] = "",
) -> None:
    """Simulate the measured cells, check every target, and write page, charts and tables."""
    from benchmarks.side_by_side.analyse import analyse as analyse_cells

    cells = [cell for cell in read_cells() if only in cell.name]
    analyse_cells(cells, source, profile, report)


if __name__ == "__main__":
    app()
