"""Reports: what run directories hold, as one page, charts and tables. Runs nothing itself."""

from __future__ import annotations

from pcache.report.page import render, write_report
from pcache.report.runs import Run, load_runs

__all__ = ["Run", "load_runs", "render", "write_report"]
