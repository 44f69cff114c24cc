"""Files of visitors over HTTP: nobody gets, by whatever way, a file that is not theirs."""

from __future__ import annotations

import json
import os
import re
import time
import urllib.parse
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from faceinsight.errors import MediaError
from faceinsight.ui.examples import example_pictures
from faceinsight.ui.files import FileStore
from faceinsight.ui.scripts import scripts_folder
from faceinsight.ui.visitors import Visitor
from tests.conftest import ROOT
from tests.toy_media import toy_frames, write_clip
from tests.visits import FILE, META, Browser, events_with, sent

REFUSED = "This is no file that you uploaded here, or it has been deleted since: upload it again."


@pytest.fixture
def photo(tmp_path, two_faces) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(two_faces).save(path)
    return path


KINDS = {
    "path": "{photo}",
    "link": "{folder}/link.png",
    "link inside": "{inside}",
    "fifo": "{folder}/fifo",
    "folder": "{folder}",
    "upload folder": "{store}",
    "relative": "{relative}",
    "dots": "{store}/page/../../../photo.png",
    "none": "{folder}/none.png",
    "proc": "/proc/self/environ",
    "root of proc": "/proc/self/root{photo}",
    "zero": "/dev/zero",
    "stdin": "/dev/stdin",
    "file url": "file://{photo}",
    "http url": "http://127.0.0.1:9/photo.png",
    "nul": "{photo}\0.png",
    "long": "/" + "a" * 100_000,
    "surrogate": "/tmp/\ud800",
    "empty": "",
    "code": "faceinsight/__init__.py",
}


@pytest.fixture
def stray(app, photo, request) -> str:
    """A path of one of the kinds above, to what could be analysed if it were read."""
    folder = photo.parent
    (store,) = app.temporary.glob("faceinsight-*")
    inside = store / "page" / "link.png"
    (folder / "link.png").symlink_to(photo)
    os.mkfifo(folder / "fifo")
    inside.parent.mkdir(exist_ok=True)
    inside.symlink_to(photo)
    yield KINDS[request.param].format(
        photo=photo, folder=folder, store=store, inside=inside, relative=os.path.relpath(photo, ROOT)
    )
    inside.unlink()


def shapes(path: str) -> list[Any]:
    """Returns what a client may send for a file: as it should be, and otherwise."""
    return [
        {"path": path},
        {"path": path} | META,
        {"path": path, "url": path, "is_stream": True} | META,
        {"path": None, "url": path} | META,
        {"path": path, "meta": None},
        {"path": path, "meta": {"_type": "other"}},
        {"path": [path]},
        {"url": path},
        [{"path": path} | META],
        {"image": {"path": path}},
    ]


@pytest.mark.parametrize("stray", KINDS, indirect=True)
def test_no_endpoint_reads_a_file_that_was_not_uploaded(app, stray):
    visitor = Browser(app).open()
    for endpoint, rest in (("analyze_image", [0.5, 0, ""]), ("analyze_video", [0, 0, 5, 0.5, 0, ""])):
        for shape in shapes(stray)[:4]:
            began = time.monotonic()
            assert refused(visitor, endpoint, [shape, *rest]), (endpoint, shape)
            assert time.monotonic() - began < 20
    status, _ = visitor.ask("POST", "/gradio_api/run/analyze_image", {"data": [{"path": stray}, 0.5, 0, ""]})
    assert status == 404
    name = {"image": {"path": stray} | META, "det_threshold": 0.5, "min_face": 0, "pack": ""}
    status, answer = visitor.ask("POST", "/gradio_api/call/v2/analyze_image", name)
    assert status == 200
    assert REFUSED in visitor.stream(f"/gradio_api/call/analyze_image/{json.loads(answer)['event_id']}")
    assert "Traceback" not in app.output


def refused(visitor: Browser, endpoint: str, data: list[Any]) -> bool:
    status, answer = visitor.ask("POST", f"/gradio_api/call/{endpoint}", {"data": data})
    assert status == 200, answer
    said = visitor.stream(f"/gradio_api/call/{endpoint}/{json.loads(answer)['event_id']}")
    return "event: error" in said and json.dumps(REFUSED) in said


