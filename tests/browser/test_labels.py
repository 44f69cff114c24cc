"""The page's overlay: the same places as in drawn pictures, over nobody's face; chosen by mouse and by keys."""

from __future__ import annotations

import base64
import random
from dataclasses import asdict
from pathlib import Path

import pytest

from faceinsight import DrawOptions, Face, FaceAnalyzer, load_image
from faceinsight.label_layout import LabelLayout, core_of, overlaps, place_labels
from faceinsight.ui.views import overlay
from tests.browser.driving import PHONE
from tests.conftest import ROOT
from tests.material import both, photo
from tests.test_label_layout import FRIENDS, GAP, PHOTOS, SIZE, crowd, hidden, shaken

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::ResourceWarning")]
PICTURES = ROOT / "test-results"

PLACE = """async ([url, size, faces, gap]) => {
    const { placeLabels } = await import(url);
    return placeLabels(size, faces, gap);
}"""
FOLLOW = """async ([url, size, frames, gap]) => {
    const { LabelLayout } = await import(url);
    const layout = new LabelLayout();
    return frames.map((faces) => layout.place(size, faces, faces.map((_, n) => n + 1), gap));
}"""
# Shows a picture with an overlay and nothing else; what it is told to choose it marks.
OVERLAY = """async ([url, picture, size, faces, width]) => {
    const { Overlay } = await import(url);
    const place = document.createElement("div");
    place.style.cssText = `position: relative; width: ${width}px`;
    const image = Object.assign(new Image(), { id: "picture", src: picture });
    image.style.cssText = "display: block; width: 100%";
    place.append(image);
    document.body.replaceChildren(place);
    await image.decode();
    const scene = { size, faces, blur: false, chosen: null };
    window.told = [];
    window.overlay = new Overlay(image, {
        choose: (id) => { window.told.push(id); overlay.show({ ...scene, chosen: id }); },
    });
    overlay.show(scene);
    return [overlay.labels, image.clientWidth / size[0]];
}"""


def plain(faces):
    return [asdict(face) for face in faces]


def rounded(places):
    return [
        place
        and (
            place["variant"],
            place["spot"],
            [round(v, 6) for v in place["box"]],
            place["leader"] and [round(v, 6) for v in place["leader"]],
        )
        for place in places
    ]


def test_the_page_places_labels_as_python_does(visit):
    for count in (1, 2, 5, 12, 30, 60, 80):
        for seed in range(3):
            faces = crowd(seed, count)
            ours = [place and asdict(place) for place in place_labels(SIZE, faces, GAP)]
            theirs = visit.page.evaluate(PLACE, [visit.module("labels.js"), SIZE, plain(faces), GAP])
            assert rounded(theirs) == rounded(ours)


def test_and_keeps_them_from_frame_to_frame_as_python_does(visit):
    dice = random.Random(3)
    frames = [shaken(crowd(5, 14), dice, 6) for _ in range(60)]
    layout = LabelLayout()
    ours = [
        rounded([place and asdict(place) for place in layout.place(SIZE, faces, range(1, 15), GAP)]) for faces in frames
    ]
    theirs = visit.page.evaluate(FOLLOW, [visit.module("labels.js"), SIZE, [plain(f) for f in frames], GAP])
    assert list(map(rounded, theirs)) == ours


def show(visit, name, faces=None, width=900):
    """Shows a photo with an overlay; returns its faces, its labels in pixels of the screen, and their scale."""
    path = photo(name)
    loaded = load_image(path)
    analysis = FaceAnalyzer("compact").analyze(loaded.pixels)
    scene = overlay(analysis, DrawOptions())
    picture = f"data:image/jpeg;base64,{base64.b64encode(path.read_bytes()).decode()}"
    labels, scale = visit.page.evaluate(
        OVERLAY, [visit.module("overlay.js"), picture, scene["size"], scene["faces"] if faces is None else faces, width]
    )
    return analysis.faces, labels, scale


