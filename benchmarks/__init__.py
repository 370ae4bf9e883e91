"""fastlsm beside every way to compute the same that can be installed from PyPI, and beside the memory bus.

`python -m benchmarks --help` lists what it can do. A contender is checked against float64 before it is timed; the
contenders of a cell then take turns in rounds, and what is reported are medians of paired ratios.
"""
