"""A trace as paths of block segments: what hit-rate curves and the offline bound walk over.

A segment is a run of full blocks that every request looks up, or computes, as a whole. It is a node
of the prefix forest in blocks, with one more cut: the last block of a prompt that is a multiple of
the block size, since look-up stops before it (the last token has to be computed) and computes it
again. Cost of everything that follows: per segment and request, whatever the number of blocks.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np

from pcache.jit import compiled, hot, records, wide
from pcache.prefixes import PrefixForest
from pcache.types import I8, Records, Trace

__all__ = [
    "SegmentTrace",
    "count_visits",
    "fill_segments",
    "path_sizes",
    "segment_trace",
    "unlimited_hits",
]


class SegmentTrace(NamedTuple):
    """`segments[s]` has `parent`, `end` (its blocks are the last before block `end` of a path) and
    `blocks`, at least 1; segment 0 is the root of all and has none.

    `requests[i]` has `leaf`, the segment where its full blocks end; `limit`, how many of them are
    looked up; `footprint`, the blocks that it holds while it runs; `partial`, 1 where the last of
    those is not full.
    """

    segments: Records
    requests: Records


def segment_trace(
    trace: Trace, forest: PrefixForest, block_size: int, *, outputs: bool
) -> SegmentTrace:
    """The trace in blocks; with `outputs`, requests hold all but the last generated token too."""
    prompt = trace.prompt_tokens.astype(np.int64)
    total = prompt + trace.output_tokens - 1 if outputs else prompt
    nodes = len(forest.parent)
    first, end = forest.start // block_size, forest.end // block_size
    whole = np.unique(forest.prompt_node[prompt % block_size == 0])
    cut = whole[end[whole] - first[whole] > 1]
    lower = np.arange(nodes)
    lower[cut] = nodes + np.arange(len(cut))
    segments = records(nodes + len(cut), parent=np.int64, end=np.int64, blocks=np.int64)
    segments.parent = np.concatenate([lower[forest.parent], cut])
    segments.end = np.concatenate([end, end[cut]])
    segments.blocks = np.concatenate([end - first, np.ones(len(cut), np.int64)])
    segments.end[cut] -= 1
    segments.blocks[cut] -= 1
    requests = records(
        len(trace), leaf=np.int64, limit=np.int64, footprint=np.int64, partial=np.int64
    )
    requests.leaf = lower[forest.output_node if outputs else forest.prompt_node]
    requests.limit = (prompt - 1) // block_size
    requests.footprint = -(-total // block_size)
    requests.partial = total % block_size > 0
    skip_empty(segments, requests)
    return SegmentTrace(segments, requests)


@compiled
def skip_empty(segments: Records, requests: Records) -> None:
    """Take segments without blocks out of all paths."""
    for segment in range(len(segments)):
        segments[segment].parent = _holding(segments, segments[segment].parent)
    for request in range(len(requests)):
        requests[request].leaf = _holding(segments, requests[request].leaf)


@hot
def _holding(segments: Records, segment: int) -> int:
    """The segment, or the nearest one above it that has blocks."""
    while segment != 0 and segments[segment].blocks == 0:
        segment = segments[segment].parent
    return segment


@hot
def fill_segments(segments: Records, leaf: int, path: I8) -> int:
    """Write the segments from `leaf` up to below the root into `path`; their number."""
    length = 0
    while leaf != 0:
        path[length] = leaf
        length += 1
        leaf = segments[leaf].parent
    return length


@hot
def path_sizes(segments: Records, requests: Records) -> tuple[int, int]:
    """Segments on the paths of all requests together, and on the longest of them."""
    visits = longest = 0
    for request in range(len(requests)):
        length = 0
        at = wide(requests[request].leaf)
        while at != 0:
            length += 1
            at = wide(segments[at].parent)
        visits += length
        longest = max(longest, length)
    return visits, longest


def count_visits(trace: SegmentTrace) -> I8:
    """How many requests have each segment on their path, int64 [segments]; 0 for the root."""
    visits = np.zeros(len(trace.segments), np.int64)
    _count_visits(trace.segments, trace.requests, visits)
    return visits


@hot
def _count_visits(segments: Records, requests: Records, visits: I8) -> None:
    for request in range(len(requests)):
        at = requests[request].leaf
        while at != 0:
            visits[at] += 1
            at = segments[at].parent


@compiled
def unlimited_hits(segments: Records, requests: Records) -> I8:
    """Blocks that each request finds in an unlimited cache, int64 [num requests]."""
    seen = np.zeros(len(segments), np.bool_)
    hits = np.zeros(len(requests), np.int64)
    for request in range(len(requests)):
        at = requests[request].leaf
        while at != 0:
            if seen[at] and segments[at].end <= requests[request].limit:
                hits[request] += segments[at].blocks
            seen[at] = True
            at = segments[at].parent
    return hits
