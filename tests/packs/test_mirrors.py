"""Downloads by other ways: proxies, mirrors, a folder, certificates of one's own."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import pytest

from faceinsight import FetchError
from faceinsight.packs import fetch, load_spec
from faceinsight.packs.fetch import fetch_pack
from tests.certificate import safe_socket
from tests.conftest import ROOT
from tests.packs.conftest import CONTENT, HASTY, OTHERS, WHOLE, declare, names, zipped
from tests.packs.host import hosting


def test_proxies_are_asked_and_left_out_as_the_environment_says(host, folder, monkeypatch):
    for name in ("http_proxy", "HTTP_PROXY", "no_proxy", "NO_PROXY", "all_proxy", "ALL_PROXY"):
        monkeypatch.delenv(name, raising=False)
    target = declare(folder, host)
    text = (folder / "pack.toml").read_text()
    (folder / "pack.toml").write_text(text.replace(host.url(), "http://models.invalid"))
    monkeypatch.setenv("HTTP_PROXY", host.url())
    fetch_pack("mine", patience=HASTY)
    assert target.read_bytes() == CONTENT
    assert {path for path, _, _ in host.requests} == {"http://models.invalid/model.onnx"}
    target.unlink()
    (folder / "pack.toml").write_text(text)
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:9")
    with pytest.raises(FetchError, match="the connection failed"):
        fetch_pack("mine", patience=HASTY)
    monkeypatch.setenv("NO_PROXY", "example.org,127.0.0.1")
    fetch_pack("mine", patience=HASTY)
    assert target.read_bytes() == CONTENT
    monkeypatch.setenv("HTTP_PROXY", "nonsense://x")
    with pytest.raises(FetchError, match="The proxy that the environment names cannot be used"):
        fetch_pack("buffalo_s", patience=HASTY)


@pytest.mark.parametrize("place", ["web", "folder"])
@pytest.mark.parametrize("what", ["model.onnx", "mine/model.onnx", "pack.zip", "both"])
def test_a_mirror_serves_files_or_archives(host, folder, monkeypatch, tmp_path, place, what):
    declare(folder, host, "archive")
    (folder / "pack.toml").write_text((folder / "pack.toml").read_text().replace(host.url(), "http://models.invalid"))
    mirror = tmp_path / "mirror" / "deep"
    packed = zipped(("before", OTHERS), ("model.onnx", CONTENT))
    files = {"pack.zip": packed, "mine/model.onnx": CONTENT, "model.onnx": CONTENT}
    if what == "both":  # what is wrong does not stand in the way of what is right
        files = {"pack.zip": packed, "model.onnx": b"something else"}
    for name, content in files.items():
        if what in (name, "both"):
            (mirror / name).parent.mkdir(parents=True, exist_ok=True)
            (mirror / name).write_bytes(content)
            host.files[f"/deep/{name}"] = content
    monkeypatch.setenv(fetch.MIRROR, host.url("/deep/") if place == "web" else str(mirror))
    if what != "mine/model.onnx":
        host.plan = ["403"]  # as some stores of files say of what they do not have
    if what == "both" and place == "web":
        with pytest.raises(FetchError, match="is something else than model.onnx"):
            fetch_pack("mine", patience=HASTY)
        return
    fetch_pack("mine", patience=HASTY)
    assert (folder / "model.onnx").read_bytes() == CONTENT
    assert names(folder) == WHOLE


def test_an_air_gapped_machine_takes_a_folder(host, folder, tmp_path, monkeypatch):
    declare(folder, host, "archive")
    monkeypatch.setattr(fetch, "Web", fetch.Web)
    source = tmp_path / "stick"
    with pytest.raises(FetchError, match="There is no folder .*stick"):
        fetch_pack("mine", source=source)
    source.mkdir()
    with pytest.raises(FetchError, match="holds neither mine/model.onnx nor model.onnx nor pack.zip"):
        fetch_pack("mine", source=source)
    (source / "model.onnx").write_bytes(b"other")
    (source / "pack.zip").write_bytes(b"no zip")
    with pytest.raises(FetchError, match="model.onnx has 5 bytes instead of 300000; .*no zip archive"):
        fetch_pack("mine", source=source)
    shutil.copy(write(tmp_path / "good", CONTENT), source / "model.onnx")
    assert fetch_pack("mine", source=source) == [folder / "model.onnx"]
    assert host.requests == []


def write(path: Path, content: bytes) -> Path:
    path.write_bytes(content)
    return path


def test_a_certificate_that_is_not_trusted_is_told_of(folder, tmp_path, monkeypatch):
    with hosting() as safe:
        certificate = safe_socket(safe, tmp_path)
        safe.files["/model.onnx"] = CONTENT
        target = declare(folder, safe)
        text = (folder / "pack.toml").read_text()
        (folder / "pack.toml").write_text(text.replace("http:", "https:"))
        with pytest.raises(FetchError, match="shows a certificate that this system does not trust"):
            fetch_pack("mine", patience=HASTY)
        monkeypatch.setenv("SSL_CERT_FILE", str(certificate))
        # From a safe connection nobody is sent to an open one.
        safe.always = "to nowhere"
        with pytest.raises(FetchError, match=r"not followed \(http:"):
            fetch_pack("mine", patience=HASTY)
        safe.always = ""
        fetch_pack("mine", patience=HASTY)
        assert target.read_bytes() == CONTENT


def test_the_documentation_names_the_addresses_of_the_catalogue():
    text = (ROOT / "docs" / "packs.md").read_text()
    for pack in ("buffalo_s", "buffalo_l"):
        (row,) = [line for line in text.splitlines() if line.startswith(f"| `{pack}` | [")]
        assert set(re.findall(r"\((https:[^)]*)\)", row)) == {file.url for file in load_spec(pack).files.values()}
