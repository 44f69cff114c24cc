"""The Image tab: one picture in; faces, table, bars and files out."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Any

import gradio as gr

from faceinsight.drawing import draw
from faceinsight.errors import FaceInsightError
from faceinsight.export import analysis_dict, csv_bytes, rows_of, to_json
from faceinsight.media.image import encode_image, load_image
from faceinsight.results import FrameAnalysis
from faceinsight.ui import views
from faceinsight.ui.components import UploadedImage
from faceinsight.ui.engine import Engine, friendly
from faceinsight.ui.files import publish
from faceinsight.ui.parts import Settings, results_table
from faceinsight.ui.texts import IMAGE_HINT

STATE_SECONDS = 1800


def example_pictures() -> list[str]:
    """Returns pictures with faces that come with installed dependencies."""
    wanted = (("insightface", "data/images/t1.jpg"), ("skimage", "data/astronaut.png"))
    paths = []
    for package, name in wanted:
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            path = Path(spec.origin).parent / name
            if path.is_file():
                paths.append(str(path))
    return paths


def build_image_tab(engine: Engine, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """
    analysis_state = gr.State(None, time_to_live=STATE_SECONDS)
    with gr.Row(equal_height=False):
        with gr.Column(min_width=280):
            source = UploadedImage(
                type="filepath",
                image_mode=None,
                label="Picture",
                sources=["upload", "clipboard", "webcam"],
                height=400,
                elem_id="image-input",
            )
        with gr.Column(min_width=280):
            annotated = gr.Image(
                label="Faces",
                format="jpeg",
                interactive=False,
                height=400,
                buttons=["fullscreen"],
                elem_id="image-output",
            )
    notice = gr.Markdown(IMAGE_HINT, elem_id="image-notice", elem_classes="notice")
    gr.Examples(example_pictures(), inputs=source, label="Examples", elem_id="image-examples")
    gallery = gr.Gallery(
        label="Faces found",
        show_label=False,
        format="jpeg",
        columns=6,
        fit_columns=False,
        height=190,
        object_fit="cover",
        allow_preview=False,
        interactive=False,
        buttons=[],
        elem_id="image-gallery",
    )
    with gr.Row(equal_height=False):
        with gr.Column(scale=3, min_width=280):
            table = results_table(views.HEADERS, views.WIDTHS, "One row a face", 330, "image-table")
        with gr.Column(scale=1, min_width=240):
            bars = gr.Label(label="Emotion", show_heading=False, elem_id="image-bars")
    with gr.Row():
        files = {
            "csv": gr.DownloadButton("Download CSV", interactive=False, min_width=150),
            "json": gr.DownloadButton("Download JSON", interactive=False, min_width=150),
            "picture": gr.DownloadButton("Download picture", interactive=False, min_width=150),
        }

    outputs = [analysis_state, annotated, notice, gallery, table, bars, *files.values(), status]

    def cleared() -> dict[Any, Any]:
        return {
            analysis_state: None,
            annotated: None,
            notice: IMAGE_HINT,
            gallery: [],
            table: [],
            bars: gr.Label(value=None, label="Emotion"),
            **{button: gr.DownloadButton(value=None, interactive=False) for button in files.values()},
        }

    def on_picture(path: str | None, previous: FrameAnalysis | None, *values: Any) -> dict[Any, Any]:
        if path is None:
            return cleared()
        chosen = Settings.of(values)
        try:
            loaded = load_image(path, Path(path).name)
            analysis = engine.analyzer(chosen.pack).analyze(loaded.pixels, **chosen.detect)
        except FaceInsightError as error:
            kept = "  \nThe results below are of the picture before." if previous else ""
            return {notice: f"⚠️ {error}{kept}", status: engine.status(chosen.pack)}
        drawn = draw(loaded.pixels, analysis.faces, chosen.draw)
        stem = Path(path).stem
        record = {"file": Path(path).name, **analysis_dict(analysis)}
        links = {
            "csv": publish(csv_bytes(rows_of(analysis, file=Path(path).name)), f"{stem}.csv"),
            "json": publish(to_json(record), f"{stem}.json"),
            "picture": publish(encode_image(drawn), f"{stem}-faces.jpg"),
        }
        first = analysis.largest
        thumbs = drawn if chosen.blur else loaded.pixels
        return {
            analysis_state: analysis,
            annotated: drawn,
            notice: views.summary(analysis, loaded.note),
            gallery: gr.Gallery(value=views.gallery(thumbs, analysis), selected_index=first),
            table: views.table(analysis),
            bars: bars_of(analysis, first),
            **{files[kind]: gr.DownloadButton(value=link, interactive=True) for kind, link in links.items()},
            status: engine.status(chosen.pack, analysis),
        }

    def bars_of(analysis: FrameAnalysis | None, index: int | None) -> gr.Label:
        face = None if analysis is None or index is None else analysis.faces[index]
        return gr.Label(value=views.bars(face), label=views.bars_title(analysis, index))

    def on_face_of_gallery(analysis: FrameAnalysis | None, event: gr.SelectData) -> gr.Label:
        return bars_of(analysis, event.index)

    def on_face_of_table(analysis: FrameAnalysis | None, event: gr.SelectData) -> dict[Any, Any]:
        index = event.index[0]
        return {bars: bars_of(analysis, index), gallery: gr.Gallery(selected_index=index)}

    gr.on(
        [source.change, *(component.change for component in settings)],
        friendly(on_picture),
        [source, analysis_state, *settings],
        outputs,
        show_progress="minimal",
        show_progress_on=annotated,
        trigger_mode="always_last",
        concurrency_limit=4,
        api_visibility="private",
    )
    gallery.select(friendly(on_face_of_gallery), analysis_state, bars, api_visibility="private", queue=False)
    table.select(
        friendly(on_face_of_table),
        analysis_state,
        [bars, gallery],
        api_visibility="private",
        queue=False,
    )
