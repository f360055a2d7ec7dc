"""Traces: reading, cutting, writing, generating, counting."""

from pcache.trace.read import read_trace
from pcache.trace.slice import slice_trace

__all__ = ["read_trace", "slice_trace"]