def check_page(faces, labels, scale):
    class Shown:
        def __init__(self, box):
            self.box = tuple(side / scale for side in box)

    places = [label and Shown(label) for label in labels]
    assert hidden(faces, places) == 0
    shown = [place.box for place in places if place]
    assert not any(overlaps(shown[n], other) for n in range(len(shown)) for other in shown[:n])
    assert not any(overlaps(box, core_of(face)) for box in shown for face in faces)
    assert len(shown) == len(faces)


@pytest.mark.parametrize("name", both([FRIENDS], list(PHOTOS)))
def test_no_label_hides_a_face_in_the_page(visit, name):
    for width in (PHONE["width"], 900):
        check_page(*show(visit, name, width=width))
        visit.page.screenshot(path=str(PICTURES / f"overlay-{Path(name).stem}-{width}.png"))


def test_on_a_narrow_screen_only_who_is_marked_has_all_words(visit):
    def wide(labels):
        return [n for n, label in enumerate(labels, start=1) if label[2] - label[0] > 50]

    faces, labels, scale = show(visit, FRIENDS, width=PHONE["width"] - 40)
    assert (len(faces), wide(labels)) == (6, [])
    x1, y1, x2, y2 = (side * scale for side in faces[2].bbox)
    visit.page.locator("#picture").click(position={"x": (x1 + x2) / 2, "y": (y1 + y2) / 2})
    assert wide(visit.page.evaluate("overlay.labels")) == [3]


def told(visit):
    return visit.page.evaluate("window.told")


def test_faces_are_chosen_by_mouse_and_by_keys(visit):
    faces, labels, scale = show(visit, FRIENDS)
    x1, y1, x2, y2 = (side * scale for side in faces[2].bbox)
    picture = visit.page.locator("#picture")
    picture.hover(position={"x": (x1 + x2) / 2, "y": (y1 + y2) / 2})
    assert picture.evaluate("image => image.style.cursor") == "pointer"
    picture.click(position={"x": (x1 + x2) / 2, "y": (y1 + y2) / 2})
    # A label stands for its face.
    left, top, right, bottom = labels[4]
    picture.click(position={"x": (left + right) / 2, "y": (top + bottom) / 2})
    picture.click(position={"x": 2, "y": 2})
    assert told(visit) == [3, 5, None]
    assert picture.evaluate("image => image.style.cursor") == ""
    canvas = visit.page.locator("canvas")
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft", "ArrowLeft", "Escape", "x"):
        canvas.press(key)
    assert told(visit)[3:] == [1, 2, 1, 6, None]
    assert canvas.get_attribute("aria-label")


def test_a_chosen_face_is_marked_all_round(visit):
    faces, _, scale = show(visit, FRIENDS)
    x1, _, _, y2 = faces[2].bbox
    middle = (round(x1 * scale), round((faces[2].bbox[1] + y2) / 2 * scale))
    pixel = """([x, y]) => {
        const canvas = document.querySelector("canvas");
        const data = canvas.getContext("2d").getImageData(x - 3, y, 7, 1).data;
        return [...data].some((value, n) => n % 4 === 3 && value > 200);
    }"""
    assert not visit.page.evaluate(pixel, middle)
    visit.page.locator("#picture").click(position={"x": middle[0] + 30, "y": middle[1]})
    assert visit.page.evaluate(pixel, middle)


def test_nobody_and_faces_without_a_number(visit):
    _, labels, _ = show(visit, FRIENDS, faces=[])
    assert labels == []
    face = Face((200.0, 200.0, 300.0, 300.0), 0.9)
    nobody = {"id": 0, "box": face.bbox, "core": core_of(face), "color": "red", "tag": "", "lines": ["30 y"]}
    _, labels, scale = show(visit, FRIENDS, faces=[nobody])
    assert labels[0]
    visit.page.locator("#picture").click(position={"x": 250 * scale, "y": 250 * scale})
    assert told(visit) == [None]
