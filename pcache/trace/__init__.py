"""Traces: reading, cutting, writing, generating, counting."""

from pcache.trace.generate import WORKLOADS, generate
from pcache.trace.read import read_trace
from pcache.trace.slice import slice_trace
from pcache.trace.sniff import FORMATS
from pcache.trace.write import WRITE_FORMATS, write_trace

__all__ = [
    "FORMATS",
    "WORKLOADS",
    "WRITE_FORMATS",
    "generate",
    "read_trace",
    "slice_trace",
    "write_trace",
]
