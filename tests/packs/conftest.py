"""A host that packs are fetched from, and a pack to fetch."""

from __future__ import annotations

import hashlib
import io
import random
import ssl
import zipfile
from functools import partial
from pathlib import Path

import httpx2
import pytest

from faceinsight.packs import fetch, home
from faceinsight.packs.web import Patience
from tests.packs.host import Host, hosting

CONTENT = random.Random(1).randbytes(300_000)
OTHERS = random.Random(2).randbytes(700_000)
HASTY = Patience(silence_s=0.4, least_bytes=100_000, tries=3, wait_s=0.01, longest_wait_s=1.0)
WAYS = ("file", "archive")
NO_CERTIFICATES = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)


def zipped(*members: tuple[str, bytes], kind: int = zipfile.ZIP_DEFLATED) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name, content in members:
            archive.writestr(f"folder/{name}", content, kind)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def running_host():
    with hosting() as host:
        yield host


@pytest.fixture
def host(running_host, monkeypatch):
    # Certificates are not asked for here, and reading all of them takes longer than most downloads.
    monkeypatch.setattr(httpx2, "AsyncClient", partial(httpx2.AsyncClient, verify=NO_CERTIFICATES))
    running_host.reset()
    running_host.files["/model.onnx"] = CONTENT
    running_host.files["/pack.zip"] = zipped(("before", OTHERS), ("model.onnx", CONTENT), ("after", OTHERS))
    yield running_host
    running_host.closing.set()


@pytest.fixture
def folder(monkeypatch, tmp_path) -> Path:
    """The folder of a pack called "mine", which is not declared yet."""
    monkeypatch.setenv("FACEINSIGHT_HOME", str(tmp_path / "fi"))
    monkeypatch.delenv(fetch.MIRROR, raising=False)
    folder = home() / "mine"
    folder.mkdir(parents=True)
    return folder


def declare(folder: Path, host: Host, way: str = "file", *, pinned: bool = True, name: str = "model.onnx") -> Path:
    """Declares pack "mine", whose detector is fetched in a way; returns where that goes."""
    lines = [f'[detector]\nfile = "{name}"\nurl = "{host.url("/model.onnx" if way == "file" else "/pack.zip")}"']
    if way == "archive":
        lines.append('member = "model.onnx"')
    if pinned:
        lines.append(f'bytes = {len(CONTENT)}\nsha256 = "{hashlib.sha256(CONTENT).hexdigest()}"')
    (folder / "pack.toml").write_text("\n".join(lines))
    return folder / name


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


WHOLE = [".fetched.json", "model.onnx", "pack.toml"]
