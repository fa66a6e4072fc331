"""Comparison with other programs: see `python -m benchmarks.peers --help`."""
