"""Figures that are often quoted about prefix caching, each tried with its conditions stated.

    python -m benchmarks.claims index               # trees against hashes, on this CPU
    python -m benchmarks.claims measure OUT         # the serving claims on this GPU, resumable
    python -m benchmarks.claims pack OUT FILE       # the measured runs as one .tar.xz; unpack: back
    python -m benchmarks.claims analyse [FILE]      # simulate them; page and tables

`index` and `analyse` need no GPU; without measured runs the page says that there are none yet.
"""
