"""Command line of the study."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.side_by_side.cells import RESULTS, read_cells, write_cells
from benchmarks.study_app import Device, Only, Profile, Repeats, Runs, Seconds, study_app

app = study_app(
    "Simulated against measured over a designed set of cells. `design` and `analyse` need no GPU."
)


@app.command()
def design(
    gpu: Annotated[str, typer.Option(help="Whose shipped profile sets capacities and paces.")],
) -> None:
    """Write the table of cells and fix the profile that they, and the analysis, are made with."""
    from benchmarks.side_by_side.design import design as cells_for
    from benchmarks.side_by_side.frozen import freeze, write_frozen

    frozen, profile = freeze(gpu)
    write_cells(cells_for(gpu))
    write_frozen(frozen, RESULTS, profile)


@app.command()
def measure(
    out: Runs,
    repeats: Repeats = 2,
    seconds: Seconds = 3600,
    device: Device = "cuda",
    only: Only = "",
) -> None:
    """Measure every cell that OUT lacks."""
    from benchmarks.side_by_side.measure import measure as measure_cells

    cells = [cell for cell in read_cells() if only in cell.name]
    if not measure_cells(cells, out, repeats=repeats, seconds=seconds, device=device):
        raise SystemExit(1)


@app.command()
def analyse(
    source: Annotated[Path, typer.Argument(help="Directory of measure, or an archive of pack.")],
    profile: Profile = None,
    report: Annotated[
        Path | None, typer.Option(help="Where the page goes; default reports/side-by-side.")
    ] = None,
    only: Only = "",
) -> None:
    """Simulate the measured cells, check every target, and write page, charts and tables."""
    from benchmarks.side_by_side.analyse import analyse as analyse_cells

    try:
        analyse_cells(source, profile, report, only)
    except FileNotFoundError as error:
        raise SystemExit(str(error)) from error


if __name__ == "__main__":
    app()