@pytest.mark.parametrize("stray", KINDS, indirect=True)
def test_no_event_of_the_page_reads_a_file_that_was_not_uploaded(app, stray):
    visitor = Browser(app).open()
    for component in ("image-input", "video-input"):
        for event, values in events_with(visitor, component):
            for shape in shapes(stray)[:2]:
                said = visitor.join(event, [sent(component, shape) if value is FILE else value for value in values])
                assert f'"error":{json.dumps(REFUSED)}' in said, (component, event["id"], shape)
            if not event["queue"]:
                body = {"fn_index": event["id"], "data": [{"path": stray}], "session_hash": visitor.session}
                status, answer = visitor.ask("POST", "/gradio_api/run/predict", body)
                assert (status, REFUSED in answer.decode()) == (500, True)
    assert "Traceback" not in app.output


@pytest.mark.parametrize("stray", KINDS, indirect=True)
def test_no_function_of_a_component_gets_a_file_that_was_not_uploaded(app, stray, photo):
    visitor = Browser(app).open()
    own = visitor.upload(photo)
    for part in visitor.config()["components"]:
        for name in part["props"].get("server_fns", ()):
            for shape in shapes(stray):
                body = {"data": shape, "component_id": part["id"], "session_hash": visitor.session, "fn_name": name}
                status, answer = visitor.ask("POST", "/gradio_api/component_server", body)
                # Half a pair of surrogates is no JSON to begin with.
                assert (status, REFUSED in answer.decode() or stray == KINDS["surrogate"]) == (400, True)
                # Nor beside a file that is theirs.
                status, answer = visitor.ask("POST", "/gradio_api/component_server", body | {"path": own} | META)
                assert status == 400
    assert "Traceback" not in app.output


@pytest.mark.parametrize("stray", KINDS, indirect=True)
def test_no_url_gives_a_file_that_was_not_uploaded(app, stray):
    if stray.isascii() and len(stray) < 1000:
        status, answer = Browser(app).open().ask("GET", f"/gradio_api/file={urllib.parse.quote(stray)}")
        # An empty path is no address to begin with.
        sentence = REFUSED if stray else "There is nothing at this address."
        assert (status, json.loads(answer)) == (404, {"detail": sentence})


def test_no_visitor_gets_a_file_of_another(app, photo):
    ann, bob, program = Browser(app).open(), Browser(app).open(), Browser(app)
    path = ann.upload(photo)
    url = f"/gradio_api/file={urllib.parse.quote(path)}"
    assert ann.ask("GET", url) == (200, photo.read_bytes())
    assert not refused(ann, "analyze_image", [{"path": path} | META, 0.5, 0, ""])
    (event, values), *_ = events_with(ann, "image-input")
    file = sent("image-input", {"path": path} | META)
    assert "2 faces" in ann.join(event, [file if value is FILE else value for value in values])
    for other in (bob, program):
        for address in (url, url.replace("/visitors/", "/page/../visitors/"), f"{url}/"):
            status, answer = other.ask("GET", address)
            assert (status, json.loads(answer)) == (404, {"detail": REFUSED})
        # By knowing the session as well: it is no secret.
        other.session = ann.session
        assert refused(other, "analyze_image", [{"path": path} | META, 0.5, 0, ""])
        body = {"data": [file if value is FILE else value for value in values], "fn_index": event["id"]}
        status, answer = other.ask("POST", "/gradio_api/queue/join", body | {"session_hash": ann.session})
        assert (status, b"belongs to another visitor" in answer) == (403, True)


@pytest.mark.parametrize("shape", range(10))
def test_no_shape_of_a_request_hides_a_file(tmp_path, photo, shape):
    store = FileStore(tmp_path / "store")
    for kind in KINDS.values():
        path = kind.format(
            photo=photo, folder=tmp_path, store=store.root, inside=photo, relative=os.path.relpath(photo)
        )
        for value in ({"a": [{"b": shapes(path)[shape]}]}, [[shapes(path)[shape]]]):
            with pytest.raises(MediaError, match=REFUSED):
                store.admit(value, Visitor("a" * 32, browser=True))


