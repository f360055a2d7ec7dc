"""`pcache calibrate`: measure this GPU with a model, for the simulator."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import pandas as pd
import typer

from pcache.cli import engine_options as engine_option
from pcache.cli.output import OutputFormat, emit, fail, progress
from pcache.cli.trace import Format
from pcache.cli.usage import INTERRUPTED, refuse_options
from pcache.errors import PcacheError
from pcache.gpu.extra import require

if TYPE_CHECKING:
    from pcache.cost.profile import Profile

__all__ = ["calibrate"]

OF_A_REFIT = {"refit", "out", "format"}
"""Parameters that say which profile is fitted again, where it goes, and how its errors are printed."""


def calibrate(
    context: typer.Context,
    model: engine_option.Model = None,
    out: Annotated[Path, typer.Option("--out", help="The profile to write.")] = Path(
        "profile.json"
    ),
    device: engine_option.Device = "cuda",
    dtype: engine_option.Dtype = None,
    block_size: Annotated[
        int, typer.Option("--block-size", help="Tokens a block: a power of two, 1 to 512.")
    ] = 16,
    token_budget: Annotated[
        int, typer.Option("--token-budget", min=1024, help="Most tokens a step, on a GPU.")
    ] = 8192,
    seed: Annotated[
        int, typer.Option("--seed", min=0, help="Of weights, and of the steps held out of the fit.")
    ] = 0,
    refit: Annotated[
        Path | None,
        typer.Option("--refit", help="Measure nothing; fit the raw points of this profile again."),
    ] = None,
    format: Format = OutputFormat.table,
) -> None:
    """Measure how long the engine's steps take on this GPU, into a profile for simulate.

    Runs a grid of decodes, extends and both on the real engine, and a short trace for the host's part.
    Fits a model of the step, and prints its relative errors on steps that were held out of the fit.
    Takes four to five minutes on a GPU. On a CPU a small grid shows that everything works. If it is cut
    short, what was measured is left beside OUT, as profile.incomplete.json.

    Example: pcache calibrate --device cpu --model tiny --out profile.json
    """
    try:
        if refit is not None:
            refuse_options(context, OF_A_REFIT, "--refit, which measures nothing")
            profile = _refit(refit, out)
        else:
            require("torch", "pcache calibrate")
            from pcache.gpu.calibrate import CalibrationSettings
            from pcache.gpu.calibrate import calibrate as measure
            from pcache.gpu.run import usual_settings

            engine = usual_settings(model, device, dtype, seed=seed)
            settings = CalibrationSettings(engine, block_size, token_budget, seed)
            with progress("calibrating", 1) as update:
                profile = measure(settings, out, update)
        _print(profile, out, format)
    except PcacheError as error:
        fail(error)
    except KeyboardInterrupt as interrupt:
        print(f"Interrupted: {str(interrupt) or 'nothing was measured yet'}.")
        raise SystemExit(INTERRUPTED) from None


def _refit(source: Path, out: Path) -> Profile:
    from pcache.cost.profile import fitted
    from pcache.cost.profile_file import check_writable, read_profile, write_profile

    check_writable(out)
    profile = fitted(read_profile(source))
    write_profile(profile, out)
    return profile


def _print(profile: Profile, out: Path, format: OutputFormat) -> None:
    rows = [
        {
            "held-out steps": row.kind,
            "points": row.points,
            "mean error %": 100 * row.mean,
            "p50 |error| %": 100 * row.p50,
            "p90 |error| %": 100 * row.p90,
            "worst %": 100 * row.worst,
        }
        for row in profile.errors
    ]
    notes = [
        f"{profile.name}: {len(profile.points)} steps and {len(profile.loop)} rounds of the engine's "
        f"loop measured on {profile.device}.",
        f"profile: {out}; next: pcache simulate TRACE --profile {out}",
    ]
    emit(pd.DataFrame(rows), title="Relative error of the fit", format=format, notes=notes)
