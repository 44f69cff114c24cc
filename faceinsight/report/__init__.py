"""A page about the tables of many files: counts, charts and example faces in one HTML file that asks for nothing."""

from faceinsight.report.page import write_report

__all__ = ["write_report"]
