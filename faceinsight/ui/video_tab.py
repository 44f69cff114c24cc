"""The Video tab: a clip in; the annotated clip, a table and files out."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import gradio as gr

from faceinsight.clips import ClipAnalysis, ClipOptions, ClipProgress, iter_clip
from faceinsight.errors import FaceInsightError
from faceinsight.export import csv_bytes, to_json
from faceinsight.media.video import probe
from faceinsight.ui import views
from faceinsight.ui.charts import emotion_charts
from faceinsight.ui.components import LiveImage
from faceinsight.ui.engine import Engine, as_page_error, friendly
from faceinsight.ui.files import publish, publish_file, scratch_folder
from faceinsight.ui.parts import Settings, need, results_table
from faceinsight.ui.texts import VIDEO_HINT

# How often the preview and the bar move.
UPDATE_EVERY_S = 0.4
RATES = (("every frame", 0), ("10 a second", 10), ("5 a second", 5), ("2 a second", 2))


def progress_html(share: float, seconds_left: float | None) -> str:
    """Returns the progress bar with the time left, where that is known yet."""
    minutes, seconds = divmod(round(seconds_left or 0), 60)
    left = f"about {minutes} min {seconds} s left" if minutes else f"about {seconds} s left"
    if seconds_left is None:
        left = "starting"
    return (
        f'<div class="clip-progress" role="progressbar" aria-valuemin="0" aria-valuemax="100" '
        f'aria-valuenow="{share * 100:.0f}"><div style="width: {share:.1%}"></div></div>'
        f'<p class="clip-left">{share:.0%} · {left}</p>'
    )


def clip_summary(result: ClipAnalysis, people: int) -> str:
    """Returns a line in Markdown about an analysed clip with so many people."""
    seen = sum(1 for _, analysis in result.frames if analysis.faces)
    most = max(len(analysis.faces) for _, analysis in result.frames)
    rows = sum(len(analysis.faces) for _, analysis in result.frames)
    line = (
        f"**{len(result.frames)} frames** analysed, {seen} with faces, at most {views.count_faces(most)} at once; "
        f"{'**1 person**' if people == 1 else f'**{people} people**'} followed."
    )
    if rows > views.MAX_TABLE_ROWS:
        line += f" The table shows {views.MAX_TABLE_ROWS} of {rows} rows; the CSV has all."
    return line if result.note is None else f"{line}  \n⚠️ {result.note}"


def build_video_tab(engine: Engine, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """
    with gr.Row(equal_height=False):
        with gr.Column(min_width=280):
            source = gr.Video(label="Clip", sources=["upload"], height=340, elem_id="video-input")
            with gr.Row():
                start = gr.Number(0, label="From (s)", minimum=0, min_width=90)
                end = gr.Number(0, label="To (s), 0: end", minimum=0, min_width=90)
                rate = gr.Dropdown(list(RATES), value=0, label="Analyse", min_width=120)
            with gr.Row():
                run = gr.Button("Analyse", variant="primary", elem_id="video-run")
                cancel = gr.Button("Cancel", variant="stop", interactive=False, elem_id="video-cancel")
        with gr.Column(min_width=280):
            with gr.Column(visible=False) as preview_frame:
                preview = LiveImage(
                    interactive=False,
                    label="Preview",
                    height=340,
                    buttons=[],
                    elem_id="video-preview",
                )
            annotated = gr.Video(label="Annotated clip", height=340, interactive=False, elem_id="video-output")
            bar = gr.HTML("", elem_id="video-progress")
    notice = gr.Markdown(VIDEO_HINT, elem_id="video-notice", elem_classes="notice")
    people = results_table(
        views.PEOPLE_HEADERS, views.PEOPLE_WIDTHS, "One row a person", 260, "video-people", visible=False
    )
    charts = gr.HTML("", elem_id="video-charts")
    table = results_table(
        views.CLIP_HEADERS,
        views.CLIP_WIDTHS,
        "One row a face and analysed frame",
        360,
        "video-table",
    )
    with gr.Row():
        csv_file = gr.DownloadButton("Download CSV", interactive=False, min_width=150)
        json_file = gr.DownloadButton("Download JSON", interactive=False, min_width=150)

    def idle(message: str) -> dict[Any, Any]:
        return {
            preview: None,
            preview_frame: gr.Column(visible=False),
            annotated: gr.Video(visible=True),
            bar: "",
            notice: message,
            run: gr.Button(interactive=True),
            cancel: gr.Button(interactive=False),
        }

    def running(step: ClipProgress | None) -> dict[Any, Any]:
        if step is not None:
            return {preview: step.preview, bar: progress_html(step.share, step.seconds_left)}
        return {
            preview_frame: gr.Column(visible=True),
            annotated: gr.Video(value=None, visible=False),
            bar: progress_html(0, None),
            notice: "Analysing…",
            run: gr.Button(interactive=False),
            cancel: gr.Button(interactive=True),
            people: gr.Dataframe(value=[], visible=False),
            charts: "",
            table: [],
            csv_file: gr.DownloadButton(value=None, interactive=False),
            json_file: gr.DownloadButton(value=None, interactive=False),
        }

    def finished(path: str, clip: str, result: ClipAnalysis, pack: str) -> dict[Any, Any]:
        stem = Path(path).stem
        seen = result.people()
        return idle(clip_summary(result, len(seen))) | {
            annotated: gr.Video(value=clip, visible=True),
            people: gr.Dataframe(value=views.people_table(seen), visible=bool(seen)),
            charts: emotion_charts(seen, result.frames[0][0], result.frames[-1][0]),
            table: views.clip_table(result.frames),
            csv_file: gr.DownloadButton(
                value=publish(csv_bytes(result.rows(), ("time", "face")), f"{stem}.csv"),
                interactive=True,
            ),
            json_file: gr.DownloadButton(value=publish(to_json(result.as_dict()), f"{stem}.json"), interactive=True),
            status: engine.status(pack, result.frames[-1][1]),
        }

    def on_run(
        path: str | None, start_s: float | None, end_s: float | None, per_second: int, *values: Any
    ) -> Iterator[dict[Any, Any]]:
        chosen = Settings.of(values)
        options = ClipOptions(
            start=start_s or 0.0,
            end=end_s or None,
            rate=per_second or None,
            draw=chosen.draw,
            smoothing=chosen.smoothing,
            **chosen.detect,
        )
        try:
            path = need(path, "clip")
            with scratch_folder() as folder:
                out = folder / f"{Path(path).stem}-faces.mp4"
                steps = iter_clip(engine.analyzer(chosen.pack), path, out, options, Path(path).name)
                yield running(None)
                shown_at = 0.0
                result = None
                for step in steps:
                    if isinstance(step, ClipAnalysis):
                        result = step
                    elif time.monotonic() - shown_at >= UPDATE_EVERY_S:
                        shown_at = time.monotonic()
                        yield running(step)
                assert result is not None
                yield finished(path, publish_file(out), result, chosen.pack)
        except FaceInsightError as error:
            yield idle(f"⚠️ {error}")
        except Exception as error:
            yield idle(f"⚠️ {as_page_error(error).message}")

    def on_upload(path: str | None) -> str:
        if path is None:
            return VIDEO_HINT
        try:
            info = probe(path, Path(path).name)
        except FaceInsightError as error:
            return f"⚠️ {error}"
        return (
            f"{info.duration:.1f} seconds, {info.width} x {info.height} pixels, "
            f"{info.fps:.3g} frames a second. Press *Analyse*."
        )

    outputs = [
        preview,
        preview_frame,
        annotated,
        bar,
        notice,
        run,
        cancel,
        people,
        charts,
        table,
        csv_file,
        json_file,
        status,
    ]
    source.change(friendly(on_upload), source, notice, show_progress="hidden", api_visibility="private")
    job = run.click(
        on_run,
        [source, start, end, rate, *settings],
        outputs,
        show_progress="hidden",
        concurrency_limit=2,
        api_visibility="private",
    )
    cancel.click(
        lambda: idle("Cancelled; nothing was kept."),
        None,
        [preview, preview_frame, annotated, bar, notice, run, cancel],
        cancels=[job],
        queue=False,
        api_visibility="private",
    )
