"""The page of the shipped profiles."""

from __future__ import annotations

from pathlib import Path

import pandas as pd
import pytest

from benchmarks.profiles import main
from pcache.cost.points import CLASSES
from pcache.cost.profile_file import read_profile
from pcache.cost.shipped import PROFILES, shipped_profiles


def test_the_page_holds_every_measured_step(tmp_path: Path) -> None:
    main(tmp_path)
    page = (tmp_path / "index.html").read_text()
    steps, errors = (pd.read_csv(tmp_path / f"{name}.csv") for name in ("steps", "errors"))
    for name in shipped_profiles():
        assert name in page
        own = steps[steps["profile"] == name]
        assert len(own) == (PROFILES / f"{name}.json").read_text().count('"held_out"')
        assert (tmp_path / f"steps-{name}.png").stat().st_size > 10_000
        held = own[own["held_out"]]
        for row in errors[(errors["profile"] == name) & errors["kind"].isin(CLASSES)].itertuples():
            size = held[held["kind"] == row.kind]["error"].abs()
            assert len(size) == row.points
            assert size.median() == pytest.approx(row.p50, abs=0.01)
    loads = {path.name for path in tmp_path.glob("load-*.png")}
    assert loads == {
        f"load-{name}.png"
        for name in shipped_profiles()
        if read_profile(PROFILES / f"{name}.json").throttle
    }
