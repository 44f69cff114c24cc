"""How good a pack is, on data sets that people have: readers, metrics, reports.

Example:
    >>> from faceinsight import FaceAnalyzer
    >>> from faceinsight.evaluation import evaluate
    >>> print(evaluate("utkface", "utkface.zip", FaceAnalyzer(), fold=0).as_text())
"""

from faceinsight.evaluation.datasets import fold
from faceinsight.evaluation.measure import KINDS, evaluate
from faceinsight.evaluation.report import Report

__all__ = ["KINDS", "Report", "evaluate", "fold"]
