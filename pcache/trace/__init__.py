"""Traces: reading, cutting, writing, generating, fetching, counting."""

from pcache.trace.ceilings import ceilings
from pcache.trace.fetch import fetch_trace
from pcache.trace.generate import WORKLOADS, generate
from pcache.trace.popular import popular_prefixes
from pcache.trace.read import read_trace
from pcache.trace.slice import slice_trace
from pcache.trace.sniff import FORMATS
from pcache.trace.statistics import length_distribution, overview
from pcache.trace.tokenize import load_tokenizer
from pcache.trace.write import WRITE_FORMATS, write_trace

__all__ = [
    "FORMATS",
    "WORKLOADS",
    "WRITE_FORMATS",
    "ceilings",
    "fetch_trace",
    "generate",
    "length_distribution",
    "load_tokenizer",
    "overview",
    "popular_prefixes",
    "read_trace",
    "slice_trace",
    "write_trace",
]
