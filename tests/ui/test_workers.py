"""Several processes behind one port: every visitor stays at one of them, and all else is as with one."""

from __future__ import annotations

import itertools
import json
import os
import re
import signal
import socket
import time
import warnings
from collections.abc import Iterable
from contextlib import ExitStack, suppress
from pathlib import Path
from urllib.error import HTTPError
from urllib.request import urlopen

import pytest
from PIL import Image

from faceinsight.errors import FaceInsightError
from faceinsight.ui import LaunchOptions, launch
from faceinsight.ui.limits import SHARED, Limits
from faceinsight.ui.metrics import merged
from tests.serving import free_port, served
from tests.strangers import Answer, Stranger, frame_of, indices_of, jpeg
from tests.toy_models import toy_picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # while it is imported
    from gradio_client import Client, handle_file

count = itertools.count()
TOKEN = "a-token-of-ours"
FACE = {(3, 2): (255, 240, 200)}
WORKER = re.compile(r"faceinsight-worker-\d+=(\d+)")
pytestmark = pytest.mark.skipif(not Path("/proc").is_dir(), reason="processes are found by /proc")


@pytest.fixture(scope="module")
def app(toy_pack, tmp_path_factory):
    """For every network, so that nobody on this machine may do more; three places at the camera in all."""
    options = {"FACEINSIGHT_PLACES": "3", "FACEINSIGHT_STREAMS": "2", "FACEINSIGHT_METRICS_TOKEN": TOKEN}
    options |= {"FACEINSIGHT_VISITOR_MB": "5"}
    folder = tmp_path_factory.mktemp("workers")
    with served(folder, "--pack", toy_pack, "--workers", 2, "--host", "0.0.0.0", **options) as running:
        yield running


class Visitor(Stranger):
    """A browser, with all cookies that the page gives."""

    def page(self) -> Visitor:
        answer = self.get("/", Accept="text/html")
        assert answer.status == 200
        given = dict(cookie.split(";")[0].split("=", 1) for cookie in answer.headers.get_all("Set-Cookie", []))
        before = dict(pair.split("=", 1) for pair in self.headers.get("Cookie", "").split("; ") if pair)
        self.headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in (before | given).items())
        return self

    @property
    def worker(self) -> int:
        return int(WORKER.search(self.headers["Cookie"])[1])


def one_at(app, number: int) -> Visitor:
    """Opens pages until one is at a worker."""
    return next(one for _ in range(20) if (one := Visitor(app).page()).worker == number)


def processes_of(app) -> list[int]:
    """The processes that the app has started, and those that they have."""
    found, new = [], [app.process.pid]
    while new:
        children = [int(n) for pid in new for path in Path(f"/proc/{pid}/task").glob("*/children") for n in text(path)]
        found, new = [*found, *new], children
    return found[1:]


def text(path: Path) -> list[str]:
    with suppress(OSError):
        return path.read_text().split()
    return []


def is_alive(pid: int) -> bool:
    with suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def workers_of(app) -> dict[int, int]:
    """The processes that serve, by their numbers."""
    said = {pid: Path(f"/proc/{pid}/cmdline").read_text() for pid in processes_of(app)}
    return {int(line.split("worker-")[1].strip("\0")): pid for pid, line in said.items() if "worker-" in line}


