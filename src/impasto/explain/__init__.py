"""Explanations: figures of what the network sees, and why Gram matrices. Some need the extra `explain`."""

from impasto.explain.fields import receptive_field
from impasto.explain.report import Report
from impasto.explain.reports import (
    checkpoint_report,
    gram_report,
    representations,
    run_report,
    statistics_report,
    unit_report,
)

__all__ = [
    "Report",
    "checkpoint_report",
    "gram_report",
    "receptive_field",
    "representations",
    "run_report",
    "statistics_report",
    "unit_report",
]
