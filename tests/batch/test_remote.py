"""Inputs and outputs that lie elsewhere: a web server that misbehaves, and a small object storage."""

from __future__ import annotations

import hashlib
import importlib.util
import os
import re
import threading
import time
import urllib.parse
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from email.utils import format_datetime
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from xml.sax.saxutils import escape

import pytest

from faceinsight.batch.archive import analyze_archive
from faceinsight.batch.sources import _remote, find_sources
from faceinsight.errors import MediaError
from faceinsight.media import remote
from faceinsight.media.remote import RemoteFile, look_up
from tests.batch.conftest import Tables, write_photos
from tests.batch.test_batch import inline
from tests.certificate import safe_socket
from tests.toy_media import toy_frames, write_clip

CHANGED = datetime(2026, 1, 2, tzinfo=UTC)


class Handler(BaseHTTPRequestHandler):
    """Serves `files` of its server, as a web server, and as S3 where the path names a bucket."""

    protocol_version = "HTTP/1.1"

    def do_HEAD(self) -> None:
        self.answer()

    def do_GET(self) -> None:
        self.answer()

    def answer(self) -> None:
        url = urllib.parse.urlsplit(self.path)
        query = dict(urllib.parse.parse_qsl(url.query))
        if "to" in query:
            return self.reply(302, b"", location=query["to"])
        if "list-type" in query:
            return self.listing(query)
        name = urllib.parse.unquote(url.path).lstrip("/")
        self.server.asked.append((self.command, name))
        if self.server.busy.get(name, 0) > 0:
            self.server.busy[name] -= 1
            return self.reply(503, b"")
        if name in self.server.cut:
            self.server.cut.remove(name)
            content = self.server.files[name]
            self.reply(200, content[: len(content) // 2], len(content))
            self.close_connection = True
            return None
        if name not in self.server.files:
            return self.reply(404, b"")
        if name in self.server.dripping:
            return self.drip(self.server.files[name])
        content, first = self.server.files[name], 0
        if wanted := self.headers.get("Range"):
            first, last = wanted.removeprefix("bytes=").split("-")
            first, last = int(first), min(int(last or len(content)), len(content) - 1)
            return self.reply(206, content[first : last + 1], range_of=f"bytes {first}-{last}/{len(content)}")
        return self.reply(200, content)

    def listing(self, query: dict) -> None:
        bucket = self.path.split("?")[0].strip("/")
        prefix, delimiter = query.get("prefix", ""), query.get("delimiter", "")
        entries, folders = [], set()
        for name, content in sorted(self.server.files.items()):
            if not name.startswith(f"{bucket}/{prefix}"):
                continue
            key = name.removeprefix(f"{bucket}/")
            rest = key.removeprefix(prefix)
            if delimiter and delimiter in rest:
                folders.add(prefix + rest.partition(delimiter)[0] + delimiter)
                continue
            entries.append(
                f"<Contents><Key>{escape(key)}</Key><Size>{len(content)}</Size><ETag>{tag(content)}</ETag>"
                f"<LastModified>{CHANGED:%Y-%m-%dT%H:%M:%SZ}</LastModified></Contents>"
            )
        entries += [f"<CommonPrefixes><Prefix>{escape(name)}</Prefix></CommonPrefixes>" for name in sorted(folders)]
        text = f"<ListBucketResult><Name>{bucket}</Name><IsTruncated>false</IsTruncated>{''.join(entries)}"
        self.reply(200, (text + f"<KeyCount>{len(entries)}</KeyCount></ListBucketResult>").encode())

    def do_PUT(self) -> None:
        name = urllib.parse.unquote(self.path.split("?")[0]).lstrip("/")
        body = self.rfile.read(int(self.headers["Content-Length"]))
        if "aws-chunked" in self.headers.get("Content-Encoding", ""):
            body = dechunked(body)
        self.server.files[name] = body
        self.reply(200, b"")

    def do_DELETE(self) -> None:
        self.server.files.pop(urllib.parse.unquote(self.path.split("?")[0]).lstrip("/"), None)
        self.reply(204, b"")

    def drip(self, content: bytes) -> None:
        self.close_connection = True
        self.send_response(200)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        with suppress(OSError):  # nobody waits for all of it
            for byte in content:
                self.wfile.write(bytes([byte]))
                time.sleep(0.05)

    def reply(
        self, status: int, body: bytes, length: int | None = None, range_of: str = "", location: str = ""
    ) -> None:
        self.send_response(status)
        if location:
            self.send_header("Location", location)
        self.send_header("Content-Length", str(len(body) if length is None else length))
        if status in (200, 206) and body:
            name = urllib.parse.unquote(self.path.split("?")[0]).lstrip("/")
            self.send_header("ETag", tag(self.server.files.get(name, body)))
            self.send_header("Last-Modified", format_datetime(CHANGED, usegmt=True))
        if range_of:
            self.send_header("Content-Range", range_of)
        self.end_headers()
        if self.command != "HEAD":
            self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        """Says nothing."""


def tag(content: bytes) -> str:
    return f'"{hashlib.md5(content).hexdigest()}"'


def dechunked(body: bytes) -> bytes:
    """Takes the chunks of a signed upload out of their frames."""
    content = b""
    while True:
        head, _, body = body.partition(b"\r\n")
        size = int(head.split(b";")[0], 16)
        if not size:
            return content
        content, body = content + body[:size], body[size + 2 :]


@pytest.fixture
def server(monkeypatch) -> Iterator[ThreadingHTTPServer]:
    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as started:
        started.files, started.asked, started.busy, started.cut, started.dripping = {}, [], {}, set(), set()
        started.handle_error = lambda *_: None  # who is asked by https need not be told of the end
        started.url = f"http://127.0.0.1:{started.server_port}"
        thread = threading.Thread(target=started.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0.01)
        yield started
        started.shutdown()
        thread.join()


@pytest.fixture
def content(tmp_path) -> tuple[bytes, bytes]:
    """A photo with one face, and one with two."""
    one, two = write_photos(tmp_path / "content", 2)
    return one.read_bytes(), two.read_bytes()


def test_files_of_a_web_server_are_fetched_and_told_of_by_their_url(server, content, toy_pack, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(6)).read_bytes()
    server.files = {"a.jpg": content[0], "b c.jpg": content[1], "clip.mp4": clip, "broken.jpg": content[0]}
    server.busy, server.cut = {"a.jpg": 2, "never.jpg": 99}, {"b c.jpg"}
    names = ["a.jpg", "b%20c.jpg", "clip.mp4", "gone.jpg", "never.jpg"]
    (tmp_path / "names.txt").write_text("".join(f"{server.url}/{name}\n" for name in names) + "missing.jpg\n\n")
    out = tmp_path / "r.parquet"

    def again():
        *_, last = analyze_archive([f"@{tmp_path / 'names.txt'}"], str(out), inline, 1, toy_pack)
        return last.known, last.done.files

    assert again() == (0, 6)
    tables = Tables.read(out)
    faces = {row["file"].rpartition("/")[2]: row["faces"] for row in tables.files}
    assert (faces["a.jpg"], faces["b%20c.jpg"]) == (1, 2)
    assert faces["clip.mp4"] > 0
    errors = {row["file"].rpartition("/")[2]: row["error"] for row in tables.errors}
    assert set(errors) == {"gone.jpg", "never.jpg", "missing.jpg"}
    assert "the server answers 404" in errors["gone.jpg"]
    assert "the server answers 503" in errors["never.jpg"]
    assert [row["bytes"] for row in tables.files if row["file"].endswith("/a.jpg")] == [len(content[0])]
    assert again() == (6, 0)
    server.files["a.jpg"] = content[1]
    assert again() == (5, 1)
    assert [row["faces"] for row in Tables.read(out).files if row["file"].endswith("/a.jpg")] == [2]


def test_a_file_that_is_too_large_is_not_fetched_to_its_end(server, tmp_path, monkeypatch):
    server.files["a.jpg"] = bytes(5_000_000)
    with (tmp_path / "a").open("w+b") as out, pytest.raises(MediaError, match="more than 1 MB"):
        remote.fetch(f"{server.url}/a.jpg", 1_000_000, out)
    assert (tmp_path / "a").stat().st_size < 4_000_000


@pytest.mark.parametrize(
    ("name", "sentence"),
    [
        ("ftp://host/a.jpg", "ftp://host/a.jpg is no address that can be read"),
        ("zip://a.jpg", "is no address that can be read"),
        ("s3://bucket/a::file:///etc", "is no place in object storage"),
        ("nothing/here.jpg", "nothing/here.jpg is not there: check the name."),
        ("nothing/*.jpg", "nothing/*.jpg matches no photo or clip"),
        ("@nothing.txt", "The list nothing.txt cannot be read"),
    ],
)
def test_what_cannot_be_an_input_is_told_of(name, sentence):
    with pytest.raises(MediaError) as refused:
        find_sources([name], lambda error: None)
    assert sentence in str(refused.value)


def test_passwords_of_urls_are_in_no_table(toy_pack, tmp_path, monkeypatch):
    monkeypatch.setattr(remote, "_FIRST_WAIT_S", 0)
    inputs = ["https://user:secret@/a.jpg", "http://user:secret@127.0.0.1:9/a.jpg"]
    list(analyze_archive(inputs, str(tmp_path / "r.parquet"), inline, 1, toy_pack))
    tables = Tables.read(tmp_path / "r.parquet")
    assert [row["file"] for row in tables.errors] == ["https:///a.jpg", "http://127.0.0.1:9/a.jpg"]
    assert "secret" not in repr(tables)


def test_a_file_that_is_named_with_a_password_and_without_is_one():
    (source,) = find_sources(["https://user:secret@host/a.jpg", "https://host/a.jpg"], lambda error: None)
    assert source.key == "https://host/a.jpg"


def test_queries_are_in_no_table_and_tell_addresses_apart(server, content, toy_pack, tmp_path):
    server.files = {"a.jpg": content[0], "b.jpg": content[1]}
    signed = f"{server.url}/a.jpg?X-Amz-Credential=key&X-Amz-Signature=secret"
    inputs = [f"{server.url}/b.jpg?id=1&token=secret", f"{server.url}/b.jpg?id=2&token=secret#secret"]
    out = tmp_path / "r.parquet"

    def again(*names: str) -> tuple[int, int]:
        *_, last = analyze_archive(names, str(out), inline, 1, toy_pack)
        return last.known, last.done.files

    assert again(signed, *inputs) == (0, 3)
    tables = Tables.read(out)
    assert "secret" not in repr(tables)
    names = sorted(row["file"] for row in tables.files)
    assert names[0] == f"{server.url}/a.jpg"
    assert len(set(names)) == 3
    assert all(re.fullmatch(rf"{server.url}/b.jpg\?[0-9a-f]{{16}}", name) for name in names[1:])
    # Signed anew, it is the same file.
    assert again(signed.replace("secret", "other"), *inputs) == (3, 0)
    assert again(f"{server.url}/gone.jpg?token=secret") == (0, 1)
    assert "secret" not in repr(Tables.read(out))


def test_nobody_is_sent_from_a_safe_connection_to_an_open_one(server, content, tmp_path, monkeypatch):
    server.files = {"a.jpg": content[0]}
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(safe_socket(server, tmp_path)))
    safe = server.url.replace("http:", "https:")
    with (tmp_path / "a").open("w+b") as out:
        with pytest.raises(MediaError, match=rf"^{safe}/x\?\w+ sends from https to http, which is not followed: ask"):
            remote.fetch(f"{safe}/x?to={server.url}/a.jpg", 10**6, out)
        assert not server.asked
        assert look_up(f"{safe}/x?to=http://127.0.0.1/a.jpg") == RemoteFile(f"{safe}/x?to=http://127.0.0.1/a.jpg")
        remote.fetch(f"{safe}/x?to=/a.jpg", 10**6, out)
    assert (tmp_path / "a").read_bytes() == content[0]


def test_a_server_that_drips_is_not_waited_for(server, content, tmp_path, monkeypatch):
    server.files, server.dripping = {"a.jpg": content[0]}, {"a.jpg"}
    monkeypatch.setattr(remote, "_PATIENCE_S", (1, 0.3))
    with (
        (tmp_path / "a").open("w+b") as out,
        pytest.raises(MediaError, match=r"\(it comes far too slowly\): try again"),
    ):
        remote.fetch(f"{server.url}/a.jpg", 10**6, out)
    assert len(server.asked) == 3


def test_signs_that_end_a_path_on_the_web_alone_end_no_name_in_storage():
    for url in ("s3://b/party #1.mp4", "s3://b/why?.mp4"):
        assert _remote(RemoteFile(url)).kind == "clip"
    assert _remote(RemoteFile("https://h/a.jpg?x=.mp4")).kind == "photo"


def test_an_address_that_is_none_is_told_of(monkeypatch):
    with pytest.raises(MediaError, match=r"http://\.\.\. is no address"):
        find_sources(["http://[x/a.jpg"], lambda error: None)

    def answer(*_, **__):
        raise ValueError("Invalid IPv6 URL")

    monkeypatch.setattr("requests.Session.head", answer)
    assert look_up("http://host/a.jpg") == RemoteFile("http://host/a.jpg")


def test_patterns_and_lists_name_files_once(tmp_path, monkeypatch):
    photos = write_photos(tmp_path / "a" / "b", 3)
    (tmp_path / "list").write_text(f"{photos[0]}\n{photos[1]}\n")
    inputs = [
        str(photos[1]),
        f"{tmp_path}/**/*.jpg",
        str(tmp_path / "a"),
        f"@{tmp_path / 'list'}",
        f"file://{photos[2]}",
    ]
    found = find_sources(inputs, lambda error: None)
    assert [source.name for source in found] == [str(photos[1]), str(photos[0]), str(photos[2])]
    assert all(source.kind == "photo" and source.bytes and source.stamp for source in found)


def test_patterns_follow_no_links_to_folders_below_them(tmp_path):
    write_photos(tmp_path / "a" / "b", 2)
    write_photos(tmp_path / "a" / ".hidden", 1)
    write_photos(tmp_path / "elsewhere", 1)
    for name in ("one", "two"):  # from link to link there is no end
        (tmp_path / "a" / name).symlink_to(tmp_path / "a", target_is_directory=True)
    (tmp_path / "link").symlink_to(tmp_path / "elsewhere", target_is_directory=True)

    def names(pattern):
        return [Path(source.name).relative_to(tmp_path).as_posix() for source in find_sources([pattern], print)]

    both = ["a/b/00000.jpg", "a/b/00001.jpg"]
    assert (
        names(f"{tmp_path}/a/**/*.jpg") == names(f"{tmp_path}/a/**") == names(f"{tmp_path}/[a]/**/b/**/*.jp?") == both
    )
    assert names(f"{tmp_path}/l*k/*.jpg") == names(f"{tmp_path}/link/**/*.jpg") == ["link/00000.jpg"]


def test_a_list_may_begin_with_the_mark_that_windows_writes(tmp_path):
    (photo,) = write_photos(tmp_path, 1)
    (tmp_path / "list").write_bytes(b"\xef\xbb\xbf" + os.fsencode(photo) + b"\r\n")
    assert [source.name for source in find_sources([f"@{tmp_path / 'list'}"], print)] == [str(photo)]


@pytest.mark.skipif(importlib.util.find_spec("s3fs") is None, reason="s3fs is not installed")
@pytest.mark.filterwarnings("ignore")  # of the libraries beneath
def test_object_storage_holds_inputs_and_tables(server, content, toy_pack, tmp_path, monkeypatch):
    monkeypatch.setenv("AWS_ENDPOINT_URL", server.url)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "key")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "secret")
    server.files = {
        "bucket/in/a.jpg": content[0],
        "bucket/in/deep/b.jpg": content[1],
        "bucket/in/notes.txt": b"no photo",
        "bucket/in/bad.jpg": b"no photo",
    }

    def again():
        *_, last = analyze_archive(["s3://bucket/in"], "s3://bucket/out/r.parquet", inline, 1, toy_pack)
        return last.known, last.done.files

    assert again() == (0, 3)
    written = {name: body for name, body in server.files.items() if name.startswith("bucket/out/")}
    assert set(written) == {f"bucket/out/r{name}.parquet" for name in ("", "-people", "-files", "-errors")}
    for name, body in written.items():
        (tmp_path / name.rpartition("/")[2]).write_bytes(body)
    tables = Tables.read(tmp_path / "r.parquet")
    assert {row["file"]: row["faces"] for row in tables.files} == {
        "s3://bucket/in/a.jpg": 1,
        "s3://bucket/in/deep/b.jpg": 2,
        "s3://bucket/in/bad.jpg": None,
    }
    assert again() == (3, 0)
    server.files["bucket/in/a.jpg"] = content[1]
    assert again() == (2, 1)