def comes_true(what, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while not what() and time.monotonic() < deadline:
        time.sleep(0.05)
    return bool(what())


def numbers(app) -> dict[str, float]:
    answer = Stranger(app).get("/metrics", Authorization=f"Bearer {TOKEN}")
    assert answer.status == 200
    lines = [line.rsplit(" ", 1) for line in answer.body.decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in lines}


def look(visitor: Stranger) -> dict:
    parts = json.loads(visitor.get("/config").body)["components"]
    (component,) = [part["id"] for part in parts if part["props"].get("elem_id") == "models"]
    call = {
        "component_id": component,
        "fn_name": "packs",
        "session_hash": f"look{next(count)}",
        "data": {"what": "look"},
    }
    return json.loads(visitor.post("/gradio_api/component_server", call).body)


def test_the_start_is_said_once(app):
    port = app.url.rpartition(":")[2]
    assert app.output.splitlines() == [
        f"FaceInsight is at http://localhost:{port}",
        "Pack toy · CPU",
        "2 workers",
        "Press Ctrl+C to stop.",
    ]
    assert len(workers_of(app)) == 2


def test_visitors_are_shared_out_and_stay(app):
    visitors = [Visitor(app).page() for _ in range(4)]
    assert sorted(one.worker for one in visitors) == [1, 1, 2, 2]
    for one in visitors:
        # Only where it was made is the visitor's token known, and the page opened without a new one.
        before = one.headers["Cookie"]
        assert one.page().headers["Cookie"] == before
        assert one.get("/config").status == 200
    answer = Visitor(app).get("/", Cookie=f"faceinsight-worker-{app.url.rpartition(':')[2]}=77")
    assert WORKER.search(str(answer.headers.get_all("Set-Cookie")))
    cookie = next(one for one in answer.headers.get_all("Set-Cookie") if "worker" in one)
    assert cookie.endswith("; Path=/; HttpOnly; SameSite=Lax")
    secure = Visitor(app, **{"X-Forwarded-Proto": "https"}).get("/").headers.get_all("Set-Cookie")
    assert len(secure) == 2
    assert all(one.endswith("; Secure") for one in secure)
    assert [len(answer.headers.get_all(name)) for name in ("Server", "Date")] == [1, 1]


def test_programs_find_their_files_again(app, tmp_path):
    """They keep no cookies: their address says where they go."""
    Image.fromarray(toy_picture(FACE)).save(tmp_path / "photo.png")
    before = numbers(app)
    for number in range(4):
        one = Stranger(app, **{"X-Forwarded-For": f"192.0.2.{number}"})
        event = json.loads(one.call("analyze_image", one.upload(tmp_path / "photo.png")).body)["event_id"]
        assert b"female" in one.get(f"/gradio_api/call/analyze_image/{event}").body
    done = 'faceinsight_event_seconds_count{endpoint="analyze_image",worker="%s"}'
    more = [numbers(app)[done % number] - before.get(done % number, 0) for number in (1, 2)]
    assert sum(more) == 4
    assert all(more), "both work"


def test_the_python_client(app, tmp_path):
    Image.fromarray(toy_picture(FACE)).save(tmp_path / "photo.png")
    client = Client(app.url, verbose=False, analytics_enabled=False)
    result = client.predict(image=handle_file(tmp_path / "photo.png"), api_name="/analyze_image")
    assert [face["gender"] for face in result["faces"]] == ["female"]


def test_answers_that_go_on_come_as_they_are_said_and_end_with_their_reader(app):
    one = Visitor(app).page()
    with one.open("/gradio_api/heartbeat/a") as first, one.open("/gradio_api/heartbeat/b") as second:
        assert first.status == second.status == 200
        assert b"ALIVE" in first.readline() + first.readline()
        assert one.get("/gradio_api/heartbeat/c").status == 429
    # The worker hears that the two have left, so there is room again.
    with ExitStack() as stack:
        assert comes_true(lambda: stack.enter_context(one.open("/gradio_api/heartbeat/d")).status == 200, 5)


def test_places_are_the_same_in_all_and_everybody_is_followed_where_they_are(app, toy_pack):
    camera = indices_of(app)["camera"]
    places = {name: value for name, value in numbers(app).items() if name.startswith("faceinsight_places{")}
    assert places == {'faceinsight_places{worker="1"}': 2, 'faceinsight_places{worker="2"}': 1}
    visitors = [one_at(app, 1), one_at(app, 1), one_at(app, 2), one_at(app, 2)]
    frame = jpeg(toy_picture(FACE))
    for time_s in (1.0, 1.1, 1.2):
        answers = [one.frame(camera, f"camera{n}", frame_of(frame, time_s, toy_pack)) for n, one in enumerate(visitors)]
        assert [len(answer.get("faces", [])) for answer in answers] == [1, 1, 1, 0]
        assert answers[-1]["line"] == 1


def test_nobody_is_elsewhere_or_nearer_by_their_own_word(app, tmp_path):
    """A worker listens at this machine's own address, and the page does not."""
    told = f"{'0' * 64}{json.dumps([['127.0.0.1', 1], ['127.0.0.1', 80], 'http'])}"
    for headers in ({}, {"X-Forwarded-For": "127.0.0.1"}, {"X-FaceInsight-Before": told}):
        answer = look(Visitor(app, **headers).page())
        assert answer["packs"]
        assert not answer["may"]
    # At a worker's own port nobody is answered but the process before it.
    listening = {int(line.split()[1].split(":")[1], 16) for line in listening_sockets(workers_of(app).values())}
    assert len(listening) == 2
    for port in listening:
        for path in ("", "healthz", "metrics", "config"):
            with pytest.raises(HTTPError, match="404"):
                urlopen(f"http://127.0.0.1:{port}/{path}", timeout=10)


def listening_sockets(pids: Iterable[int]) -> list[str]:
    links = [os.readlink(link) for pid in pids for link in Path(f"/proc/{pid}/fd").iterdir() if link.is_symlink()]
    lines = [line for line in Path("/proc/net/tcp").read_text().splitlines() if line.split()[3] == "0A"]
    return [line for line in lines if f"socket:[{line.split()[9]}]" in links]


def test_health_and_numbers_are_those_of_all(app):
    assert Stranger(app).get("/metrics").status == 401
    found = numbers(app)
    for number in (1, 2):
        assert 50e6 < found[f'process_resident_memory_bytes{{worker="{number}"}}'] < 4e9
        assert found[f'faceinsight_info{{version="0.1.0",worker="{number}"}}'] == 1
    assert Stranger(app).get("/healthz").status == 200
    assert Stranger(app).send("HEAD", "/healthz").status == 200
    assert Stranger(app).post("/healthz", {}).status == 405


def test_what_is_not_taken_is_refused_before_it_has_come(app):
    ask = {
        "413": b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nContent-Length: 6000000\r\n\r\n",
        "411": b"POST /gradio_api/upload HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n",
        "200": b"GET /healthz HTTP/1.0\r\n\r\n",
        "404": b"GET /nothing HTTP/1.0\r\n\r\n",
        "400": b"GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n",
    }
    for status, head in ask.items():
        with socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=10) as one:
            one.sendall(head + b"x" * 1000 * ("Length" in str(head)))
            assert one.recv(1000).split()[1].decode() == status


