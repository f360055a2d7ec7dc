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
def analyse(out: Path, gpu: str = "h200") -> None:
    """Simulate the measured cells; tables, chart and page go to reports/."""
    from benchmarks.side_by_side.analyse import analyse as analyse_cells

    analyse_cells(read_cells(), out, gpu)


if __name__ == "__main__":
    app()
