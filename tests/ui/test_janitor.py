"""Deleted means deleted: files of visitors after their time, after their visit, and after a run that was killed."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import numpy as np
import pytest
from filelock import FileLock
from PIL import Image

from faceinsight.errors import FaceInsightError
from faceinsight.ui import janitor
from faceinsight.ui.files import FileStore, publish, scratch_folder, store
from faceinsight.ui.janitor import Janitor, clear_dead_runs, run_files
from faceinsight.ui.limits import Limits
from faceinsight.ui.room import NoRoomError, Room
from faceinsight.ui.visitors import Visitor
from faceinsight.writing import write_file
from tests.serving import App, served
from tests.toy_media import toy_frames, write_clip
from tests.visits import FILE, FORM, META, Browser, events_with, form, sent

ANN, BOB = Visitor("a" * 32, browser=True, address="a"), Visitor("b" * 32, browser=True, address="b")


def started(keep_s: float = 1000, leave_s: float = 1000) -> str:
    """Returns code that starts the app with a hasty janitor."""
    return (
        "import sys, faceinsight.ui.janitor as janitor; "
        f"janitor.EVERY_S, janitor.KEEP_S, janitor.LEAVE_S = 0.1, {keep_s}, {leave_s}; "
        "from faceinsight.cli import main; sys.exit(main(['app', *sys.argv[1:]]))"
    )


@pytest.fixture
def photo(tmp_path, two_faces) -> Path:
    path = tmp_path / "photo.png"
    Image.fromarray(two_faces).save(path)
    return path


def left(app: App) -> list[str]:
    """Returns the files that the app has of its visitors, and whatever else it has not put in its own folders."""
    # Not by rglob, which would trip over what is deleted meanwhile.
    found = [Path(root, name).relative_to(app.temporary) for root, _, names in os.walk(app.temporary) for name in names]
    return [str(path) for path in found if path.parts[1:2] not in (("page",), ("lock",))]


def eventually(condition: Callable[[], bool], seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not condition() and time.monotonic() < deadline:
        time.sleep(0.1)
    return condition()


def analyse(visitor: Browser, photo: Path) -> str:
    """Uploads a picture and has it analysed by the Image tab."""
    (event, values), *_ = events_with(visitor, "image-input")
    file = sent("image-input", {"path": visitor.upload(photo)} | META)
    return visitor.join(event, [file if value is FILE else value for value in values])


def analyse_clip(visitor: Browser, clip: Path) -> str:
    """Uploads a clip and has it analysed by the Video tab, which makes files of it."""
    event, values = max(events_with(visitor, "video-input"), key=lambda event: len(event[1]))
    file = sent("video-input", {"path": visitor.upload(clip)} | META)
    return visitor.join(event, [file if value is FILE else value for value in values])


class Page:
    """An open page: the connection that it keeps."""

    def __init__(self, visitor: Browser) -> None:
        self._socket = socket.create_connection(visitor.app.url.removeprefix("http://").split(":"), timeout=20)
        self._socket.sendall(
            f"GET /gradio_api/heartbeat/{visitor.session} HTTP/1.1\r\nHost: {visitor.app.url.removeprefix('http://')}"
            f"\r\nCookie: {visitor.cookie}\r\n\r\n".encode()
        )
        assert b"200" in self._socket.recv(20)

    def close(self) -> None:
        self._socket.close()


def test_files_go_when_the_visitor_leaves(toy_pack, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(4))
    with served(tmp_path, "--pack", toy_pack, code=started(leave_s=4)) as app:
        ann, bob = Browser(app).open(), Browser(app).open()
        pages = [Page(visitor) for visitor in (ann, ann, bob)]
        assert "faces.mp4" in analyse_clip(ann, clip)
        anns = set(left(app))
        assert len(anns) == len(("clip.mp4", "clip-faces.mp4", "clip.csv", "clip-people.csv", "clip.json"))
        assert "faces.mp4" in analyse_clip(bob, clip)
        bobs = set(left(app)) - anns
        assert len(bobs) == len(anns)
        # Another of hers is open; and a page that is loaded anew is away for less than the janitor waits.
        pages[0].close()
        pages[2].close()
        again = Page(bob)
        time.sleep(6)
        assert set(left(app)) == anns | bobs
        pages[1].close()
        again.close()
        # Nor does a lost connection cost anything, as long as the page says that it is open.
        for _ in range(6):
            time.sleep(1)
            assert bob.ask("GET", "/gradio_api/app_id")[0] == 200
        assert eventually(lambda: bob.ask("GET", "/gradio_api/app_id")[0] == 200 and not anns & set(left(app)))
        assert set(left(app)) == bobs
        assert eventually(lambda: left(app) == [])
        (store,) = app.temporary.glob("faceinsight-*")
        assert list((store / "visitors").iterdir()) == []


def test_files_go_after_their_time_whatever_went_wrong_and_what_is_used_stays(toy_pack, tmp_path, photo):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(4))
    with served(tmp_path, "--pack", toy_pack, code=started(keep_s=6)) as app, ThreadPoolExecutor() as threads:
        user = Browser(app).open()
        path = user.upload(photo)

        def use() -> list[int]:
            return [time.sleep(1) or user.ask("GET", f"/gradio_api/file={path}")[0] for _ in range(9)]

        used = threads.submit(use)
        visitor = Browser(app).open()
        page = Page(visitor)
        bad = tmp_path / "bad.png"
        bad.write_bytes(photo.read_bytes()[:300])
        assert "faces.mp4" in analyse_clip(visitor, clip)
        assert "damaged" in analyse(visitor, bad)
        assert "not a video" in analyse_clip(visitor, bad)
        assert "faces.mp4" in analyse_clip(visitor, clip)
        assert any("faces.mp4" in name for name in left(app))
        program = Browser(app)
        program.upload(photo)
        program.ask(
            "POST", "/gradio_api/process_recording", form(b"1" * 9999, "a.mp4", "video"), **{"Content-Type": FORM}
        )
        assert used.result() == [200] * 9
        assert eventually(lambda: left(app) == [])
        page.close()
        assert "Traceback" not in app.output


def test_an_upload_that_breaks_off_leaves_nothing(toy_pack, tmp_path, photo):
    with served(tmp_path, "--pack", toy_pack) as app:
        visitor = Browser(app).open()
        whole = form(photo.read_bytes() * 1000)
        for share in (0.1, 0.5, 0.99):
            with closing(socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=20)) as broken:
                head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {app.url.removeprefix('http://')}\r\n"
                head += f"Content-Type: {FORM}\r\nContent-Length: {len(whole)}\r\nCookie: {visitor.cookie}\r\n\r\n"
                broken.sendall(head.encode() + whole[: int(len(whole) * share)])
                assert eventually(lambda: left(app) != [])
            assert eventually(lambda: left(app) == [])
        # What is no form, and a form that is none.
        visitor.ask("POST", "/gradio_api/upload", b"123", **{"Content-Type": "text/plain"})
        visitor.ask("POST", "/gradio_api/upload", whole[:9000], **{"Content-Type": FORM.replace("a-", "b-")})
        assert left(app) == []
        assert "Traceback" not in app.output
        assert visitor.upload(photo)


def test_the_janitor_outlives_a_race_of_uploads(toy_pack, tmp_path, photo):
    with served(tmp_path, "--pack", toy_pack, code=started(keep_s=0.5)) as app:
        visitors = [Browser(app).open() for _ in range(8)]

        def upload(number: int) -> str:
            time.sleep(number % 8 * 0.05)
            return visitors[number % 8].upload(photo)

        with ThreadPoolExecutor(8) as pool:
            paths = list(pool.map(upload, range(200)))
        assert len(set(paths)) == 200
        assert eventually(lambda: left(app) == [])
        # It is still there.
        visitors[0].upload(photo)
        assert eventually(lambda: left(app) == [])
        assert "ERROR" not in app.output


def test_what_a_killed_run_left_goes_with_the_next_start(toy_pack, tmp_path, photo):
    with served(tmp_path, "--pack", toy_pack) as killed:
        Browser(killed).upload(photo)
        killed.process.send_signal(signal.SIGKILL)
        killed.process.wait()
    assert len(left(killed)) == 1
    alive = tmp_path / "tmp" / "faceinsight-alive"
    alive.mkdir()
    with FileLock(alive / "lock"), served(tmp_path, "--pack", toy_pack) as app:
        assert left(app) == []
        assert len(list(alive.parent.glob("faceinsight-*"))) == 2
    assert list(alive.parent.glob("faceinsight-*")) == [alive]


def test_what_still_works_when_the_page_stops_leaves_nothing(tmp_path, monkeypatch):
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(temporary))
    monkeypatch.setenv("GRADIO_TEMP_DIR", "")
    made, refused = [], []

    def work() -> None:
        until = time.monotonic() + 60
        while len(refused) < 20 and time.monotonic() < until:
            made.append(1)
            try:
                store().room.check()
                with scratch_folder() as folder:
                    write_file(folder / "a.csv", b"a")
                    publish(b"b", "b.csv")
            except FaceInsightError as error:
                refused.append(error)

    for _ in range(20):
        made.clear()
        refused.clear()
        with run_files():
            thread = threading.Thread(target=work)
            thread.start()
            assert eventually(lambda: len(made) > 3)
        thread.join()
        assert "The page has been stopped: start it again." in map(str, refused)
        assert list(temporary.iterdir()) == []


def test_the_folders_of_others_are_left_alone(tmp_path):
    names = ("alive", "dead", "fresh", "old", "file")
    alive, dead, fresh, old, file = (tmp_path / f"faceinsight-{name}" for name in names)
    (tmp_path / "faceinsight-link").symlink_to(tmp_path / "theirs")
    (tmp_path / "theirs").mkdir()
    (tmp_path / "theirs" / "lock").touch()
    for folder in (alive, dead, fresh, old):
        folder.mkdir()
    (dead / "lock").touch()
    (dead / "deep").mkdir()
    (dead / "deep" / "photo.png").touch()
    (tmp_path / "faceinsight-half-gone").mkdir()
    file.touch()
    os.utime(old, (1, 1))
    with FileLock(alive / "lock"):
        clear_dead_runs(tmp_path)
        assert sorted(path.name for path in tmp_path.iterdir() if path.name != "home") == [
            "faceinsight-alive",
            "faceinsight-file",
            "faceinsight-fresh",
            "faceinsight-link",
            "theirs",
        ]


@pytest.fixture
def files(tmp_path, monkeypatch) -> FileStore:
    monkeypatch.setattr(janitor, "KEEP_S", 100.0)
    return FileStore(tmp_path / "files")


def put(files: FileStore, visitor: Visitor, age_s: float, size: int = 1) -> Path:
    path = files.folder_of(visitor) / os.urandom(4).hex() / "hash" / "photo.png"
    path.parent.mkdir(parents=True)
    path.write_bytes(bytes(size))
    return path


def test_only_what_is_due_goes(files, monkeypatch):
    paths = {name: put(files, ANN, 0) for name in ("old", "young", "used", "touched")}
    now = time.time()
    ages = {"old": 101, "young": 99, "used": 500, "touched": 500}
    leaf = {name: path.parents[1] for name, path in paths.items()}
    monkeypatch.setattr(janitor, "last_use", lambda path: now - next(ages[n] for n in leaf if leaf[n] == path))
    with files.using([paths["used"]]):
        Janitor(files).make_round()
        assert [name for name, path in paths.items() if path.exists()] == ["young", "used"]
    Janitor(files).make_round()
    assert [name for name, path in paths.items() if path.exists()] == ["young"]
    assert list((files.root / "trash").iterdir()) == []


def test_time_begins_anew_with_each_use(files):
    path = put(files, ANN, 0)
    before = janitor.last_use(path.parents[1])
    time.sleep(0.05)
    about = path.stat()
    with files.using([path]):
        pass
    assert janitor.last_use(path.parents[1]) > before
    # Not the file's: by that a browser knows that it has it already.
    assert path.stat().st_mtime == about.st_mtime
    assert janitor.last_use(files.root / "none") == 0


def test_a_round_that_fails_is_not_the_last(files, monkeypatch):
    rounds = []

    def broken(self) -> None:
        rounds.append(1)
        raise RuntimeError("Set changed size during iteration")

    monkeypatch.setattr(Janitor, "make_round", broken)
    monkeypatch.setattr(janitor, "EVERY_S", 0.01)
    with Janitor(files).at_work():
        assert eventually(lambda: len(rounds) > 3)
    assert not any(thread.name == "janitor" for thread in threading.enumerate())


def test_room_is_for_each_visitor_and_for_all(files):
    room = Room(files.visitors, Limits(visitor_mb=3, disk_mb=5, free_mb=1))
    mine, more, theirs = (files.folder_of(who) / name for who, name in ((ANN, "1"), (ANN, "2"), (BOB, "3")))
    room.take(mine, ANN.id, ANN.address, 2_000_000)
    with pytest.raises(NoRoomError, match="Your files take 2 MB here, of at most 3") as refused:
        room.take(more, ANN.id, ANN.address, 1_500_000)
    assert refused.value.status == 413
    room.take(theirs, BOB.id, BOB.address, 2_500_000)
    with pytest.raises(NoRoomError, match="no room for more files on this server") as refused:
        room.take(more, ANN.id, ANN.address, 600_000)
    assert refused.value.status == 507
    room.give_back(theirs)
    room.take(more, ANN.id, ANN.address, 600_000)
    room.give_back(more)
    room.give_back(mine)
    # What has come counts by what it takes.
    put(files, ANN, 0, 2_900_000)
    with pytest.raises(NoRoomError, match="Your files"):
        room.take(mine, ANN.id, ANN.address, 500_000)


def test_some_of_the_disk_is_left_free(files):
    room = Room(files.visitors, Limits(free_mb=10**9))
    with pytest.raises(FaceInsightError, match="no room for more files"):
        room.check()


def test_many_visitors_of_one_address_have_no_more_than_a_few(files):
    room = Room(files.visitors, Limits(visitor_mb=3, address_mb=5, disk_mb=100, free_mb=1))
    cookies = [Visitor(f"{n:032}", browser=True, address="eve") for n in range(4)]
    for visitor in cookies[:2]:
        room.take(files.folder_of(visitor) / "1", visitor.id, visitor.address, 2_000_000)
    with pytest.raises(NoRoomError, match="The files of your address take 4 MB here, of at most 5"):
        room.take(files.folder_of(cookies[2]) / "1", cookies[2].id, "eve", 2_000_000)
    program = Visitor("eve", browser=False, address="eve")
    with pytest.raises(NoRoomError, match="of your address"):
        room.take(files.folder_of(program) / "1", f"open-{program.id}-", "eve", 2_000_000)
    room.take(files.folder_of(ANN) / "1", ANN.id, "ann", 2_000_000)


def test_who_is_over_the_quota_hears_it_before_the_file_has_come(toy_pack, tmp_path):
    big = tmp_path / "noise.png"
    Image.fromarray(np.random.default_rng(0).integers(0, 255, (500, 500, 3), np.uint8)).save(big)
    room = {"FACEINSIGHT_VISITOR_MB": "2", "FACEINSIGHT_DISK_MB": "3", "FACEINSIGHT_FREE_MB": "1"}
    with served(tmp_path, "--pack", toy_pack, **room) as app:
        ann, bob, program = Browser(app).open(), Browser(app).open(), Browser(app)
        for _ in range(2):
            ann.upload(big)
        content = form(big.read_bytes())
        status, answer = ann.ask("POST", "/gradio_api/upload", content, **{"Content-Type": FORM})
        assert (status, answer.decode()[:16]) == (413, "Your files take ")
        bob.upload(big)
        status, answer = program.ask("POST", "/gradio_api/upload", content, **{"Content-Type": FORM})
        assert (status, answer.decode()[:16]) == (507, "There is no room")
        # Said at once, not when all of it is here.
        with closing(socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=5)) as slow:
            head = f"POST /gradio_api/upload HTTP/1.1\r\nHost: {app.url.removeprefix('http://')}\r\n"
            head += f"Content-Type: {FORM}\r\nContent-Length: {len(content)}\r\nCookie: {ann.cookie}\r\n\r\n"
            slow.sendall(head.encode() + content[:10])
            assert slow.recv(20).startswith(b"HTTP/1.1 413")
        assert len(left(app)) == 3


def test_a_clip_in_the_making_ends_where_the_disk_is_full(toy_pack, tmp_path):
    full = """
import sys
from faceinsight.ui.limits import Limits
from faceinsight.ui.room import NoRoomError, Room
def check(self):
    raise NoRoomError("There is no room.")
Room.check = check
from faceinsight.cli import main
main(["app", *sys.argv[1:]])
"""
    with served(tmp_path, "--pack", toy_pack, code=full) as app:
        visitor = Browser(app).open()
        assert "There is no room." in analyse_clip(visitor, write_clip(tmp_path / "clip.mp4", toy_frames(4)))
        assert [Path(path).name for path in left(app)] == ["clip.mp4"]
