"""Charts of a report, drawn with matplotlib where it is installed."""

from __future__ import annotations

import io
import logging
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from faceinsight.errors import FaceInsightError
from faceinsight.evaluation.metrics import AgeMetrics, BucketMetrics, ClassMetrics, DetectionMetrics, Floats
from faceinsight.evaluation.report import Report
from faceinsight.writing import clear_leftovers, make_folder, write_file

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure

_DPI = 120


def check_plots() -> None:
    """Raises FaceInsightError where matplotlib is not installed."""
    # It tells of its font cache and its folder, which are nobody's business here.
    logging.getLogger("matplotlib").setLevel(logging.ERROR)
    try:
        import matplotlib.figure  # noqa: F401
    except ImportError as error:
        raise FaceInsightError(
            "Charts need matplotlib, which is not installed: install matplotlib, or leave --plots away."
        ) from error


def write_plots(report: Report, folder: Path) -> list[Path]:
    """Draws what a report holds.

    Args:
        report: The report.
        folder: Where to write; it is made where it is not there.

    Returns:
        The PNG files: `SET-confusion`, `SET-age`, `SET-age-bands`, `SET-age-buckets` or `SET-precision-recall`.

    Raises:
        FaceInsightError: If matplotlib is not installed.
        MediaError: If the folder cannot be written.
    """
    check_plots()
    title = f"{report.data_set}, {report.size} pictures, pack {report.pack}"
    figures: dict[str, Figure] = {}
    if report.emotion is not None:
        figures["confusion"] = _confusion(report.emotion, title)
    if report.age_bucket is not None:
        figures["age-buckets"] = _age_buckets(report.age_bucket, title)
    if report.age is not None:
        figures["age"] = _ages(report.curves["true_age"], report.curves["age"], title)
        figures["age-bands"] = _age_bands(report.age, title)
    if report.detection is not None:
        figures["precision-recall"] = _precision_recall(report.detection, report.curves, title)
    make_folder(folder)
    clear_leftovers(folder)
    paths = []
    for name, figure in figures.items():
        buffer = io.BytesIO()
        figure.savefig(buffer, format="png", dpi=_DPI)
        paths.append(folder / f"{report.data_set}-{name}.png")
        write_file(paths[-1], buffer.getvalue())
    return paths


def _axes(title: str, x: str, y: str) -> tuple[Figure, Axes]:
    from matplotlib.figure import Figure

    # No pyplot: it keeps figures and looks for a screen.
    figure = Figure(figsize=(6.4, 5.2), layout="constrained")
    axes = figure.add_subplot()
    axes.set_title(title, fontsize=10)
    axes.set_xlabel(x)
    axes.set_ylabel(y)
    return figure, axes


def _confusion(emotion: ClassMetrics, title: str) -> Figure:
    figure, axes = _axes(title, "answer", "label")
    counts = np.array(emotion.confusion)
    shares = counts / np.maximum(counts.sum(axis=1, keepdims=True), 1)
    names = list(emotion.classes)
    axes.imshow(shares, cmap="Blues", vmin=0, vmax=1)
    axes.set_xticks(range(len(names)), names, rotation=45, ha="right")
    axes.set_yticks(range(len(names)), [f"{name} ({n})" for name, n in zip(names, counts.sum(axis=1), strict=True)])
    for row, column in np.ndindex(*shares.shape):
        share = shares[row, column]
        axes.text(column, row, f"{share:.0%}", ha="center", va="center", color="white" if share > 0.5 else "black")
    return figure


def _ages(true: Floats, predicted: Floats, title: str) -> Figure:
    figure, axes = _axes(title, "age in the data set, years", "apparent age, years")
    end = float(max(true.max(), predicted.max()))
    axes.plot([0, end], [0, end], color="grey", linewidth=1)
    axes.scatter(true, predicted, s=8, alpha=0.25, linewidths=0)
    axes.set_aspect("equal")
    return figure


def _age_bands(ages: dict[str, AgeMetrics], title: str) -> Figure:
    figure, axes = _axes(title, "age in the data set, years", "mean absolute error, years")
    bars = axes.bar(list(ages), [metrics.mae for metrics in ages.values()])
    axes.bar_label(bars, [f"{metrics.mae:.1f}\n({metrics.count})" for metrics in ages.values()])
    axes.margins(y=0.15)
    return figure


def _age_buckets(buckets: dict[str, BucketMetrics], title: str) -> Figure:
    figure, axes = _axes(title, "share of ages in the right bucket", "")
    names = list(buckets)[::-1]
    bars = axes.barh(names, [buckets[name].accuracy for name in names])
    axes.bar_label(bars, [f" {buckets[name].accuracy:.0%} of {buckets[name].count}" for name in names])
    axes.set_xlim(0, 1.15)
    return figure


def _precision_recall(detection: DetectionMetrics, curves: dict[str, Floats], title: str) -> Figure:
    figure, axes = _axes(f"{title}, AP50 {detection.ap50:.1%}", "recall (points: at these thresholds)", "precision")
    axes.plot(curves["recall"], curves["precision"])
    for point in detection.pareto:
        if point.precision is None:
            continue
        axes.plot(point.recall, point.precision, "o", color="C0")
        axes.annotate(f"{point.threshold}", (point.recall, point.precision), xytext=(4, 4), textcoords="offset points")
    axes.set_xlim(0, 1)
    axes.set_ylim(0, 1.1)
    axes.grid(alpha=0.3)
    return figure
