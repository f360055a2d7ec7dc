"""Every chart, for few and many runs with long names: no label outside, none on another."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from itertools import combinations
from pathlib import Path
from typing import Any

import matplotlib
import pytest
from report_runs import HASH, LADDER, NONE, RADIX, Recipe, make_run

from pcache.report.figures import PAIR_CHARTS, RUN_CHARTS, Chart
from pcache.report.figures.hit_rate import label_place
from pcache.report.pairs import find_pairs
from pcache.report.runs import Run, load_runs
from pcache.report.style import STYLE

SMALL = {"num_requests": 80, "num_steps": 200}
LONG = "a policy name with several options/"
MANY = [
    replace(RADIX, label=f"{LONG}{2**k}-lru-{k}", block_size_tokens=2**k, strength=0.95 - 0.07 * k)
    for k in range(10)
]
BOTH = [
    replace(recipe, world=world, slowdown=1.1 if world == "measured" else 1.0)
    for recipe, worlds in (
        (RADIX, ("simulated", "measured", "measured")),
        (replace(HASH, label=f"{LONG}16"), ("simulated", "measured")),
        (NONE, ("simulated", "measured")),
    )
    for world in worlds
]
ODD = [
    replace(RADIX, interrupted_after=20),
    replace(HASH, num_warm_up=30),
    replace(HASH, label="rejected", all_rejected=True, ceiling=False),
    replace(RADIX, label="unlimited", kv_tokens=None, ceiling=False),
]
STEEP = [
    replace(recipe, world=world, slowdown=slow * (60 if recipe.batching == "static" else 1))
    for recipe in (*LADDER[:3], replace(RADIX, num_requests=80))
    for world, slow in (("simulated", 1.0), ("measured", 1.1), ("measured", 1.2))
]
CASES = {
    "one": [RADIX],
    "ladder": list(LADDER),
    "twelve": [*MANY, HASH, NONE],
    "both worlds": BOTH,
    "steep": STEEP,
    "odd": ODD,
    "replayed": [replace(RADIX, world="replayed"), replace(HASH, world="replayed")],
    "rejected": [replace(RADIX, all_rejected=True, ceiling=False)],
}
ALWAYS = {"hit_rate", "over_time"}
TIMED = ALWAYS | {"ttft_cdf", "ttft_by_cached_share"}
PAIRED = {"differences", "side_by_side", "ttft_cdf_side_by_side", "ttft_scatter", "step_times"}
EXPECTED = {
    "one": TIMED,
    "ladder": TIMED | {"ladder"},
    "twelve": TIMED | {"ladder"},
    "steep": TIMED | {"ladder"} | PAIRED,
    "both worlds": TIMED | {"ladder"} | PAIRED,
    "odd": TIMED,
    "replayed": ALWAYS,
    "rejected": ALWAYS,
}


def charts_of(tmp_path: Path, recipes: list[Recipe], **changes: Any) -> list[Chart]:
    for number, recipe in enumerate(recipes):
        make_run(tmp_path / f"{number:02d}", replace(recipe, **{**SMALL, **changes}))
    runs: list[Run] = load_runs([tmp_path])
    pairs = find_pairs(runs)
    drawn = [draw(runs) for draw in RUN_CHARTS] + [draw(pairs) for draw in PAIR_CHARTS]
    return [chart for chart in drawn if chart is not None]


def texts(figure: Any) -> Iterator[Any]:
    """Every text that is drawn: tick labels only where their tick is in view."""
    yield from figure.texts
    for name in ("_supxlabel", "_supylabel"):
        if getattr(figure, name):
            yield getattr(figure, name)
    for legend in figure.legends:
        yield from legend.get_texts()
    for axes in figure.axes:
        yield from (*axes.texts, axes.title, axes._left_title, axes.xaxis.label, axes.yaxis.label)
        for axis in (axes.xaxis, axes.yaxis):
            low, high = sorted(axis.get_view_interval())
            for tick in axis.get_major_ticks():
                if low <= tick.get_loc() <= high:
                    yield tick.label1


@pytest.mark.parametrize("case", CASES)
def test_labels_are_inside_and_do_not_overlap(tmp_path: Path, case: str) -> None:
    with matplotlib.rc_context(STYLE):
        charts = charts_of(tmp_path, CASES[case])
        assert {chart.name for chart in charts} == EXPECTED[case]
        for chart in charts:
            chart.figure.draw_without_rendering()
            inside = chart.figure.bbox.padded(1)
            boxes = [
                (text.get_text(), text.get_window_extent())
                for text in dict.fromkeys(texts(chart.figure))
                if text.get_visible() and text.get_text().strip()
            ]
            assert len(boxes) > 4
            for words, box in boxes:
                assert inside.contains(box.x0, box.y0), (chart.name, words)
                assert inside.contains(box.x1, box.y1), (chart.name, words)
            for (one, box), (other, beside) in combinations(boxes, 2):
                assert not box.padded(-1).overlaps(beside.padded(-1)), (chart.name, one, other)


def test_one_value_that_dwarfs_the_others_makes_the_axis_logarithmic(tmp_path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        steep = {chart.name: chart for chart in charts_of(tmp_path / "steep", STEEP)}
        flat = {chart.name: chart for chart in charts_of(tmp_path / "flat", BOTH)}
    for name in ("ladder", "side_by_side"):
        assert "logarithmic" in steep[name].reading
        assert "log" in {axes.get_xscale() for axes in steep[name].figure.axes}
        assert "logarithmic" not in flat[name].reading
    assert "spans its repeats" in steep["ladder"].reading


def test_many_requests_become_densities(tmp_path: Path) -> None:
    with matplotlib.rc_context(STYLE):
        few = charts_of(tmp_path / "few", [RADIX])
        many = charts_of(tmp_path / "many", [RADIX], num_requests=900)
    for charts, beginning in ((few, "Each point is a request"), (many, "Darker cells hold more")):
        readings = {chart.name: chart.reading for chart in charts}
        assert readings["ttft_by_cached_share"].startswith(beginning)


@pytest.mark.parametrize(
    ("left", "right", "mark", "place"),
    [
        (0.2, 0.4, None, 0.3),
        (0.2, 0.4, 0.9, 0.3),
        (0.2, 0.4, 0.39, 0.3),
        (0.88, 1.0, 0.92, 0.96),
        (0.2, 0.4, 0.31, 0.255),
        (0.2, 0.3, 0.25, None),
    ],
)
def test_a_number_never_covers_the_ceiling(
    left: float, right: float, mark: float | None, place: float | None
) -> None:
    assert label_place(left, right, mark) == (None if place is None else pytest.approx(place))