def test_a_worker_that_dies_comes_back_and_the_other_goes_on(app):
    ann, bob = one_at(app, 1), one_at(app, 2)
    os.kill(workers_of(app)[1], signal.SIGKILL)
    assert comes_true(lambda: ann.get("/config").status == 503, 10)
    assert "started anew" in ann.get("/config").sentence
    with bob.open("/gradio_api/heartbeat/bob") as heart:
        assert Stranger(app).get("/healthz").status == 503
        # Who opens the page meanwhile is at the other one.
        assert Visitor(app).page().worker == 2
        assert bob.get("/config").status == 200
        assert comes_true(lambda: Stranger(app).get("/healthz").status == 200)
        assert b"ALIVE" in heart.readline() + heart.readline()
    assert bob.get("/config").status == 200
    # Ann is somebody new there.
    before = ann.headers["Cookie"]
    assert ann.page().headers["Cookie"] != before
    assert ann.get("/config").status == 200
    lines = [line for line in app.output.splitlines() if "Worker" in line]
    assert lines == ["ERROR: Worker 1 has ended (status -9): it is started anew."]


def log_in(stranger: Stranger, password: str) -> Answer:
    form = f"username=ann&password={password}".encode()
    return stranger.post("/login", form, **{"Content-Type": "application/x-www-form-urlencoded"})


def test_passwords_are_tried_in_all_and_the_end_leaves_nothing(toy_pack, tmp_path):
    options = ("--workers", 2, "--auth", "ann:s3cret", "--trusted-proxies", "198.51.100.99")
    with served(tmp_path, "--pack", toy_pack, *options, FACEINSIGHT_PASSWORD_S="1000") as app:
        ann, bob = one_at(app, 1), one_at(app, 2)
        for one in (ann, bob) * 3:
            assert log_in(one, "s3cret").status == 200
        # Whatever worker they choose, and wherever they say that they are.
        eves = itertools.cycle((ann, bob, Visitor(app, **{"X-Forwarded-For": "192.0.2.1"})))
        said = [log_in(next(eves), "guess").status for _ in range(8)]
        assert said == [400] * 5 + [429] * 3
        with ann.open("/gradio_api/heartbeat/ann"), bob.open("/gradio_api/heartbeat/bob"):
            started = processes_of(app)
            assert len(list(app.temporary.glob("faceinsight-*"))) == 2
            asked = time.monotonic()
            app.process.terminate()
            assert app.process.wait(30) == 0
            assert time.monotonic() - asked < 3 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert comes_true(lambda: not any(map(is_alive, started)), 5)
        assert list(app.temporary.glob("faceinsight-*")) == []
        assert "Traceback" not in app.output


def test_what_cannot_be_is_one_sentence(toy_pack):
    with pytest.raises(FaceInsightError, match="leave out --share, or --workers"):
        launch(LaunchOptions(port=free_port(), workers=2, share=True))
    with pytest.raises(FaceInsightError, match="provider openvino is not here"):
        launch(LaunchOptions(port=free_port(), workers=2, pack=str(toy_pack), provider="openvino"))


def test_parts_make_up_the_whole():
    limits = Limits()
    for workers in (1, 2, 3, 7):
        parts = [limits.of_worker(number, workers) for number in range(1, workers + 1)]
        for name in SHARED:
            assert sum(getattr(part, name) for part in parts) == getattr(limits, name), name
        assert sum(part.pages_per_s for part in parts) == pytest.approx(limits.pages_per_s)
    assert {limits.of_worker(number, 64).places for number in (1, 8, 9, 64)} == {1}


def test_numbers_of_several_keep_their_kind():
    said = (
        '# HELP a_total Of it.\n# TYPE a_total counter\na_total{b="c"} 1.0\n# HELP d Of that.\n# TYPE d gauge\nd 2.0\n'
    )
    assert merged({"1": said, "2": said}).decode() == (
        "# HELP a_total Of it.\n# TYPE a_total counter\n"
        'a_total{b="c",worker="1"} 1.0\na_total{b="c",worker="2"} 1.0\n'
        '# HELP d Of that.\n# TYPE d gauge\nd{worker="1"} 2.0\nd{worker="2"} 2.0\n'
    )


def test_who_kills_the_process_before_them_kills_all(app):
    """Last, of the app that all tests share."""
    started = processes_of(app)
    assert len(started) >= 2
    app.process.kill()
    assert comes_true(lambda: not any(map(is_alive, started)), 10)
    assert comes_true(lambda: not list(app.temporary.glob("faceinsight-*")), 5)
