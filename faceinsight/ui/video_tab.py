"""The Video tab: a clip in; the annotated clip, its people, charts, a table and files out."""

from __future__ import annotations

import math
import time
from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import chain
from pathlib import Path
from typing import Any

import gradio as gr

from faceinsight.clips import ClipAnalysis, ClipOptions, iter_clip
from faceinsight.errors import MediaError
from faceinsight.export import csv_bytes, result_head
from faceinsight.media.guard import Guard
from faceinsight.records import record_pieces
from faceinsight.svg import EMOTION_COLORS, OTHER_COLOR
from faceinsight.ui import views
from faceinsight.ui.charts import emotion_charts
from faceinsight.ui.engine import MAX_CLIP_FACES, Engine, as_page_error
from faceinsight.ui.examples import CLIP, example_pictures
from faceinsight.ui.files import publish, publish_file, scratch_folder, store
from faceinsight.ui.parts import Settings, named_file, need, request_number
from faceinsight.ui.pictures import data_url
from faceinsight.ui.scripts import file_url, run_script
from faceinsight.ui.templates import example_buttons, table_head, template

# How often the preview and the bar move.
UPDATE_EVERY_S = 0.4
# How long the analysis of a clip is kept for another look at it, after the last one.
STATE_SECONDS = 1800

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Clip:
    """A clip that the page asks about.

    Attributes:
        name: The visitor's name for it.
        path: Where it was uploaded to.
        options: Which part of it to look at, and how often.
        anew: Whether what is known of it is only to be drawn anew.
    """

    name: str
    path: str
    options: ClipOptions
    anew: bool

    @classmethod
    def of(cls, request: Any) -> Clip:
        """Reads what the page sent.

        Raises:
            MediaError: If it names no clip.
        """
        try:
            name, path = named_file(request)
            start, end, rate = (_number(request[key]) for key in ("start", "end", "rate"))
            anew = bool(request["anew"])
        except (KeyError, TypeError) as error:
            raise MediaError("There is no clip yet: upload one first.") from error
        return cls(
            name, need(path, "clip"), ClipOptions(start, end or None, rate or None, max_faces=MAX_CLIP_FACES), anew
        )


def _number(value: Any) -> float:
    """Returns a number above zero that the page sent; 0 for what is none."""
    try:
        number = float(value)
    except (TypeError, ValueError):
        return 0.0
    return number if math.isfinite(number) and number > 0 else 0.0


@dataclass(frozen=True, slots=True)
class Seen:
    """What is known of the clip on the stage: which one, which part of it, its analysis and how that came about."""

    clip: Clip
    analysis: ClipAnalysis
    head: dict[str, Any]


def first_look(clip: Clip, reader: Guard) -> Answer:
    """Returns what a clip says of itself: `words`, and `poster`, its first frame as a data URL."""
    info, pixels = reader.first_look(Path(clip.path), clip.name)
    return {
        "phase": "ready",
        "words": f"{info.duration:.1f} seconds, {info.width} x {info.height} pixels, {info.fps:.3g} frames a second.",
        "poster": data_url(pixels, 80),
    }


def progress(share: float, seconds_left: float | None) -> str:
    """Returns how far a job is, in words."""
    if seconds_left is None:
        return "starting"
    minutes, seconds = divmod(round(seconds_left), 60)
    return f"{share:.0%} · about {f'{minutes} min ' if minutes else ''}{seconds} s left"


def clip_summary(result: ClipAnalysis) -> str:
    """Returns a line about an analysed clip."""
    people = len(result.people())
    most = max(len(analysis.faces) for _, analysis in result.frames)
    return (
        f"{'1 person' if people == 1 else f'{people} people'}, at most {views.count_faces(most)} at once, in "
        f"{len(result.frames)} frames."
    )


