"""The page: complete, self-contained, valid, and with the numbers of the run directories."""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pandas as pd
import pytest
import typer
from report_runs import HASH, NONE, RADIX, Recipe, make_run
from typer.testing import CliRunner

from pcache.cli.report import report
from pcache.errors import RunDirectoryError
from pcache.report import write_report
from pcache.report.glossary import GLOSSARY

SMALL = {"num_requests": 60, "num_steps": 150}
VOID = {"meta", "line", "path", "use", "image", "rect", "br", "link"}


class Page(HTMLParser):
    """Collects what a browser would load, identifiers, visible text, and unclosed elements."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.loads: list[str] = []
        self.links: list[str] = []
        self.identifiers: Counter[str] = Counter()
        self.references: set[str] = set()
        self.words: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        if tag not in VOID:
            self.open.append(tag)
        for name, value in attrs:
            if name == "id":
                self.identifiers[value or ""] += 1
            if name in ("href", "xlink:href"):
                (self.links if tag == "a" else self.loads).append(value or "")
            if name in ("src", "srcset", "data"):
                self.loads.append(value or "")
            self.references |= set(re.findall(r"url\(#([^)]+)\)", value or ""))

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        if self.open and self.open[-1] != "style":
            self.words.append(data)


def written(directory: Path, *recipes: Recipe, title: str | None = None) -> Path:
    for number, recipe in enumerate(recipes):
        make_run(directory / "runs" / f"{number:02d}", replace(recipe, **SMALL))
    return write_report([directory / "runs"], directory / "out", title)


def words_of(page: Path) -> str:
    return " ".join(" ".join(Page(page.read_text(encoding="utf-8")).words).split())


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The page of three simulated runs and one measured one."""
    measured = replace(RADIX, world="measured", slowdown=1.2)
    directory = tmp_path_factory.mktemp("report")
    return written(directory, RADIX, HASH, NONE, measured, title="Chat <& agents>")


def test_the_page_is_self_contained_and_well_formed(page: Path) -> None:
    parsed = Page(page.read_text(encoding="utf-8"))
    assert parsed.open == []
    assert all(target.startswith(("#", "data:")) for target in parsed.loads)
    assert not re.search(r"@import|url\((?!#)|<script", page.read_text(encoding="utf-8"))
    assert max(parsed.identifiers.values()) == 1
    inside = {target[1:] for target in parsed.loads if target.startswith("#")} | parsed.references
    assert inside <= set(parsed.identifiers)
    assert len(parsed.links) >= 15
    assert all((page.parent / target).is_file() for target in parsed.links)


def test_it_says_what_was_run_and_where_latency_comes_from(page: Path) -> None:
    text = words_of(page)
    for words in (
        "Chat <& agents>", "conversation", "400 k tokens", "48.8 GiB", "llama-3.1-8b", "h100",
        "roofline h100 × llama-3.1-8b", "nothing was run on a device",
        "Every step ran on a real GPU", "measured on GPU NVIDIA H100 80GB",
        "chunked prefill, fcfs", "TTFT ≤ 2 s", *GLOSSARY,
    ):  # fmt: skip
        assert words in text


def test_numbers_are_those_of_the_summaries(page: Path) -> None:
    text = words_of(page)
    summary = json.loads((page.parents[1] / "runs" / "00" / "summary.json").read_text())
    assert f"radix/1 · sim serves {100 * summary['hit_rate']:.1f} % of the prompt tokens" in text
    assert f"{100 * summary['hit_rate'] / 0.52:.1f}" in text
    table = pd.read_csv(page.parent / "summary.csv").set_index("run")
    for field in ("hit_rate", "miss_cold", "ttft_p99_ms", "goodput_requests_per_s"):
        assert table.loc["radix/1 · sim", field] == pytest.approx(summary[field], rel=1e-12)
    causes = pd.read_csv(page.parent / "miss_causes.csv")
    assert causes.groupby("run")["share"].sum().to_list() == pytest.approx(4 * [1])
    quantiles = pd.read_csv(page.parent / "ttft_percentiles.csv").set_index("run")
    assert quantiles["p50_ms"].to_list() == pytest.approx(table["ttft_p50_ms"].to_list())


def test_simulated_and_measured_stand_side_by_side(page: Path) -> None:
    text = words_of(page)
    assert "Simulated and measured, side by side" in text
    assert "Simulated and measured differ by 0.00 points in hit rate" in text
    row = pd.read_csv(page.parent / "side_by_side.csv").set_index("number").loc["ttft_mean_ms"]
    assert row["difference"] == pytest.approx(100 * (row["simulated"] / row["measured"] - 1))


