"""Reports on what VGG responds to, and on why Gram matrices capture style. Some need the extra `explain`."""

from impasto.explain.comparison import statistics_report
from impasto.explain.depth import representations
from impasto.explain.grams import gram_report
from impasto.explain.patches import unit_report
from impasto.explain.receptive_field import receptive_field
from impasto.explain.report import Report
from impasto.explain.runs import checkpoint_report, run_report

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
