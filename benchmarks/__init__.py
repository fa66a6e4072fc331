"""Measurements: commands of their own, outside the tests, since machines are shared and noisy."""
