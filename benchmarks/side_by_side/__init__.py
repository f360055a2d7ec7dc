"""Simulated against measured over a designed set of cells.

    python -m benchmarks.side_by_side design --gpu h200   # cells.csv, on any machine
    python -m benchmarks.side_by_side measure OUT         # on this GPU, resumable, within --seconds
    python -m benchmarks.side_by_side pack OUT FILE       # the measured runs as one .tar.xz
    python -m benchmarks.side_by_side analyse FILE        # simulate the same cells, tables and page

A cell is a trace, an index, a KV capacity and a load; together they cover every pair of levels. Nothing
but the cells' table, the traces and the GPU goes into `measure`; nothing but its runs and a profile
into `analyse`, which needs no GPU.
"""
