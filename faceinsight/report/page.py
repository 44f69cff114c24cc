"""The report as HTML: assets/html/report.html, filled in by Jinja, which escapes what comes from files."""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import jinja2

from faceinsight import __version__
from faceinsight.errors import MediaError
from faceinsight.report.crops import Crops
from faceinsight.report.figures import AGE_BINS, AGE_STEP, GENDERS, MANY_FACES, MOST_LABELS, Clip, Figures, read_figures
from faceinsight.resources import asset
from faceinsight.svg import emotion_color, stacked_columns
from faceinsight.writing import write_file

GENDER_COLORS = ("#d55e00", "#0072b2", "#8a94a6")
_BAR_GAP = 0.8

# What settings are called that tables name for programs.
_NAMES = {
    "det_threshold": "detection threshold",
    "min_face": "smallest face in pixels",
    "pack_hash": "sha256 of the pack",
    "version": "analysed by FaceInsight",
}

Chart = dict[str, Any]


def write_report(table: Path, out: Path, blur: bool = False, overwrite: bool = False) -> Figures:
    """Writes a page about the tables of a run: one HTML file with all it shows in it.

    Args:
        table: The faces' table, `results.parquet`; the others are looked for beside it.
        out: The HTML file.
        blur: Whether to make the example faces unrecognisable.
        overwrite: Whether `out` may be replaced.

    Returns:
        What the tables add up to.

    Raises:
        MediaError: If the table cannot be read, or the page not be written.
    """
    if out.exists() and not overwrite:
        raise MediaError(f"{out} is there already: choose another name, or replace it with --overwrite.")
    figures = read_figures(table)
    write_file(out, _page(table, figures, blur).encode(errors="backslashreplace"))
    return figures


def _page(table: Path, figures: Figures, blur: bool) -> str:
    crops = Crops(blur)
    environment = jinja2.Environment(autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True)
    environment.filters |= {"number": "{:,}".format, "seconds": _seconds, "short": figures.short}
    template = environment.from_string(asset("html/report.html").read_text(encoding="utf-8"))
    emotions = figures.emotions.most_common(MOST_LABELS)
    return template.render(
        name=table.name,
        tokens=_tokens(),
        figures=figures,
        facts=[(_NAMES.get(key, key.replace("_", " ")), _plain(value)) for key, value in figures.settings.items()],
        version=__version__,
        ages=_ages(figures),
        genders=_shares(((name, figures.genders[name]) for name in GENDERS), GENDER_COLORS),
        emotions=_shares(emotions, [emotion_color(name) for name, _ in emotions]),
        per_file=_per_file(figures),
        legend=[(label, emotion_color(label)) for label in figures.labels],
        clips=[(clip, _clip(clip, figures), _portraits(clip, crops)) for clip in figures.clips],
        examples=list(crops.of(figures.examples)),
        blur=blur,
    )


def _plain(value: Any) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list) else str(value)


def _tokens() -> dict[str, str]:
    """Returns the page's colours and sizes, as declared in assets/style.css."""
    style = asset("style.css").read_text(encoding="utf-8")
    light, dark = (re.search(rf"^{name} \{{(.*?)\}}", style, re.DOTALL | re.MULTILINE) for name in (":root", r"\.dark"))
    assert light is not None
    assert dark is not None
    return {"light": light[1], "dark": dark[1]}


def _ages(figures: Figures) -> Chart | None:
    if not figures.ages.any():
        return None
    first = [AGE_STEP * n for n in range(AGE_BINS)]
    names = [f"{age}–{age + AGE_STEP - 1}" for age in first[:-1]] + [f"{first[-1]} and more"]
    return {
        "svg": _svg(figures.ages, GENDERS, GENDER_COLORS, "Ages in steps of five years, by gender"),
        "rows": [(name, *row) for name, row in zip(names, figures.ages.tolist(), strict=True) if any(row)],
        "legend": list(zip(GENDERS, GENDER_COLORS, strict=True)),
        "most": int(figures.ages.sum(axis=1).max()),
        "ticks": [age for age in first if age % 20 == 0],
    }


def _svg(counts: Any, labels: Iterable[str], colors: Iterable[str], name: str) -> str:
    shares = counts / max(counts.sum(axis=1).max(), 1)
    return stacked_columns(shares, list(labels), list(colors), name, _BAR_GAP)


def _shares(counts: Iterable[tuple[str, int]], colors: Iterable[str]) -> list[tuple[str, int, float, str]]:
    """Returns (name, count, share of all, colour) of those that were counted."""
    found = [(*pair, color) for pair, color in zip(counts, colors, strict=True) if pair[1]]
    whole = sum(count for _, count, _ in found)
    return [(name, count, count / whole, color) for name, count, color in found]


def _per_file(figures: Figures) -> Chart | None:
    if not figures.per_file.any():
        return None
    names = [str(n) for n in range(MANY_FACES)] + [f"{MANY_FACES} and more"]
    return {
        "svg": _svg(figures.per_file[:, None], ["photos"], ["var(--fi-accent)"], "Photos by their number of faces"),
        "rows": [(name, count) for name, count in zip(names, figures.per_file.tolist(), strict=True) if count],
        "most": int(figures.per_file.max()),
        "names": [*names[:-1], f"{MANY_FACES}+"],
    }


def _clip(clip: Clip, figures: Figures) -> str:
    if not clip.sums.any():
        return ""
    colors = [emotion_color(label) for label in figures.labels]
    return stacked_columns(clip.shares, figures.labels, colors, f"Expressions over time in {figures.short(clip.file)}")


def _portraits(clip: Clip, crops: Crops) -> dict[int, str]:
    """Returns pictures by the numbers of people, as data URLs."""
    return {row["track_id"]: url for row, url in crops.of(row for _, row in clip.best.values())}


def _seconds(value: float) -> str:
    minutes, seconds = divmod(float(value), 60)
    return f"{minutes:.0f} min {seconds:.0f} s" if minutes else f"{seconds:.1f} s"
