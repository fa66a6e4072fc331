"""Benchmarks. They are commands rather than tests, because timings on shared machines are noisy."""
