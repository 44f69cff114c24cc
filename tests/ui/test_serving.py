"""The app over HTTP: its endpoints, its start and its end."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from pathlib import Path
from urllib.error import HTTPError

import pytest
from PIL import Image

from faceinsight import __version__
from faceinsight.stopping import exit_status
from faceinsight.ui.scripts import run_script
from tests.conftest import ROOT
from tests.serving import free_port, served
from tests.toy_media import toy_frames, write_clip
from tests.toy_models import toy_picture

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # while it is imported
    from gradio_client import Client, handle_file
    from gradio_client.exceptions import AppError

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")


# What every answer says of how it came about.
HEAD = {"version": __version__, "pack": "toy", "det_threshold": 0.5, "min_face": 0}


@pytest.fixture(scope="module")
def client(app):
    return Client(app.url, verbose=False, analytics_enabled=False)


@pytest.fixture
def photo(tmp_path, two_faces):
    path = tmp_path / "photo.png"
    Image.fromarray(two_faces).save(path)
    return str(path)


def test_analyze_image(client, photo):
    result = client.predict(image=handle_file(photo), api_name="/analyze_image")
    assert result["file"] == "photo.png"
    assert [face["gender"] for face in result["faces"]] == ["female", "male"]
    assert result | HEAD == result
    assert result["date"].startswith("20")


def test_its_options(client, photo):
    call = {"image": handle_file(photo), "api_name": "/analyze_image"}
    result = client.predict(**call, min_face=100)
    assert (result["faces"], result["min_face"]) == ([], 100)
    with pytest.raises(AppError, match="no model pack called 'x'"):
        client.predict(**call, pack="x")


def test_analyze_video(client, tmp_path):
    clip = write_clip(tmp_path / "clip.mp4", toy_frames(10))
    result = client.predict(video=handle_file(clip), rate=5, api_name="/analyze_video")
    assert result | HEAD == result
    assert (result["frames"], result["fps"]) == (5, 10)
    assert [row["time"] for row in result["rows"]] == [0, 0.2, 0.4, 0.6, 0.8]


def test_the_browsers_code_is_handed_out_and_nothing_beside_it(app):
    (address,) = re.findall(r'new URL\("\./([^"]+)"', run_script("webcam.js", "start"))
    with urllib.request.urlopen(f"{app.url}/{address}") as answer:
        assert "/javascript" in answer.headers["content-type"]
        assert answer.headers["content-disposition"].startswith("inline")
        assert b"export function start" in answer.read()
        assert answer.headers["cache-control"] == "no-cache"
        assert answer.headers["etag"]
    with pytest.raises(HTTPError, match="404"):
        urllib.request.urlopen(f"{app.url}/{address.replace('js/webcam.js', 'style.css')}")


@pytest.mark.parametrize(
    ("name", "content", "endpoint", "sentence"),
    [
        ("empty.jpg", b"", "image", "empty.jpg is empty"),
        ("notes.jpg", b"only text", "image", "notes.jpg is not an image that can be read"),
        ("cut.jpg", None, "image", "cut.jpg is damaged or cut short"),
        ("text.mp4", b"only text" * 99, "video", "text.mp4 is not a video that can be read"),
    ],
)
def test_bad_input_is_one_sentence_and_the_app_lives_on(
    client, app, photo, tmp_path, name, content, endpoint, sentence
):
    path = tmp_path / name
    if content is None:
        Image.new("RGB", (300, 300)).save(path)
        content = path.read_bytes()[:800]
    path.write_bytes(content)
    with pytest.raises(AppError, match=sentence):
        client.predict(**{endpoint: handle_file(path)}, api_name=f"/analyze_{endpoint}")
    with pytest.raises(AppError, match="upload one first"):
        client.predict(**{endpoint: None}, api_name=f"/analyze_{endpoint}")
    assert len(client.predict(image=handle_file(photo), api_name="/analyze_image")["faces"]) == 2
    assert "Traceback" not in app.output


def test_only_files_that_were_uploaded_are_read(client, app):
    body = json.dumps({"data": [{"path": "/etc/hostname"}, 0.5, 0, ""]}).encode()
    call = urllib.request.Request(
        f"{app.url}/gradio_api/call/analyze_image", body, {"Content-Type": "application/json"}
    )
    with urllib.request.urlopen(call) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{app.url}/gradio_api/call/analyze_image/{event}") as answer:
        assert b"event: error" in answer.read()
    assert "Traceback" not in app.output


def test_the_endpoints_are_documented(client):
    endpoints = client.view_api(return_format="dict", print_info=False)["named_endpoints"]
    assert sorted(endpoints) == ["/analyze_image", "/analyze_video"]
    names = [p["parameter_name"] for p in endpoints["/analyze_video"]["parameters"]]
    assert names == ["video", "start", "end", "rate", "det_threshold", "min_face", "pack"]
    for parameter in endpoints["/analyze_image"]["parameters"][1:]:
        assert parameter["parameter_has_default"]


def readme_block(language: str, containing: str) -> str:
    blocks = re.findall(rf"```{language}\n(.*?)```", (ROOT / "README.md").read_text(), re.DOTALL)
    (block,) = [block for block in blocks if containing in block]
    return block


def test_the_python_client_of_the_readme(app, photo):
    code = readme_block("python", "gradio_client").replace("http://127.0.0.1:7860", app.url)
    done = subprocess.run(
        [sys.executable, "-c", code.replace("photo.jpg", photo)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "female" in done.stdout


@pytest.mark.skipif(not shutil.which("curl"), reason="curl is not installed")
def test_the_start_says_where_and_with_what(app):
    lines = app.output.splitlines()
    assert lines[0] == f"FaceInsight is at {app.url}"
    assert lines[1] == "Pack toy · CPU"


def test_nothing_is_left_when_the_app_stops(toy_pack, tmp_path, photo):
    with served(tmp_path, "--pack", toy_pack) as app:
        client = Client(app.url, verbose=False, analytics_enabled=False)
        client.predict(image=handle_file(photo), api_name="/analyze_image")
        (folder,) = (tmp_path / "tmp").glob("faceinsight-*")
        assert any(path.is_file() for path in folder.rglob("photo.png"))
    assert app.process.returncode == 0
    assert list((tmp_path / "tmp").glob("faceinsight-*")) == []


STOPPED_WHERE_NOBODY_HEARS = """
import os, signal, sys
from faceinsight.cli import main
from faceinsight.ui import serve, workers

