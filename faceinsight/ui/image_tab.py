"""The Image tab: photos in; what is drawn over them, cards, a table and files out."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import gradio as gr

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.errors import FaceInsightError, MediaError
from faceinsight.export import BOM, analysis_dict, result_head, to_csv, to_json
from faceinsight.media.guard import Guard
from faceinsight.media.image import LoadedImage
from faceinsight.records import record_rows
from faceinsight.results import FrameAnalysis
from faceinsight.svg import EMOTION_COLORS, OTHER_COLOR
from faceinsight.ui import views
from faceinsight.ui.engine import Engine, as_page_error
from faceinsight.ui.examples import example_pictures
from faceinsight.ui.parts import Settings, named_file, request_number
from faceinsight.ui.pictures import data_url, look_at
from faceinsight.ui.scripts import run_script
from faceinsight.ui.templates import example_buttons, table_head, template

MAX_PHOTOS = 50
# The first photo is shown as soon as may be; the others come in groups, their faces in one batch.
GROUP = 8
# A group that is as large ends there.
GROUP_PIXELS = 24_000_000

Answer = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Photo:
    """A photo that the page asks about.

    Attributes:
        name: The visitor's name for it.
        path: Where it was uploaded to; "" where that failed.
        problem: Why it failed.
        preview: Whether the browser cannot show it.
    """

    name: str
    path: str
    problem: str
    preview: bool

    @classmethod
    def all_of(cls, request: Any) -> list[Photo]:
        """Reads what the page sent.

        Raises:
            MediaError: If it is no list of at most `MAX_PHOTOS` photos.
        """
        try:
            photos = [cls(*named_file(p), str(p["problem"])[:500], bool(p["preview"])) for p in request["photos"]]
        except (KeyError, TypeError) as error:
            raise MediaError("There is no picture yet: upload one first.") from error
        if not 0 < len(photos) <= MAX_PHOTOS:
            raise MediaError(f"{len(photos)} photos are no number to look at: choose 1 to {MAX_PHOTOS}.")
        return photos

    def load(self, reader: Guard) -> LoadedImage | str:
        """Returns the picture, or a sentence that says why there is none."""
        if not self.path:
            return self.problem or f"{self.name} was not uploaded: try again."
        try:
            return reader.image(Path(self.path), self.name)
        except FaceInsightError as error:
            return str(error)


def answers_about(
    photos: list[Photo], reader: Guard, analyzer: FaceAnalyzer, chosen: Settings
) -> Iterator[list[Answer]]:
    """Analyses photos, the first one by itself, and yields the answers about each group.

    Args:
        photos: What to analyse.
        reader: Who reads the files.
        analyzer: The models.
        chosen: The visitor's settings.

    Yields:
        An object a photo: what `views.overlay` returns (`size` is None for one that cannot be read), `words`,
        `note`, `problem`, `preview` (a data URL or ""), and for the files `analysis` (None likewise).
    """
    for group in _groups(photos, reader):
        images = [image for _, image in group if isinstance(image, LoadedImage)]
        with reader.work_on([image.pixels for image in images]):
            analyses = iter(look_at(images, analyzer, **chosen.detect))
            answers = [
                _unread(image) if isinstance(image, str) else _seen(photo, image, next(analyses), chosen)
                for photo, image in group
            ]
        yield answers


def _groups(photos: list[Photo], reader: Guard) -> Iterator[list[tuple[Photo, LoadedImage | str]]]:
    group: list[tuple[Photo, LoadedImage | str]] = []
    pixels = 0
    for number, photo in enumerate(photos):
        image = photo.load(reader)
        group.append((photo, image))
        pixels += 0 if isinstance(image, str) else image.pixels.size // 3
        if number == 0 or len(group) == GROUP or pixels > GROUP_PIXELS:
            yield group
            group, pixels = [], 0
    if group:
        yield group


def _unread(problem: str) -> Answer:
    blank: Answer = {"size": None, "faces": [], "without": "", "note": "", "preview": "", "analysis": None}
    return blank | {"words": problem, "problem": problem}


def _seen(photo: Photo, image: LoadedImage, analysis: FrameAnalysis, chosen: Settings) -> Answer:
    return views.overlay(analysis, chosen.draw) | {
        "words": views.summary(analysis),
        "note": image.note or "",
        "problem": "",
        "preview": data_url(image.pixels) if photo.preview else "",
        "analysis": analysis,
    }


def files_of(photos: list[Photo], seen: list[Answer], made: dict[str, Any]) -> dict[str, str]:
    """Returns the text of the files over all photos, `csv` and `json`; `made` is for `result_head`."""
    records = [
        result_head(photo.name, **made)
        | ({"error": a["problem"]} if a["analysis"] is None else analysis_dict(a["analysis"]))
        for photo, a in zip(photos, seen, strict=True)
    ]
    rows = [row for record in records for row in record_rows(record)]
    return {"csv": BOM + to_csv(rows), "json": to_json(records[0] if len(records) == 1 else records)}


def answer_of(number: Any, photos: list[Photo], seen: list[Answer], made: dict[str, Any]) -> Answer:
    """Returns what the page is told of the photos that were looked at so far."""
    done = len(seen) == len(photos)
    faces = sum(len(a["faces"]) for a in seen)
    return {
        "request": number,
        "photos": [{key: value for key, value in a.items() if key != "analysis"} for a in seen],
        "words": seen[0]["words"] if len(photos) == 1 else views.photos_summary(len(seen), len(photos), faces),
        "done": done,
        **(files_of(photos, seen, made) if done else {"csv": "", "json": ""}),
    }


def build_image_tab(engine: Engine, settings: list[gr.components.Component], status: gr.Markdown) -> None:
    """Builds the tab inside the current Blocks context.

    Args:
        engine: The app's models.
        settings: The drawer's components, in the order of `Settings`.
        status: The page's status line.
    """
    pictures = [(path.name, path, path) for path in example_pictures()]
    stage = gr.HTML(
        None,
        html_template=template("image", examples=example_buttons(pictures), head=table_head(views.HEADERS)),
        js_on_load=run_script(
            "image.js",
            "start",
            "element",
            "{ props, trigger, upload, watch }",
            colors=EMOTION_COLORS,
            other=OTHER_COLOR,
            most=MAX_PHOTOS,
        ),
        apply_default_css=False,
        padding=False,
        elem_id="image-input",
    )

    def on_photos(request: Any, *values: Any) -> Iterator[tuple[Answer, str]]:
        number = request_number(request)
        chosen = Settings.of(values)
        try:
            photos = Photo.all_of(request)
            seen: list[Answer] = []
            analyzer = engine.analyzer(chosen.pack)
            for group in answers_about(photos, engine.reader, analyzer, chosen):
                seen += group
                last = next((a["analysis"] for a in reversed(seen) if a["analysis"]), None)
                answer = answer_of(number, photos, seen, chosen.made(analyzer))
                yield answer, engine.status(chosen.pack, last)
        except Exception as error:
            problem = as_page_error(error).message
            blank: Answer = {"request": number, "photos": [], "done": False, "csv": "", "json": ""}
            yield blank | {"words": problem}, engine.status(chosen.pack)

    stage.submit(
        on_photos,
        [stage, *settings],
        [stage, status],
        show_progress="hidden",
        # The page itself sends one after another: Gradio loses the last one now and then.
        trigger_mode="multiple",
        concurrency_limit=4,
        api_visibility="private",
    )