def test_what_is_less_than_it_seems_is_flagged(tmp_path: Path) -> None:
    recipes = (replace(RADIX, interrupted_after=25), replace(HASH, all_rejected=True, seed=3))
    text = words_of(written(tmp_path, *recipes))
    assert "radix/1 was interrupted after 25 of 60 requests" in text
    assert "radix/1 interrupted" in text
    assert "hash/16 rejected 60 requests" in text
    assert "different traces" in text
    assert "serves" not in text  # no finding rests on an interrupted run


def test_a_run_on_a_cpu_does_not_read_like_one_on_a_gpu(tmp_path: Path) -> None:
    measured = replace(RADIX, world="measured", device="CPU")
    text = words_of(written(tmp_path, RADIX, measured))
    assert "Every step ran on a CPU, no GPU was used" in text
    assert "real GPU" not in text
    assert "radix/1 · CPU" in text
    assert " · GPU" not in text


def test_an_overloaded_run_is_flagged_with_its_queue(tmp_path: Path) -> None:
    calm = replace(RADIX, requests_per_s=1.0)
    text = words_of(written(tmp_path, calm, replace(NONE, requests_per_s=20.0, slowdown=4.0)))
    (sentence,) = re.findall(r"(\S+) is overloaded, .* arrivals ([\d., ]+) requests were", text)
    assert sentence[0] == "none"
    queue = [float(number) for number in sentence[1].split(", ")]
    assert queue == sorted(queue)
    assert len(queue) == 4


def test_a_replay_shows_no_latency(tmp_path: Path) -> None:
    path = written(tmp_path, replace(RADIX, world="replayed"))
    text = words_of(path)
    assert "without a clock" in text
    assert "TTFT, ms" not in text
    assert not (path.parent / "ttft_percentiles.csv").exists()


def test_the_same_runs_give_the_same_bytes(tmp_path: Path) -> None:
    path = written(tmp_path, RADIX)
    first = {file.name: file.read_bytes() for file in path.parent.iterdir()}
    write_report([tmp_path / "runs"], tmp_path / "again")
    assert first == {file.name: file.read_bytes() for file in (tmp_path / "again").iterdir()}


def test_an_output_that_cannot_be_written_is_named(tmp_path: Path) -> None:
    make_run(tmp_path / "run", replace(RADIX, **SMALL))
    (tmp_path / "file").write_text("")
    with pytest.raises(RunDirectoryError, match="file: cannot write the report"):
        write_report([tmp_path / "run"], tmp_path / "file")


@pytest.fixture
def app() -> typer.Typer:
    app = typer.Typer()
    app.command()(report)
    return app


def test_the_command_prints_the_table_and_where_the_page_is(
    app: typer.Typer, tmp_path: Path
) -> None:
    make_run(tmp_path / "run", replace(RADIX, **SMALL))
    arguments = [str(tmp_path / "run"), "--out", str(tmp_path / "out"), "--title", "Mine"]
    done = CliRunner().invoke(app, [*arguments, "--format", "json"])
    assert done.exit_code == 0, done.output
    (row,) = json.loads(done.stdout)
    summary = json.loads((tmp_path / "run" / "summary.json").read_text())
    assert row["policy"] == "radix/1"
    assert row["hit %"] == pytest.approx(100 * summary["hit_rate"])
    assert row["of ceiling %"] == pytest.approx(100 * summary["hit_rate"] / 0.52)
    assert "<h1>Mine</h1>" in (tmp_path / "out" / "index.html").read_text(encoding="utf-8")
    assert str(tmp_path / "out" / "index.html") in done.stderr


def test_the_table_for_readers_is_split_by_subject(app: typer.Typer, tmp_path: Path) -> None:
    for name, recipe in (("a", RADIX), ("b", replace(NONE, interrupted_after=0))):
        make_run(tmp_path / "runs" / name, replace(recipe, **SMALL))
    done = CliRunner().invoke(app, [str(tmp_path / "runs"), "--out", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    lines = done.stdout.splitlines()
    assert [line.strip() for line in lines if line.strip() in ("Cache", "Latency", "Load")] == [
        "Cache",
        "Latency",
        "Load",
    ]
    assert max(map(len, lines[:-1])) <= 80


def test_the_command_exits_with_2_and_a_remedy(app: typer.Typer, tmp_path: Path) -> None:
    done = CliRunner().invoke(app, [str(tmp_path), "--out", str(tmp_path / "out")])
    assert done.exit_code == 2
    assert done.stderr.count("\n") == 1
    assert "give a directory that simulate, run or replay wrote" in done.stderr
