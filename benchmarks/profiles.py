"""How far the shipped profiles are off, on the very measurements they were made from.

    python -m benchmarks.profiles [OUT]

needs no GPU: page, charts and tables are made from what the profiles hold.
"""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import pandas as pd
import typer

from pcache.cost import CostModel
from pcache.cost.fit import after_rest_ns
from pcache.cost.points import Point
from pcache.cost.profile import Profile
from pcache.cost.profile_file import read_profile
from pcache.cost.shipped import PROFILES, shipped_profiles
from pcache.report.facts import Fact
from pcache.report.figures import profile_load, profile_steps
from pcache.report.study import Section, StudyTable, render_study
from pcache.report.units import difference_text, plural

RESULTS = Path(__file__).parents[1] / "reports" / "profiles"
FURTHEST = 5
"""Held-out steps of a profile that are shown one by one."""
_ALL = (
    "Held-out steps were drawn before anything was measured, over the ranges of the grid, with ragged "
    "lengths as traffic has them. Above 0 the model says too long.",
    "Decode: one new token of each request. Short and long extend: several new tokens of each, in a "
    "CUDA graph or too many for one. Mixed: both in one step. Alone: a single step on an idle GPU, "
    "from its launch until its token is on the host.",
)


def main(
    out: Annotated[Path, typer.Argument(help="Directory of the page.")] = RESULTS,
) -> None:
    """Write the page of all shipped profiles."""
    profiles = [read_profile(PROFILES / f"{name}.json") for name in shipped_profiles()]
    models = [profile.cost().model for profile in profiles]
    steps = [step_errors(profile, model) for profile, model in zip(profiles, models, strict=True)]
    errors = _errors(profiles)
    page = render_study(
        out,
        f"Step times of {plural(len(profiles), 'shipped profile')}, and their errors",
        facts=[Fact(profile.name, profile.device, _measured(profile)) for profile in profiles],
        worlds={"measured": "Every step ran on a real GPU and was timed by itself."},
        warnings=[],
        sections=[
            Section("All profiles", _ALL, table=_table(errors)),
            *map(_section, profiles, models, steps),
        ],
        tables={"errors": errors, "steps": pd.concat(steps)},
    )
    print(f"report: {page}")


def step_errors(profile: Profile, model: CostModel) -> pd.DataFrame:
    """A row a measured step: the profile's name, what was run, measured and model's ms, error in %,
    and whether it was held out of the fit."""
    steps = pd.DataFrame([_step_error(point, model) for point in profile.points])
    return steps.assign(profile=profile.name)


def _step_error(point: Point, model: CostModel) -> dict[str, object]:
    predicted = after_rest_ns(model, point.shape)
    return {
        "kind": point.shape.kind(model),
        "requests": point.shape.num_requests,
        "new_tokens": point.shape.new_tokens,
        "context_tokens": point.shape.context_tokens,
        "measured_ms": point.gpu_ns / 1e6,
        "model_ms": predicted / 1e6,
        "error": 100 * (predicted / point.gpu_ns - 1),
        "held_out": point.held_out,
    }


def _section(profile: Profile, model: CostModel, steps: pd.DataFrame) -> Section:
    held_out = steps[steps["held_out"]]
    return Section(
        profile.name,
        (
            f"{plural(len(steps), 'step')}, of which {len(held_out)} held out; below, those of them "
            "that the model is furthest off.",
        ),
        [
            partial(profile_steps.draw, steps, f"steps-{profile.name}"),
            partial(profile_load.draw, profile.sequences, model, f"load-{profile.name}"),
        ],
        _furthest(held_out),
    )


def _furthest(steps: pd.DataFrame) -> StudyTable:
    largest_first = steps["error"].abs().sort_values(ascending=False).index
    rows = [
        [
            row.kind, f"{row.requests}", f"{row.new_tokens:,}", f"{row.context_tokens:,}",
            f"{row.measured_ms:.2f}", f"{row.model_ms:.2f}", difference_text(row.error, "%"),
        ]
        for row in steps.loc[largest_first[:FURTHEST]].itertuples()
    ]  # fmt: skip
    headings = ["Step", "requests", "new tokens", "context tokens", "measured, ms", "model, ms",
                "error"]  # fmt: skip
    return StudyTable(headings, rows)


def _measured(profile: Profile) -> str:
    known = ("torch", "triton", "commit", "date")
    return ", ".join(f"{key} {profile.measured[key]}" for key in known if key in profile.measured)


def _errors(profiles: list[Profile]) -> pd.DataFrame:
    """All in %."""
    return pd.DataFrame(
        {
            "profile": profile.name, "kind": row.kind, "points": row.points,
            "mean_error": 100 * row.mean, "p50": 100 * row.p50, "p90": 100 * row.p90,
            "worst": 100 * row.worst,
        }
        for profile in profiles
        for row in profile.errors
    )  # fmt: skip


def _table(errors: pd.DataFrame) -> StudyTable:
    rows = [
        [
            f"{row.profile}: {row.kind}", str(row.points), difference_text(row.mean_error, "%"),
            *(f"{size:.1f} %" for size in (row.p50, row.p90, row.worst)),
        ]
        for row in errors.itertuples()
    ]  # fmt: skip
    headings = ["Profile and held-out steps", "points", "mean error", "p50 of its size", "p90",
                "worst"]  # fmt: skip
    return StudyTable(headings, rows)


if __name__ == "__main__":
    typer.run(main)
