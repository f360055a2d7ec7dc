"""How `pcache trace tree` prints snapshots of the radix tree."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import pandas as pd
import typer
from rich.console import Console
from rich.text import Text
from rich.tree import Tree

from pcache.cache.contract import CacheConfig
from pcache.cache.observe import observe_tree
from pcache.cache.snapshot import NodeState, TreeSnapshot, limited
from pcache.cli.output import OutputFormat, emit
from pcache.errors import ConfigError
from pcache.report.tree_figure import save_trees
from pcache.report.tree_words import (
    DEEP_NOTE,
    flow_words,
    headline,
    hidden_words,
    node_words,
    use_words,
)
from pcache.trace.excerpt import excerpts
from pcache.trace.tokenize import load_tokenizer
from pcache.types import Trace

__all__ = ["show_trees"]

STYLES = {
    NodeState.added: "green",
    NodeState.hit: "bright_blue",
    NodeState.evicted: "red",
    NodeState.kept: "",
}
GUIDE = 4
"""Columns that a level of a printed tree takes."""


def show_trees(
    trace: Trace,
    config: CacheConfig,
    at: str | None,
    outputs: bool,
    tokenizer: str,
    max_nodes: int,
    out: Path | None,
    format: OutputFormat,
) -> None:
    """Replay `trace` up to the numbers of `at`, draw what was seen, or print it."""
    moments = _moments(at, len(trace))
    text = excerpts(trace, load_tokenizer(tokenizer) if trace.tokenizer else None)
    snapshots = observe_tree(trace, config, moments, outputs=outputs, text=text)
    drawn = [limited(snapshot, max_nodes) for snapshot in snapshots]
    if out is not None:
        save_trees(drawn, out)
        typer.echo(out)
    elif format is OutputFormat.json:
        print(
            json.dumps([asdict(snapshot) for snapshot in snapshots], indent=2, ensure_ascii=False)
        )
    elif format is OutputFormat.csv:
        emit(_frame(snapshots), format=format)
    else:
        _print_trees(drawn)


def _moments(text: str | None, num_requests: int) -> list[int]:
    if text is None:
        return [num_requests]
    try:
        return [int(part) for part in text.split(",")]
    except ValueError as error:
        raise ConfigError(
            f"--at {text!r} is not understood; write numbers of requests like 4 or 1,2,4"
        ) from error


def _print_trees(snapshots: Sequence[TreeSnapshot]) -> None:
    console = Console(highlight=False)
    for snapshot in snapshots:
        console.print(_tree(snapshot, console.width))
    console.print(Text("  ".join(f"{state.sign} {state.meaning}" for state in NodeState)))
    if any(node.depth > _deepest(console.width) for one in snapshots for node in one.nodes):
        console.print(Text(DEEP_NOTE))
    if any(snapshot.hidden_nodes for snapshot in snapshots):
        console.print(Text("--max-nodes draws more of a tree, --format csv or json has all nodes."))


def _deepest(width: int) -> int:
    """The last level that is indented, so that half of the width is left for texts."""
    return max(width // 2 // GUIDE, 1)


def _tree(snapshot: TreeSnapshot, width: int) -> Tree:
    label = Text(headline(snapshot), "bold")
    for words in (flow_words(snapshot), use_words(snapshot)):
        label.append(f"\n{words}", "not bold")
    root = Tree(label, guide_style="dim")
    places: list[Tree] = []
    deepest = _deepest(width)
    for node in snapshot.nodes:
        style = STYLES[node.state]
        line = Text(f"{node.state.sign} {node.text}", style, no_wrap=True, overflow="ellipsis")
        line.append(f"\n  {node_words(node)}", "dim" if not node.locks else "")
        above = root if node.parent < 0 else places[node.parent]
        branch = above.add(line)
        places.append(branch if node.depth < deepest else above)
    if snapshot.hidden_nodes:
        root.add(Text(hidden_words(snapshot), "dim"))
    return root


def _frame(snapshots: Sequence[TreeSnapshot]) -> pd.DataFrame:
    rows = [
        {"num_requests": snapshot.num_requests, "node": number, **asdict(node),
         "owners": " ".join(node.owners)}
        for snapshot in snapshots
        for number, node in enumerate(snapshot.nodes)
    ]  # fmt: skip
    return pd.DataFrame(rows)
