"""The packs on the page: who may do what to them, and what comes of it."""

from __future__ import annotations

import hashlib
import json
import shutil
import time
from pathlib import Path

import pytest
from starlette.requests import Request

from faceinsight import PackError
from faceinsight.packs import home
from faceinsight.ui.managing import Managers
from faceinsight.ui.shelf import NOT_ACCEPTED, Shelf
from tests.packs.host import hosting
from tests.serving import served
from tests.visits import Browser

CONTENT = bytes(range(256)) * 800


@pytest.fixture
def host():
    with hosting() as running:
        running.files["/model.onnx"] = CONTENT
        yield running


@pytest.fixture
def folder(tmp_path, monkeypatch, host) -> Path:
    monkeypatch.setenv("FACEINSIGHT_HOME", str(tmp_path / "fi"))
    return declared(host.url("/model.onnx"))


def declared(url: str) -> Path:
    """Declares pack "mine", whose file is to be fetched."""
    folder = home() / "mine"
    folder.mkdir(parents=True)
    (folder / "pack.toml").write_text(
        f'title = "Mine"\n[detector]\nfile = "model.onnx"\nurl = "{url}"\nlicence = "for tests only"\n'
        f'bytes = {len(CONTENT)}\nsha256 = "{hashlib.sha256(CONTENT).hexdigest()}"\n'
    )
    return folder


@pytest.fixture
def changed() -> list[str]:
    return []


@pytest.fixture
def shelf(changed):
    return Shelf(changed.append)


def mine(shelf: Shelf) -> dict:
    (pack,) = [pack for pack in shelf.look()["packs"] if pack["name"] == "mine"]
    return pack


def wait(shelf: Shelf, condition=lambda download: not download["running"]) -> dict:
    deadline = time.monotonic() + 30
    while not condition(download := shelf.look()["download"]):
        assert time.monotonic() < deadline
        time.sleep(0.01)
    return download


def test_a_pack_is_fetched_checked_and_removed(shelf, folder, changed):
    assert [pack["name"] for pack in shelf.look()["packs"]] == ["compact", "buffalo_s", "buffalo_l", "mine"]
    assert (mine(shelf)["state"], mine(shelf)["fetch"], mine(shelf)["remove"]) == ("absent", True, False)
    assert mine(shelf)["licences"] == ["for tests only"]
    with pytest.raises(PackError, match=NOT_ACCEPTED):
        shelf.act("fetch", "mine", False)
    assert shelf.act("fetch", "mine", True) == ""
    download = wait(shelf)
    assert download["words"] == "1 file of mine downloaded and verified. Choose it in Settings."
    assert not download["failed"]
    assert (mine(shelf)["state"], mine(shelf)["words"], mine(shelf)["fetch"]) == ("here", "Here", False)
    assert shelf.act("verify", "mine", False) == "All 1 files of mine are right."
    (folder / "model.onnx").write_bytes(b"spoilt")
    assert mine(shelf)["files"][0]["state"] == "wrong"
    assert "is wrong (6 bytes instead of" in shelf.act("verify", "mine", False)
    shelf.act("fetch", "mine", True)
    wait(shelf)
    assert shelf.act("remove", "mine", False) == "1 file of mine removed."
    assert mine(shelf)["state"] == "absent"
    assert changed == ["mine"] * 4
    with pytest.raises(PackError, match="comes with FaceInsight"):
        shelf.act("remove", "compact", False)


def test_one_download_at_a_time_which_can_be_cancelled_and_gone_on_with(shelf, folder, host, changed):
    host.pause_s, host.piece = 0.02, 2000
    shelf.act("fetch", "mine", True)
    wait(shelf, lambda download: (download["share"] or 0) > 0.1)
    with pytest.raises(PackError, match="mine is being downloaded: wait for it, or cancel it"):
        shelf.act("fetch", "buffalo_s", True)
    with pytest.raises(PackError, match="cancel that first"):
        shelf.act("remove", "mine", False)
    shelf.act("cancel", "mine", False)
    download = wait(shelf)
    assert download["failed"]
    assert download["words"].startswith("The download of mine was cancelled: what has come stays")
    assert changed == []
    host.pause_s = 0
    shelf.act("fetch", "mine", True)
    assert not wait(shelf)["failed"]
    assert host.sent < len(CONTENT) + 10_000


@pytest.mark.parametrize(("what", "pack"), [("fetch", "/etc"), ("remove", ".."), ("burn", "mine"), ("verify", "")])
def test_only_packs_of_the_list_are_touched(shelf, folder, what, pack):
    with pytest.raises(PackError, match="no such model pack"):
        shelf.act(what, pack, True)