def clip_answer(clip: Clip, result: ClipAnalysis, head: dict[str, Any], out: Path) -> Answer:
    """Returns all that the page shows of an analysed clip, and publishes its files.

    Args:
        clip: What was asked for.
        result: Its analysis.
        head: How it came about, as of `result_head`.
        out: The annotated clip, which is moved.
    """
    stem = Path(clip.name).stem
    people = result.people()
    files = {
        "clip": publish_file(out),
        "csv": publish(csv_bytes(result.rows(), ("time", "face")), f"{stem}.csv"),
        "people": publish(csv_bytes([person.as_dict() for person in people], ("track_id",)), f"{stem}-people.csv"),
        "json": publish(chain(record_pieces(head | result.record()), "\n"), f"{stem}.json"),
    }
    rows = views.clip_table(result.frames)
    all_rows = sum(len(analysis.faces) for _, analysis in result.frames)
    return {
        "phase": "done",
        "words": clip_summary(result),
        "note": result.note or "",
        "start": clip.options.start,
        "files": {kind: file_url(Path(path)) for kind, path in files.items()},
        "people": [views.person_card(person, result.portraits.get(person.track_id)) for person in people],
        "charts": emotion_charts(people, result.frames[0][0], result.frames[-1][0]),
        "rows": rows,
        "left_out": f"The first {len(rows)} of {all_rows} rows; the CSV has all." if all_rows > len(rows) else "",
    }


def build_video_tab(engine: Engine, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """
    kept = gr.State(None, time_to_live=STATE_SECONDS)
    clips = [(CLIP, picture, store().page / CLIP) for picture in example_pictures()[:1]]
    stage = gr.HTML(
        None,
        html_template=template("video", examples=example_buttons(clips), head=table_head(views.CLIP_HEADERS)),
        js_on_load=run_script(
            "video.js",
            "start",
            "element",
            "{ props, trigger, upload, watch }",
            colors=EMOTION_COLORS,
            other=OTHER_COLOR,
        ),
        apply_default_css=False,
        padding=False,
        elem_id="video-input",
    )

    def number_of(request: Any) -> Answer:
        return {"request": request_number(request)}

    def on_choice(request: Any) -> Answer:
        try:
            return number_of(request) | first_look(Clip.of(request), engine.reader)
        except Exception as error:
            return number_of(request) | {"phase": "failed", "words": as_page_error(error).message}

    def on_run(request: Any, seen: Seen | None, *values: Any) -> Iterator[tuple[Any, Any, Any]]:
        number, chosen = number_of(request), Settings.of(values)
        try:
            clip = Clip.of(request)
            known = None
            if clip.anew:
                if seen is None or seen.clip.path != clip.path:
                    raise MediaError("What was found in this clip is not kept any more: analyse it again.")
                clip, known = replace(seen.clip, anew=True), seen.analysis
            options = replace(
                clip.options,
                draw=chosen.draw,
                smoothing=chosen.smoothing,
                det_threshold=chosen.det_threshold,
                min_face=chosen.min_face,
            )
            with scratch_folder() as folder:
                out = folder / f"{Path(clip.name).stem}-faces.mp4"
                shown_at, poster = -math.inf, ""
                analyzer = engine.analyzer(chosen.pack)
                head = seen.head if seen and known else result_head(clip.name, **chosen.made(analyzer))
                for step in iter_clip(analyzer, clip.path, out, options, clip.name, engine.reader, known=known):
                    if isinstance(step, ClipAnalysis):
                        answer = number | clip_answer(clip, step, head, out) | {"poster": poster}
                        yield answer, Seen(clip, step, head), engine.status(chosen.pack, step.frames[-1][1])
                    elif time.monotonic() - shown_at >= UPDATE_EVERY_S:
                        shown_at = time.monotonic()
                        store().room.check()
                        preview = data_url(step.preview, 70)
                        # The first frame, annotated: a player shows it until it plays.
                        poster = poster or preview
                        yield (
                            number
                            | {
                                "phase": "running",
                                "share": step.share,
                                "words": progress(step.share, step.seconds_left if step.share else None),
                                "preview": preview,
                            },
                            gr.skip(),
                            gr.skip(),
                        )
        except Exception as error:
            answer = number | {"phase": "failed", "words": as_page_error(error).message}
            yield answer, gr.skip(), engine.status(chosen.pack)

    common: dict[str, Any] = {"show_progress": "hidden", "api_visibility": "private"}
    stage.select(on_choice, stage, stage, concurrency_limit=4, **common)
    job = stage.submit(on_run, [stage, kept, *settings], [stage, kept, status], concurrency_limit=2, **common)
    stage.stop(None, None, None, cancels=[job], queue=False, api_visibility="private")
