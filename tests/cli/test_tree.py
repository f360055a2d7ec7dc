"""`pcache trace tree`: what is printed and drawn, and that no two texts overlap."""

from __future__ import annotations

import json
from itertools import combinations
from pathlib import Path

import pytest
from click.testing import Result
from small_traces import small_trace
from typer.testing import CliRunner

from pcache.cache.contract import CacheConfig
from pcache.cache.observe import observe_tree
from pcache.cli.trace import trace_app
from pcache.errors import ConfigError
from pcache.report.tree_figure import draw_trees, save_trees
from pcache.trace import read_trace
from pcache.trace.excerpt import excerpts
from pcache.trace.tokenize import load_tokenizer

FIGURE = str(Path(__file__).parents[2] / "traces" / "radix-figure.jsonl")
NINE = ("--kv-tokens", "185", "--at", "0,1,2,3,4,5,8,9,12")


def run(*arguments: str, code: int = 0) -> Result:
    result = CliRunner().invoke(trace_app, ["tree", *arguments])
    assert result.exit_code == code, result.output
    return result


def test_a_tree_on_a_terminal() -> None:
    lines = run(FIGURE, "--kv-tokens", "185", "--at", "4").stdout.splitlines()
    assert lines[:3] == [
        "after 4 requests: chat2.2",
        "70 of 94 prompt tokens hit · 41 added · 67 evicted",
        "132 of 185 tokens in use",
    ]
    hello = next(at for at, line in enumerate(lines) if line.endswith("├── · Hello!↵Bot:"))
    assert lines[hello + 1].endswith("22–33 · recency 2 · chat1.1, chat1.2")
    assert any(
        line.endswith("× ↵User: Name three prime numbers larger than fifty.↵Bot:") for line in lines
    )
    assert max(map(len, lines)) <= 80


def test_a_large_tree_is_cut_and_says_so() -> None:
    result = run(FIGURE, "--max-nodes", "5")
    assert "… 19 more nodes with 258 tokens" in result.stdout
    assert "--max-nodes draws more of a tree" in result.stdout
    assert sum("recency" in line for line in result.stdout.splitlines()) == 5


def test_json_and_csv_have_every_node() -> None:
    nine = json.loads(run(FIGURE, *NINE, "--format", "json", "--max-nodes", "1").stdout)
    assert [len(snapshot["nodes"]) for snapshot in nine] == [0, 2, 4, 7, 9, 9, 16, 18, 18]
    root = nine[4]["nodes"][0]
    assert (root["state"], root["start"], root["stop"], root["locks"]) == ("hit", 0, 22, 1)
    lines = run(FIGURE, *NINE, "--format", "csv").stdout.splitlines()
    assert len(lines) == 1 + sum(len(snapshot["nodes"]) for snapshot in nine)
    assert lines[0].startswith("num_requests,node,parent,depth,start,stop,text,state,locks")


def test_without_outputs_and_with_larger_blocks() -> None:
    (snapshot,) = json.loads(
        run(FIGURE, "--no-outputs", "--block-size", "4", "--format", "json").stdout
    )
    assert not any(node["generated"] for node in snapshot["nodes"])
    assert all(node["stop"] % 4 == 0 for node in snapshot["nodes"])


@pytest.mark.parametrize("ending", ["png", "svg"])
def test_the_same_trees_are_the_same_picture(tmp_path: Path, ending: str) -> None:
    paths = [tmp_path / f"{name}.{ending}" for name in "ab"]
    for path in paths:
        result = run(FIGURE, "--kv-tokens", "185", "--at", "4,5", "--out", str(path))
        assert result.stdout == f"{path}\n"
    assert paths[0].read_bytes() == paths[1].read_bytes()
    assert len(paths[0].read_bytes()) > 10_000


def assert_readable(figure: object) -> None:
    """Every text lies inside the picture and none touches another."""
    canvas = figure.canvas  # type: ignore[attr-defined]
    figure.set_dpi(160)  # type: ignore[attr-defined]
    canvas.draw()
    (axes,) = figure.axes  # type: ignore[attr-defined]
    texts = [text for text in axes.texts if text.get_text()]
    boxes = [text.get_window_extent(canvas.get_renderer()) for text in texts]
    width, height = canvas.get_width_height()
    for box in boxes:
        assert 0 <= box.x0 < box.x1 <= width
        assert 0 <= box.y0 < box.y1 <= height
    for one, other in combinations(boxes, 2):
        overlap = min(one.x1, other.x1) - max(one.x0, other.x0)
        assert overlap <= 0 or min(one.y1, other.y1) - max(one.y0, other.y0) <= 1


def test_the_nine_panels_are_readable() -> None:
    trace = read_trace(FIGURE)
    text = excerpts(trace, load_tokenizer("bytes"))
    moments = [0, 1, 2, 3, 4, 5, 8, 9, 12]
    snapshots = observe_tree(trace, CacheConfig("radix", 1, 185), moments, text=text)
    assert_readable(draw_trees(snapshots))


@pytest.mark.parametrize("text", ["wide 字 $a$ {x_1} \\frac", "m" * 400, ""])
def test_any_text_and_any_depth_fit(text: str) -> None:
    prompts = [list(range(length)) for length in range(1, 32)]
    snapshots = observe_tree(
        small_trace(prompts), CacheConfig("radix", 1), [2, 31], text=lambda *_: text
    )
    assert max(node.depth for node in snapshots[1].nodes) == 30
    for shown in (snapshots, snapshots[1:]):
        assert_readable(draw_trees(shown))


def test_more_than_fits_a_picture(tmp_path: Path) -> None:
    prompts = [[number] for number in range(1100)]
    snapshots = observe_tree(
        small_trace(prompts), CacheConfig("radix", 1), [1100], text=lambda *_: ""
    )
    with pytest.raises(ConfigError, match="1,100 nodes do not fit a picture; lower --max-nodes"):
        save_trees(snapshots, tmp_path / "a.png")


@pytest.mark.parametrize(
    ("arguments", "problem"),
    [
        (("--at", "13"), "13 requests cannot be shown; expected ascending numbers from 0 to 12"),
        (("--at", "3,2"), "2 requests cannot be shown"),
        (("--at", "x"), "--at 'x' is not understood"),
        (("--kv-tokens", "x"), "--kv-tokens 'x' is not understood"),
        (("--evict", "x"), "unknown eviction 'x'"),
        (("--block-size", "3"), "block size 3 is not a power of two"),
        (("--out", "x.pdf"), "--out x.pdf is no picture; its name must end in .png or .svg"),
        (("--out", "/none/x.png"), "/none/x.png: cannot be written"),
        (("--tokenizer", "none"), "tokenizer 'none' is neither"),
    ],
)
def test_errors_are_one_line_and_exit_with_2(arguments: tuple[str, ...], problem: str) -> None:
    result = run(FIGURE, *arguments, code=2)
    assert result.stdout == ""
    assert result.stderr.startswith("pcache: error: ")
    assert problem in result.stderr
    assert result.stderr.count("\n") == 1


def test_help_has_an_example() -> None:
    assert "Example: pcache trace tree" in run("--help").stdout