class Last:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGTERM)

def announce(*_):
    Last()

serve.announce = workers.announce = announce
sys.exit(main(["app", *sys.argv[1:]]))
"""


@pytest.mark.parametrize("workers", ["1", "2"])
def test_it_stops_where_python_drops_what_a_signal_raises(toy_pack, tmp_path, workers):
    env = os.environ | {"TMPDIR": str(tmp_path)}
    options = ["--port", str(free_port()), "--pack", toy_pack, "--workers", workers]
    code = [sys.executable, "-c", STOPPED_WHERE_NOBODY_HEARS, *options]
    ended = subprocess.run(code, cwd=ROOT, env=env, capture_output=True, text=True, timeout=120)
    assert "Exception ignored" in ended.stderr
    assert ended.returncode == 0
    assert list(tmp_path.glob("faceinsight-*")) == []


@pytest.fixture(scope="module")
def long_clip(tmp_path_factory):
    return write_clip(tmp_path_factory.mktemp("clips") / "clip.mp4", toy_frames(900), sound=True)


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_it_stops_while_clips_are_analysed(toy_pack, tmp_path, long_clip, number):
    with served(tmp_path, "--pack", toy_pack) as app:
        client = Client(app.url, verbose=False, analytics_enabled=False, httpx_kwargs={"timeout": 60})
        jobs = [client.submit(video=handle_file(long_clip), api_name="/analyze_video") for _ in range(3)]
        deadline = time.monotonic() + 60
        while sum(job.status().code.name == "PROCESSING" for job in jobs) < 2 and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not any(job.done() for job in jobs)
        asked = time.monotonic()
        app.process.send_signal(number)
        assert app.process.wait(60) == 0
        # Within 3 seconds; more where processes wait for their turn.
        assert time.monotonic() - asked < 6 * max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
        assert "Traceback" not in app.output
    assert list((tmp_path / "tmp").glob("faceinsight-*")) == []


def test_it_stops_with_readers_in_the_middle_of_an_answer(toy_pack, tmp_path):
    with served(tmp_path, "--pack", toy_pack) as app:
        readers = []
        for path in ("/", "/gradio_api/heartbeat/left", "/gradio_api/queue/data?session_hash=unknown"):
            reader = socket.create_connection(app.url.removeprefix("http://").split(":"), timeout=5)
            reader.sendall(f"GET {path} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
            reader.recv(20)
            readers.append(reader)
        readers[0].close()
        # There is no such session, which Gradio finds out in the middle of its answer.
        deadline = time.monotonic() + 60
        while "A request failed" not in app.output and time.monotonic() < deadline:
            time.sleep(0.05)
    for reader in readers:
        reader.close()
    # Where processes wait for their turn, it may take too long and be ended.
    assert app.process.returncode in (0, exit_status(signal.SIGTERM))
    assert "A request failed" in app.output
    assert "Traceback" not in app.output


def refused(*args: object) -> subprocess.CompletedProcess:
    """Starts an app that should say at once why it cannot be."""
    command = [sys.executable, "app.py", *map(str, args)]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=60, check=False)


def test_a_port_in_use_is_one_sentence(toy_pack):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        done = refused("--port", port, "--pack", toy_pack)
    assert done.returncode == 1
    assert done.stderr == (
        f"faceinsight: Port {port} of 127.0.0.1 cannot be used (address already in use): "
        "stop the program that uses it, or choose another with --port.\n"
    )


@pytest.mark.parametrize(
    ("args", "status", "sentence"),
    [
        (["--port", "99999"], 1, "choose"),
        (["--auth", "nobody"], 2, "give USER:PASS"),
        (["--host", "no.such.host.invalid"], 1, "cannot be used"),
    ],
)
def test_wrong_options_are_one_sentence(args, status, sentence):
    done = refused("--port", free_port(), *args)
    assert done.returncode == status
    assert sentence in done.stderr
    # What an option means is asked of its usage, which comes first.
    assert len(done.stderr.splitlines()) == 1 or (status == 2 and done.stderr.startswith("usage:"))


def test_without_models_the_page_is_there_and_says_what_to_do(tmp_path, photo):
    with served(tmp_path, "--pack", "buffalo_s") as app:
        assert "It cannot analyse faces yet. Pack buffalo_s cannot find faces" in app.output
        assert "`faceinsight models fetch buffalo_s`" in app.output
        client = Client(app.url, verbose=False, analytics_enabled=False)
        with pytest.raises(AppError, match="models fetch buffalo_s"):
            client.predict(image=handle_file(photo), api_name="/analyze_image")


def test_share_without_its_helper_says_so_and_serves_locally(toy_pack, tmp_path):
    # An unreachable proxy stands for a machine without internet.
    nowhere = {"HTTPS_PROXY": "http://127.0.0.1:9", "HTTP_PROXY": "http://127.0.0.1:9"}
    local = {"NO_PROXY": "127.0.0.1,localhost"}
    with served(tmp_path, "--pack", toy_pack, "--share", **nowhere, **local) as app:
        assert "There is no share link" in app.output
        assert "served on this machine only" in app.output
        with urllib.request.urlopen(app.url) as page:
            assert page.status == 200


def test_a_password(toy_pack, tmp_path):
    with served(tmp_path, "--pack", toy_pack, "--auth", "ann:s3cret:x") as app:
        with pytest.raises(Exception, match="401|403|login|auth"):
            Client(app.url, verbose=False, analytics_enabled=False)
        client = Client(app.url, auth=("ann", "s3cret:x"), verbose=False, analytics_enabled=False)
        assert client.view_api(return_format="dict", print_info=False)["named_endpoints"]


def test_several_visitors_at_once(app, tmp_path):
    paths = []
    for n in range(4):
        path = tmp_path / f"{n}.png"
        Image.fromarray(toy_picture({(n + 1, 2): (255, 255, 200)})).save(path)
        paths.append(path)
    clients = [Client(app.url, verbose=False, analytics_enabled=False) for _ in paths]
    jobs = [
        client.submit(image=handle_file(path), api_name="/analyze_image")
        for client, path in zip(clients, paths, strict=True)
    ]
    lefts = [job.result(timeout=60)["faces"][0]["x1"] for job in jobs]
    assert lefts == [32.0, 64.0, 96.0, 128.0]


def test_gradio_is_told_to_send_nothing_home():
    code = (
        "import os, faceinsight.ui, gradio.analytics as a, huggingface_hub.constants as h; "
        "ort = os.environ['ORT_DISABLE_TELEMETRY']; "
        "print(a.analytics_enabled(), h.HF_HUB_DISABLE_TELEMETRY, ort)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=ROOT, check=True)
    assert done.stdout.split() == ["False", "True", "1"]


def test_the_app_file_is_thin():
    assert len((ROOT / "app.py").read_text().splitlines()) < 15
    assert Path(ROOT / "assets" / "style.css").is_file()
