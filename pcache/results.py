"""What the Python API returns: the runs of one call, as pandas frames."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from pcache.recording import write_recording
from pcache.rundir import Run, write_run

__all__ = ["Results", "write_below"]


@dataclass(frozen=True, slots=True)
class Results:
    """Runs side by side, one a policy.

    `summary` has a row a policy; `requests` and `steps` stack the runs' frames (columns as in
    `rundir.REQUEST_COLUMNS` and `STEP_COLUMNS`) behind a column `policy`. `notes` is what a reader
    of the numbers should know.
    """

    runs: Sequence[Run]
    notes: Sequence[str] = ()

    @property
    def summary(self) -> pd.DataFrame:
        """One row a policy, one column for every field of `summary.json`."""
        return pd.DataFrame([run.summary for run in self.runs])

    @property
    def requests(self) -> pd.DataFrame:
        """One row a policy and request."""
        return _stack([(run.label, run.requests) for run in self.runs])

    @property
    def steps(self) -> pd.DataFrame:
        """One row a policy and step; empty for a replay."""
        return _stack([(run.label, run.steps) for run in self.runs if run.steps is not None])

    @property
    def ceilings(self) -> list[float | None]:
        """For each run the hit rate of an infinite cache at its block size, where it is known."""
        shares = [run.config.get("ceiling") or {} for run in self.runs]
        sizes = [str(run.config["policy"]["block_size_tokens"]) for run in self.runs]
        return [share.get(size) for share, size in zip(shares, sizes, strict=True)]

    @property
    def complete(self) -> bool:
        """Whether every run reached its end."""
        return all(run.summary["complete"] for run in self.runs)

    def write(self, out: Path) -> list[Path]:
        """Write one run directory a policy below `out`; their paths."""
        return [write_below(out, run, place) for place, run in enumerate(self.runs)]

    def paths_below(self, out: Path) -> list[Path]:
        """Where `write` puts the runs."""
        return [_path_below(out, run) for run in self.runs]


def write_below(out: Path, run: Run, place: int) -> Path:
    """Write a run's directory below `out`; its path. `config.json` keeps the run's place among others
    there, so that reports keep their order."""
    path = _path_below(out, run)
    write_run(path, run.config | {"place": place}, run.summary, run.requests, run.steps)
    write_recording(path, run.events, run.instants)
    return path


def _path_below(out: Path, run: Run) -> Path:
    return out / run.label.replace("/", "-").replace(" ", "-")


def _stack(frames: list[tuple[str, pd.DataFrame]]) -> pd.DataFrame:
    if not frames:
        return pd.DataFrame()
    named = [frame.assign(policy=label)[["policy", *frame.columns]] for label, frame in frames]
    return pd.concat(named, ignore_index=True)
