"""Simulated against measured over a designed set of cells.

    python -m benchmarks.side_by_side design              # cells.csv, on any machine
    python -m benchmarks.side_by_side measure OUT         # every cell on this GPU, resumable
    python -m benchmarks.side_by_side analyse OUT ...     # simulate the same cells, tables and page

A cell is a trace, an index, a KV capacity and a load. The design covers every pair of their levels.
`measure` keeps what is finished and goes on after it; nothing but the cells' table, the traces and the
GPU goes into it. `analyse` needs no GPU.
"""