def test_looking_again_reads_no_file_again(shelf, folder, monkeypatch):
    shelf.look()
    shutil.copytree(folder, home() / "new")
    assert [pack["name"] for pack in shelf.look()["packs"]][3:] == ["mine", "new"]
    monkeypatch.setattr("faceinsight.ui.shelf.inspect_pack", lambda *args: 1 / 0)
    assert len(shelf.look()["packs"]) == 5


def request(client: str = "127.0.0.1", **headers: str) -> Request:
    pairs = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    return Request({"type": "http", "headers": pairs, "client": (client, 5), "server": ("127.0.0.1", 7860)})


LOCAL = {"host": "127.0.0.1:7860"}
HOME = {"allowed": None, "host": "127.0.0.1", "share": False, "auth": False, "root_path": ""}


@pytest.mark.parametrize(
    ("served_so", "sent", "may"),
    [
        ({}, request(**LOCAL), True),
        ({}, request(host="localhost:7860", referer="http://localhost:7860/"), True),
        ({}, request("::1", host="[::1]:7860"), True),
        ({"host": "localhost"}, request(**LOCAL), True),
        # Somebody else's machine, a server before this one, a name that was made to lead here.
        ({}, request("192.0.2.1", **LOCAL), False),
        ({}, request(host="faces.example"), False),
        ({}, request(**LOCAL, referer="https://faces.example/"), False),
        ({}, request(**LOCAL, x_forwarded_for="192.0.2.1"), False),
        ({}, request(**LOCAL, x_forwarded_proto="https"), False),
        ({}, request(**LOCAL, forwarded="for=192.0.2.1"), False),
        ({}, request(**LOCAL, via="1.1 proxy"), False),
        ({}, request(), False),
        # A page for others.
        ({"host": "0.0.0.0"}, request(**LOCAL), False),
        ({"host": "::"}, request(**LOCAL), False),
        ({"host": "192.0.2.7"}, request(**LOCAL), False),
        ({"share": True}, request(**LOCAL), False),
        ({"root_path": "/faces"}, request(**LOCAL), False),
        # What whoever serves it says, or a password.
        ({"host": "0.0.0.0", "auth": True}, request("192.0.2.1", host="faces.example"), True),
        ({"host": "0.0.0.0", "allowed": True}, request("192.0.2.1", host="faces.example"), True),
        ({"allowed": False}, request(**LOCAL), False),
        ({"allowed": False, "auth": True}, request(**LOCAL), False),
    ],
)
def test_who_may_download_and_remove(served_so, sent, may):
    assert Managers.of(**(HOME | served_so)).include(sent) is may


def test_a_stranger_neither_fills_the_disk_nor_removes_models(folder, host, tmp_path, toy_pack):
    environment = {"FACEINSIGHT_HOME": str(home())}

    def asked(visitor: Browser, what: object, **headers: str) -> dict:
        call = {"component_id": component, "fn_name": "packs", "session_hash": visitor.session, "data": what}
        status, answer = visitor.ask("POST", "/gradio_api/component_server", call, **headers)
        assert status == 200, answer
        return json.loads(answer)

    with served(tmp_path, "--pack", toy_pack, **environment) as app:
        visitor = Browser(app).open()
        parts = visitor.config()["components"]
        (component,) = [part["id"] for part in parts if part["props"].get("elem_id") == "models"]
        fetch = {"what": "fetch", "pack": "mine", "accepted": True}
        for headers in ({"Host": "faces.example"}, {"X-Forwarded-For": "192.0.2.1"}):
            for what in (fetch, {"what": "remove", "pack": "mine"}, {"what": "verify", "pack": "mine"}):
                answer = asked(visitor, what, **headers)
                assert "Whoever runs this page decides" in answer["problem"]
                assert not answer["may"]
        assert host.requests == []
        for garbage in (None, [], {}, {"what": "fetch"}, {"what": ["fetch"], "pack": {}}, 7):
            assert asked(visitor, garbage)["problem"]
        # What strangers see tells them nothing of the machine.
        assert str(home()) not in json.dumps(asked(visitor, {"what": "look"}))
        assert asked(visitor, fetch)["download"]["pack"] == "mine"
        deadline = time.monotonic() + 30
        while not (folder / "model.onnx").exists():
            assert time.monotonic() < deadline
            time.sleep(0.05)
        assert "Traceback" not in app.output