def test_a_file_is_for_whoever_uploaded_it(tmp_path, photo):
    store = FileStore(tmp_path / "store")
    ann, bob, program = Visitor("a" * 32, True), Visitor("b" * 32, True), Visitor("a" * 32, False)

    def uploaded(by: Visitor) -> str:
        path = store.folder_of(by) / "leaf" / "photo.png"
        path.parent.mkdir(parents=True)
        path.write_bytes(photo.read_bytes())
        return str(path)

    hers, example = uploaded(ann), store.page / "leaf" / "photo.png"
    example.parent.mkdir(parents=True)
    example.write_bytes(b"")
    assert store.admit([{"path": hers} | META], ann) == (
        [{"path": hers, "orig_name": None, "size": photo.stat().st_size} | META],
        [Path(hers)],
    )
    for other in (bob, program):
        with pytest.raises(MediaError):
            store.find(hers, other)
    # Programs take no cookies: theirs are for whoever knows 128 random bits.
    for visitor in (ann, bob, program):
        assert store.find(uploaded(program), visitor)
        assert store.find(str(example), visitor)
    assert store.folder_of(program) != store.folder_of(program)


def test_nothing_goes_to_a_handler_but_what_is_known_of_a_file(tmp_path):
    store = FileStore(tmp_path)
    path = store.page / "photo.png"
    path.parent.mkdir()
    path.write_bytes(b"12")
    sent = {"path": str(path), "url": "http://elsewhere", "is_stream": True, "size": 9, "orig_name": ["x"], "more": 1}
    (admitted,), _ = store.admit([sent | META], Visitor("a", True))
    assert admitted == {"path": str(path), "orig_name": None, "size": 2} | META
    (frame,), _ = store.admit([{"url": "data:image/jpeg;base64,aa", "path": None, "meta": 1}], Visitor("a", True))
    assert frame == {"path": None, "url": "data:image/jpeg;base64,aa"}


def deep(levels: int) -> Any:
    value: Any = {"path": "/etc/passwd"}
    for _ in range(levels):
        value = [value]
    return value


def test_no_depth_hides_a_file(tmp_path):
    for levels in (1, 49, 50, 51, 900):
        with pytest.raises(MediaError):
            FileStore(tmp_path).admit(deep(levels), Visitor("a", True))


@pytest.mark.parametrize(
    "path", ["process_recording", "deep_link?session_hash=a", "proxy=http://a.hf.space", "file/etc/passwd", "vibe-code"]
)
def test_routes_that_the_page_does_not_use_are_closed(app, path):
    for method in ("GET", "POST"):
        assert Browser(app).ask(method, f"/gradio_api/{path}", b"x")[0] == 404


def test_uploads_lie_under_a_path_that_cannot_be_guessed(app, photo):
    visitor = Browser(app).open()
    first, second = (Path(visitor.upload(photo)) for _ in range(2))
    assert (first.name, first.parent.name) == (second.name, second.parent.name)
    assert first.parents[1] != second.parents[1]
    assert len(bytes.fromhex(first.parents[1].name)) == 16


def test_what_comes_of_a_clip_is_for_whoever_uploaded_it(app, tmp_path):
    visitor, other = Browser(app).open(), Browser(app).open()
    path = visitor.upload(write_clip(tmp_path / "clip.mp4", toy_frames(4)))
    event, values = max(events_with(visitor, "video-input"), key=lambda event: len(event[1]))
    asked = sent("video-input", {"path": path} | META)
    said = visitor.join(event, [asked if value is FILE else value for value in values])
    found = re.findall(r'"\.(/gradio_api/file=[^"]*)"', said)
    assert {Path(url).suffix for url in found} == {".mp4", ".csv", ".json"}
    for url in {*found, f"/gradio_api/file={path}"}:
        assert visitor.ask("GET", url)[0] == 200
        for stranger in (other, Browser(app)):
            assert stranger.ask("GET", url)[0] == 404


def test_the_image_tab_reads_an_upload(app, photo):
    visitor = Browser(app).open()
    (event, values), *_ = events_with(visitor, "image-input")
    file = sent("image-input", {"path": visitor.upload(photo)} | META)
    assert "2 faces" in visitor.join(event, [file if value is FILE else value for value in values])


def test_the_examples_and_the_code_of_the_page_are_for_everybody(app):
    for path in (*example_pictures(), scripts_folder() / "image.js"):
        assert Browser(app).ask("GET", f"/gradio_api/file={urllib.parse.quote(str(path))}")[0] == 200
        beside = path.parent / ".." / "__init__.py"
        assert Browser(app).ask("GET", f"/gradio_api/file={urllib.parse.quote(str(beside))}")[0] == 404
