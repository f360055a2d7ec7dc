"""What the comparison of indexes says of the two claims about trees and hash tables."""

from __future__ import annotations

import pandas as pd

from benchmarks.claims.verdicts import Verdict
from pcache.report.units import MISSING, count_text

__all__ = ["about_indexes", "index_verdicts"]

_RADIX, _TRIE, _FLAT, _COARSE = "radix tree", "trie", "hash, blocks of 16", "hash, blocks of 64"
_WHOLE = "hash of whole prompts"
_SAME = 1.15
"""A look-up that takes no more than this times as long has not grown."""


class _Growth:
    """`index` by structure and size: `of(name, column)` at the largest, `grew` over the smallest."""

    def __init__(self, index: pd.DataFrame) -> None:
        self._rows = index.set_index(["structure", "prompts"])
        self.smallest, self.largest = int(index["prompts"].min()), int(index["prompts"].max())

    def of(self, name: str, column: str) -> float:
        return float(self._rows.loc[(name, self.largest), column])

    def grew(self, name: str, column: str) -> float:
        return self.of(name, column) / float(self._rows.loc[(name, self.smallest), column])

    def found(self, name: str) -> float:
        """Prompt tokens found, in %."""
        return 100 * self.of(name, "found")


def index_verdicts(index: pd.DataFrame) -> list[Verdict]:
    """A line each for the overview; there is no clock to simulate in them."""
    known = _Growth(index)
    times = {name: known.grew(name, "lookup_us") for name in (_RADIX, _FLAT, _TRIE)}
    more = known.largest / known.smallest
    grew = "does not hold: what counts is the length of the prompt"
    if times[_RADIX] > _SAME:
        grew = "the look-up grows with the cache"
    return [
        Verdict(
            (), "A tree finds a prefix in O(log n)", "log n", MISSING,
            f"on a CPU, {more:.0f}× the prompts: {times[_RADIX]:.2f}× the time in a radix tree, "
            f"{times[_FLAT]:.2f}× in a hash table, {times[_TRIE]:.1f}× in a trie", grew, (), "",
        ),
        Verdict(
            (), "A hash table cannot match partially", "nothing of a prompt that differs", MISSING,
            f"whole prompts {known.found(_WHOLE):.1f} % of the tokens; blocks of 16 "
            f"{known.found(_FLAT):.2f} %; radix tree {known.found(_RADIX):.2f} %",
            "holds for hashes of whole prompts, not for chained hashes of blocks", (), "",
        ),
    ]  # fmt: skip


def about_indexes(index: pd.DataFrame, lengths: pd.DataFrame) -> tuple[str, ...]:
    """Sentences on both claims, and on what a plain trie costs."""
    known = _Growth(index)
    ends = lengths[lengths["structure"] == _RADIX].iloc[[0, -1]]
    short, long = ends.to_dict("records")
    size = {name: f"{count_text(known.of(name, 'bytes'))}B" for name in (_RADIX, _TRIE, _FLAT)}
    nodes = {name: f"{known.of(name, 'nodes'):,.0f}" for name in (_RADIX, _TRIE, _FLAT)}
    return (
        f"“A tree finds a prefix in O(log n)”: with {known.largest / known.smallest:.0f} times as many "
        f"prompts, the radix tree passes {known.grew(_RADIX, 'passed'):.2f} times as many nodes and "
        f"takes {known.grew(_RADIX, 'lookup_us'):.2f} times as long, hashes of blocks "
        f"{known.grew(_FLAT, 'lookup_us'):.2f} times. A look-up costs by the length of the prompt: in "
        f"the tree {short['lookup_us']:.2f} µs for {short['tokens_mean']:.0f} tokens, "
        f"{long['lookup_us']:.2f} µs for {long['tokens_mean']:,.0f}.",
        f"“A hash table cannot match partially” holds for hashes of whole prompts, which find "
        f"{known.found(_WHOLE):.1f} % of the prompt tokens here. Chained hashes of 16-token blocks "
        f"find {known.found(_FLAT):.2f} %, of 64 {known.found(_COARSE):.2f} %, the tree "
        f"{known.found(_RADIX):.2f} %: they lose the end of the last block, no more.",
        f"A plain trie has a node a token: {nodes[_TRIE]} against {nodes[_RADIX]} of the radix tree "
        f"and {nodes[_FLAT]} blocks; {size[_TRIE]} against {size[_RADIX]} (most of it the tokens) and "
        f"{size[_FLAT]}. Its look-up grows {known.grew(_TRIE, 'lookup_us'):.1f} times, because each "
        "token is a memory access of its own, and the table outgrows the processor's caches.",
    )
