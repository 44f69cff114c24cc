"""The page's jobs as named HTTP endpoints, for programs: typed inputs, JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import gradio as gr

from faceinsight.clips import ClipOptions, analyze_clip
from faceinsight.export import analysis_dict, result_head
from faceinsight.ui.components import UploadedImage
from faceinsight.ui.engine import MAX_CLIP_FACES, Engine, friendly
from faceinsight.ui.parts import min_face_slider, need, threshold_slider
from faceinsight.ui.pictures import look_at


def build_api(engine: Engine) -> None:
    """Adds `/analyze_image` and `/analyze_video` to the current Blocks context.

    Args:
        engine: The app's models.
    """

    def analyze_image(image: str | None, det_threshold: float, min_face: float, pack: str) -> dict[str, Any]:
        """Finds every face of a picture with its apparent age, gender and emotion.

        Args:
            image: The picture: JPEG, PNG, WebP, HEIC, at most 64 megapixels. Above 16 it is looked at smaller, as
                note says; boxes and key points are in its own pixels all the same.
            det_threshold: Faces with a lower detection score are left out, 0.1 to 0.95.
            min_face: Faces whose longest side is shorter, in pixels, are left out.
            pack: The model pack; empty for the app's own.

        Returns:
            file, version, date, pack, pack_hash, det_threshold, min_face, note, width, height, stages, missing,
            timings_ms and faces: one object a face with age, gender, emotion, their confidences, box and key points.
        """
        path = need(image, "picture")
        name = Path(path).name
        analyzer = engine.analyzer(pack or None)
        loaded = engine.reader.image(Path(path), name)
        with engine.reader.work_on([loaded.pixels]):
            (analysis,) = look_at([loaded], analyzer, det_threshold, min_face)
        head = result_head(name, analyzer.pack.name, analyzer.pack_hash, det_threshold, min_face)
        return {**head, "note": loaded.note, **analysis_dict(analysis)}

    def analyze_video(
        video: str | None,
        start: float,
        end: float,
        rate: float,
        det_threshold: float,
        min_face: float,
        pack: str,
    ) -> dict[str, Any]:
        """Finds every face of a clip, frame by frame.

        Args:
            video: The clip: MP4, MOV, WebM or MKV, up to 4K. Above Full HD it is made smaller, as note, width and
                height say.
            start: Seconds at which to begin.
            end: Seconds at which to stop; 0 for the end of the clip.
            rate: Analyses a second; 0 for every frame.
            det_threshold: New faces with a lower detection score are left out, 0.1 to 0.95.
            min_face: Faces whose longest side is shorter, in pixels, are left out.
            pack: The model pack; empty for the app's own.

        Returns:
            file, version, date, pack, pack_hash, det_threshold, min_face, width, height, fps, duration, stages,
            missing, note, frames (how many were analysed), people (who was seen, with seconds on screen) and rows:
            one object a face and frame, led by its time in seconds.
        """
        path = need(video, "clip")
        options = ClipOptions(start, end or None, rate or None, det_threshold, min_face, max_faces=MAX_CLIP_FACES)
        name = Path(path).name
        analyzer = engine.analyzer(pack or None)
        result = analyze_clip(analyzer, path, options=options, name=name, reader=engine.reader)
        return {
            **result_head(name, analyzer.pack.name, analyzer.pack_hash, det_threshold, min_face),
            **result.as_dict(),
        }

    with gr.Group(visible=False):
        answer = gr.JSON(label="analysis")
        pack = gr.Textbox("", label="Model pack")
        gr.Button("analyze_image").click(
            friendly(analyze_image),
            [
                UploadedImage(type="filepath", image_mode=None, label="Picture"),
                threshold_slider(),
                min_face_slider(),
                pack,
            ],
            answer,
            api_name="analyze_image",
            concurrency_limit=4,
        )
        gr.Button("analyze_video").click(
            friendly(analyze_video),
            [
                gr.Video(label="Clip"),
                gr.Number(0, label="From (s)"),
                gr.Number(0, label="To (s)"),
                gr.Number(0, label="Analyses a second"),
                threshold_slider(),
                min_face_slider(),
                pack,
            ],
            answer,
            api_name="analyze_video",
            concurrency_limit=2,
        )
