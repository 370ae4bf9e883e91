"""fastlsm beside every way to compute the same that can be installed from PyPI, and beside the memory bus.

`python -m benchmarks --help` lists what it can do. A contender is checked against float64 before it is timed; the
contenders then take turns in rounds. Of the table's cells medians of paired ratios are reported, of a hunt's random
problems and of two builds the best or good rounds.
"""
