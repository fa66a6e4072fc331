"""Side by side with other programs: see `python -m benchmarks.peers --help`."""
