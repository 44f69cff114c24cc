"""Downloads, from a local server that answers range requests, and from ones that misbehave."""

from __future__ import annotations

import gc
import hashlib
import io
import re
import threading
import warnings
import zipfile
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import pytest

from faceinsight import FetchError, PackError
from faceinsight.packs import fetch, home, resolve
from faceinsight.packs.fetch import fetch_file, fetch_pack
from faceinsight.packs.spec import ModelFile
from faceinsight.writing import beside

CONTENT = bytes(range(256)) * 4000
OTHERS = b"not wanted" * 400_000


def zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr("large.onnx", OTHERS)
        archive.writestr("model.onnx", CONTENT, zipfile.ZIP_DEFLATED)
        archive.writestr("larger.onnx", OTHERS)
    return buffer.getvalue()


class Host(ThreadingHTTPServer):
    """A download host; `mode` says how it misbehaves, `sent` counts the bytes of bodies."""

    daemon_threads = True

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.mode = "good"
        self.sent = 0
        self.files = {"/model.onnx": CONTENT, "/pack.zip": zipped()}

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"


class Handler(BaseHTTPRequestHandler):
    server: Host
    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.do_GET()

    def do_GET(self) -> None:
        if self.server.mode == "error":
            self.send_error(503)
            return
        if self.server.mode == "redirect" and self.path != "/model.onnx":
            self.send_response(302)
            self.send_header("Location", "/model.onnx")
            self.end_headers()
            self.flood()
            return
        body = self.server.files.get(self.path)
        if body is None:
            self.send_error(404)
            return
        status, total = 200, len(body)
        asked = re.match(r"bytes=(\d*)-(\d*)", self.headers.get("Range", ""))
        if asked and self.server.mode != "no-ranges":
            first, last = asked.groups()
            start = int(first) if first else max(0, total - int(last))
            stop = int(last) + 1 if first and last else total
            body, status = body[start:stop], 206
        if self.server.mode == "wrong":
            body = b"?" * len(body)
        self.send_response(status)
        if self.server.mode == "endless":
            self.end_headers()
            self.flood()
            return
        if self.server.mode == "boasts":
            self.send_header("Content-Length", str(400_000_000))
            self.end_headers()
            self.flood()
            return
        self.send_header("Content-Length", str(len(body)))
        if status == 206:
            self.send_header("Content-Range", f"bytes {start}-{stop - 1}/{total}")
        self.end_headers()
        if self.command == "HEAD":
            return
        if self.server.mode == "cut":
            body = body[: len(body) // 2]
            self.close_connection = True
        self.wfile.write(body)
        self.server.sent += len(body)

    def flood(self) -> None:
        """Sends 400 MB, or as much of it as anybody reads."""
        self.close_connection = True
        with suppress(OSError):
            for _ in range(400):
                self.wfile.write(bytes(1_000_000))
                self.server.sent += 1_000_000

    def log_message(self, *args: object) -> None:
        """Says nothing."""


@pytest.fixture
def host():
    with Host() as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield server
        server.shutdown()
        thread.join()
    with warnings.catch_warnings():
        # remotezip leaves a socket to the garbage collector where an answer is broken.
        warnings.simplefilter("ignore", ResourceWarning)
        gc.collect()


def model(host: Host, path: str = "/model.onnx", **more: object) -> ModelFile:
    digest = hashlib.sha256(CONTENT).hexdigest()
    return ModelFile("model.onnx", len(CONTENT), sha256=digest, url=host.url(path), **more)


def test_a_file_arrives_whole_with_progress(host, tmp_path):
    seen = []
    target = tmp_path / "new" / "model.onnx"
    fetch_file(model(host), target, lambda *step: seen.append(step))
    assert target.read_bytes() == CONTENT
    assert seen[-1] == ("model.onnx", len(CONTENT), len(CONTENT))
    assert [p.name for p in target.parent.iterdir()] == ["model.onnx"]


def test_a_member_of_an_archive_is_fetched_without_the_archive(host, tmp_path):
    target = tmp_path / "model.onnx"
    fetch_file(model(host, "/pack.zip", member="model.onnx"), target)
    assert target.read_bytes() == CONTENT
    assert host.sent < len(OTHERS) / 2


@pytest.mark.parametrize(
    ("mode", "path", "member", "sentence"),
    [
        ("error", "/model.onnx", None, "the host answered 503"),
        ("good", "/nothing", None, "the host answered 404"),
        ("good", "/nothing", "model.onnx", "could not be downloaded"),
        ("cut", "/model.onnx", None, "cut short"),
        ("cut", "/pack.zip", "model.onnx", "could not be downloaded"),
        ("wrong", "/model.onnx", None, "sent something else than model.onnx"),
        ("wrong", "/pack.zip", "model.onnx", "could not be downloaded"),
        ("good", "/model.onnx", "model.onnx", "could not be downloaded"),
        ("good", "/pack.zip", "other.onnx", "holds no file called other.onnx"),
    ],
)
def test_a_host_that_misbehaves_leaves_nothing_behind(host, tmp_path, mode, path, member, sentence):
    host.mode = mode
    target = tmp_path / "folder" / "model.onnx"
    with pytest.raises(FetchError, match=sentence) as caught:
        fetch_file(model(host, path, member=member), target)
    assert "\n" not in str(caught.value)
    assert list(target.parent.iterdir()) == []


@pytest.mark.parametrize("size", [len(CONTENT), None])
@pytest.mark.parametrize("mode", ["endless", "boasts"])
@pytest.mark.parametrize("member", [None, "model.onnx"])
def test_more_than_was_declared_is_not_taken(host, tmp_path, monkeypatch, mode, size, member):
    host.mode = mode
    monkeypatch.setattr(fetch, "MAX_BYTES", 2_000_000)
    target = tmp_path / "folder" / "model.onnx"
    target.parent.mkdir()
    target.write_bytes(b"old")
    file = ModelFile("model.onnx", size, url=host.url("/model.onnx"), member=member)
    with pytest.raises(FetchError, match=r"sends more than|could not be downloaded"):
        fetch_file(file, target)
    # What the sockets hold has been sent as well.
    assert host.sent < 20_000_000
    assert target.read_bytes() == b"old"
    assert list(target.parent.iterdir()) == [target]


def test_a_redirection_is_followed_without_reading_what_comes_with_it(host, tmp_path):
    host.mode = "redirect"
    target = tmp_path / "model.onnx"
    fetch_file(model(host, "/elsewhere"), target)
    assert target.read_bytes() == CONTENT
    assert host.sent < 20_000_000


def test_a_member_larger_than_declared_is_not_unpacked(host, tmp_path):
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("deep/model.onnx", bytes(50_000_000))
    host.files["/bomb.zip"] = packed.getvalue()
    with pytest.raises(FetchError, match=f"sends more than the {len(CONTENT)} bytes"):
        fetch_file(model(host, "/bomb.zip", member="model.onnx"), tmp_path / "model.onnx")
    assert list(tmp_path.glob("*.*")) == []


def test_what_a_dead_download_left_is_cleared_and_what_a_living_one_writes_is_not(host, tmp_path):
    (tmp_path / ".faceinsight-0123456789abcdef.part").write_bytes(b"half")
    (tmp_path / "mine.part").write_bytes(b"not ours")
    with beside(tmp_path / "other.onnx") as part:
        fetch_file(model(host), tmp_path / "model.onnx")
        assert {path.name for path in tmp_path.iterdir() if path.is_file()} == {part.name, "mine.part", "model.onnx"}
    assert (tmp_path / "other.onnx").is_file()


def test_no_link_leads_a_download_out_of_its_folder(host, monkeypatch, tmp_path):
    monkeypatch.setenv("FACEINSIGHT_HOME", str(tmp_path / "fi"))
    folder = home() / "mine"
    folder.mkdir(parents=True)
    (tmp_path / "outside").mkdir()
    (folder / "sub").symlink_to(tmp_path / "outside")
    (folder / "link.onnx").symlink_to(tmp_path / "outside" / "new.onnx")
    for name in ("sub/model.onnx", "link.onnx"):
        (folder / "pack.toml").write_text(f'[detector]\nfile = "{name}"\nurl = "{host.url("/model.onnx")}"\n')
        with pytest.raises(FetchError, match="leads out of .* through a link"):
            fetch_pack("mine")
    # The name of the pack's folder is the user's own, a link too.
    (home() / "linked").symlink_to(tmp_path / "outside")
    (tmp_path / "outside" / "pack.toml").write_text(f'[detector]\nfile = "m.onnx"\nurl = "{host.url("/model.onnx")}"\n')
    fetch_pack("linked")
    assert sorted(path.name for path in (tmp_path / "outside").iterdir()) == ["m.onnx", "pack.toml"]


def test_a_host_that_cannot_be_reached(tmp_path):
    file = ModelFile("model.onnx", url="http://127.0.0.1:9/model.onnx")
    with pytest.raises(FetchError, match="the connection failed.*check the internet connection"):
        fetch_file(file, tmp_path / "model.onnx")


def test_a_folder_that_cannot_be_written(host, tmp_path):
    (tmp_path / "file").write_text("in the way")
    with pytest.raises(FetchError, match="check the disk"):
        fetch_file(model(host), tmp_path / "file" / "model.onnx")


def test_a_pack_is_fetched_once_and_then_found(host, monkeypatch, tmp_path):
    monkeypatch.setenv("FACEINSIGHT_HOME", str(tmp_path / "fi"))
    folder = home() / "mine"
    folder.mkdir(parents=True)
    digest = hashlib.sha256(CONTENT).hexdigest()
    (folder / "pack.toml").write_text(
        f'[detector]\nfile = "model.onnx"\nsha256 = "{digest}"\nurl = "{host.url("/model.onnx")}"\n'
    )
    assert [path.name for path in fetch_pack("mine")] == ["model.onnx"]
    assert resolve("mine").paths["detector"].read_bytes() == CONTENT
    assert fetch_pack("mine") == []
    (folder / "model.onnx").write_bytes(b"spoilt")
    assert len(fetch_pack("mine")) == 1


def test_a_pack_without_addresses_cannot_be_fetched(toy_pack):
    with pytest.raises(PackError, match="has no download address"):
        fetch_pack(str(toy_pack))


def test_nothing_is_downloaded_unasked(monkeypatch):
    def refuse(*args: object, **options: object) -> None:
        raise AssertionError("a download was started")

    monkeypatch.setattr(fetch.requests, "Session", refuse)
    monkeypatch.setattr(fetch, "RemoteZip", refuse)
    assert len(resolve("buffalo_l").missing) == 3
