"""pcache: a lab for LLM prefix caching. The command line's verbs as a Python API."""

__version__ = "0.1.0"
