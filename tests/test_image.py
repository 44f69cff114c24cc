"""The container: its Dockerfile and, by `make test-image`, its files, made in a bare Debian and run as Docker would."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from urllib.error import URLError

import pytest
import yaml
from PIL import Image

from tests.conftest import ROOT
from tests.serving import free_port
from tests.toy_models import toy_picture
from tests.visits import Browser

DOCKERFILE = (ROOT / "Dockerfile").read_text()
MOST_MB = 700
# From the start of the process to the first page.
START_S = 5.0
USER = 10001


def test_the_dockerfile_is_clean():
    hadolint = Path(sys.executable).with_name("hadolint")
    if not hadolint.exists():
        pytest.skip("hadolint is not installed")
    done = subprocess.run([hadolint, ROOT / "Dockerfile"], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout


def test_the_container_has_few_rights():
    assert re.search(rf"^USER {USER}:{USER}$", DOCKERFILE, re.MULTILINE)
    assert re.search(r'^HEALTHCHECK .* CMD \["python", "-m", "faceinsight\.healthy"\]$', DOCKERFILE, re.MULTILINE)
    # All that is done is done by the script that the test runs.
    assert re.findall(r"^RUN (.*)$", DOCKERFILE, re.MULTILINE) == ["sh /source/scripts/image.sh /source /image"]
    services = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    for name, service in services.items():
        assert name in ("caddy", "faceinsight") or service["extends"] == "faceinsight", name
        if name == "faceinsight":
            assert service["read_only"] is True, name
            assert service["cap_drop"] == ["ALL"], name
            assert "ports" not in service, f"{name} is reached through Caddy alone"


def test_the_compose_file_and_caddy_name_the_same_things():
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())
    wanted = set(re.findall(r"\{\$(\w+)", (ROOT / "Caddyfile").read_text()))
    assert wanted <= set(compose["services"]["caddy"]["environment"])
    for pattern in re.findall(r"^!(.*)$", (ROOT / ".dockerignore").read_text(), re.MULTILINE):
        assert (ROOT / pattern).exists(), pattern


def test_whoever_asks_hears_whether_the_page_is_well():
    wrong = {"FACEINSIGHT_PORT": str(free_port())}
    done = subprocess.run([sys.executable, "-m", "faceinsight.healthy"], env=os.environ | wrong, cwd=ROOT, check=False)
    assert done.returncode == 1


@pytest.fixture(scope="module")
def image(tmp_path_factory) -> Path:
    if "TEST_IMAGE" not in os.environ:
        pytest.skip("the image takes minutes: `make test-image`")
    missing = [
        tool for tool in ("mmdebstrap", "unshare", "chroot") if not shutil.which(tool, path="/usr/sbin:/usr/bin:/sbin")
    ]
    if os.getuid() != 0 or missing:
        pytest.skip(f"the image is built by root alone, with mmdebstrap and unshare (missing: {missing or 'root'})")
    folder = Path(os.environ.get("TEST_IMAGE_FOLDER") or tmp_path_factory.mktemp("image"))
    made = folder / "bare" / "image"
    if not made.is_dir():
        script = ["bash", str(ROOT / "tests/bare_root.sh"), str(folder), "bookworm"]
        done = subprocess.run(["unshare", "--mount", *script], cwd=ROOT, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stdout + done.stderr
    return made


def environment() -> dict[str, str]:
    """What the Dockerfile sets."""
    (block,) = re.findall(r"^ENV ((?:.*\\\n)*.*)$", DOCKERFILE, re.MULTILINE)
    return dict(pair.split("=", 1) for pair in block.replace("\\\n", " ").split())


def command(image: Path, *words: str, **more: str) -> list[str]:
    pairs = [f"{name}={value}" for name, value in (environment() | more).items()]
    namespaces = ["unshare", "--mount", "--pid", "--fork", "--kill-child"]
    return [*namespaces, "bash", str(ROOT / "tests/run_image.sh"), str(image), *pairs, "--", *words]


class Container:
    """A running container, as far as `tests.visits` needs to know one."""

    def __init__(self, url: str, process: subprocess.Popen, log: Path) -> None:
        self.url, self.process, self.log = url, process, log


@contextmanager
def running(image: Path, folder: Path, **more: str) -> Iterator[tuple[Container, float]]:
    """Starts the container; gives it and the seconds to its first page."""
    port = free_port()
    log = folder / "log"
    python = environment()["PATH"].split(":")[0] + "/python"
    words = command(image, python, "-m", "faceinsight", "app", FACEINSIGHT_PORT=str(port), **more)
    began = time.monotonic()
    with log.open("w") as out:
        process = subprocess.Popen(words, stdout=out, stderr=out, start_new_session=True)
    container = Container(f"http://127.0.0.1:{port}", process, log)
    try:
        while time.monotonic() - began < 60:
            try:
                with urllib.request.urlopen(container.url, timeout=5) as answer:
                    assert b"FaceInsight" in answer.read()
                    break
            except (URLError, OSError):
                assert process.poll() is None, log.read_text()
                time.sleep(0.02)
        yield container, time.monotonic() - began
    finally:
        # The kernel forgets --kill-child when chroot changes the user; with its first process all of a namespace end.
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def size_mb(folder: Path) -> float:
    seen, total = set(), 0
    for path in folder.rglob("*"):
        about = path.lstat()
        if about.st_ino not in seen:
            seen.add(about.st_ino)
            total += about.st_size
    return total / 1e6


def test_the_image_is_small_and_nobody_can_write_to_it(image):
    size = size_mb(image)
    print(f"the image has {size:.0f} MB")
    assert size < MOST_MB
    code = """
import os, pathlib
print(os.getuid(), os.getgid())
for place in ("/", "/opt/faceinsight", "/models", "/etc", "/usr", "/tmp"):
    try:
        pathlib.Path(place, "x").write_text("x")
        print("wrote", place)
    except OSError:
        pass
"""
    python = environment()["PATH"].split(":")[0] + "/python"
    done = subprocess.run(command(image, python, "-c", code), capture_output=True, text=True, check=True)
    assert done.stdout.split("\n")[:2] == [f"{USER} {USER}", "wrote /tmp"]
    assert not (image / "bin/sh").exists()


def test_the_container_serves_the_page_and_ends_when_told(image, tmp_path):
    python = environment()["PATH"].split(":")[0] + "/python"
    starts = []
    for _ in range(3):
        with running(image, tmp_path) as (container, seconds):
            starts.append(seconds)
    print("seconds to the first page:", *(f"{seconds:.1f}" for seconds in starts))
    assert min(starts) <= START_S
    with running(image, tmp_path, FACEINSIGHT_ROOT_PATH="/faces") as (container, _):
        port = container.url.rpartition(":")[2]
        well = command(image, python, "-m", "faceinsight.healthy", FACEINSIGHT_PORT=port)
        assert subprocess.run(well, check=False).returncode == 0
        ann = Browser(container).open()
        path = tmp_path / "photo.png"
        Image.fromarray(toy_picture({})).save(path)
        data = [{"path": ann.upload(path), "meta": {"_type": "gradio.FileData"}}, 0.5, 0, ""]
        event = json.loads(ann.ask("POST", "/gradio_api/call/analyze_image", {"data": data})[1])["event_id"]
        said = ann.stream(f"/gradio_api/call/analyze_image/{event}")
        assert '"pack": "compact"' in said, said
        # The container's first process gets the signal.
        inside = Path(f"/proc/{container.process.pid}/task/{container.process.pid}/children").read_text().split()[0]
        os.kill(int(inside), signal.SIGTERM)
        assert container.process.wait(20) == 0, container.log.read_text()
        lines = [json.loads(line) for line in container.log.read_text().splitlines()]
        assert lines[0]["event"] == "started"


@pytest.mark.skipif(not shutil.which("caddy"), reason="Caddy is not installed")
def test_caddy_serves_it_under_a_path(image, tmp_path):
    with running(image, tmp_path, FACEINSIGHT_ROOT_PATH="/faces", FACEINSIGHT_METRICS_TOKEN="a-long-token") as (
        container,
        _,
    ):
        port = free_port()
        names = {
            "HOST_NAME": f"http://127.0.0.1:{port}",
            "ROOT_PATH": "/faces",
            "UPSTREAM": container.url.removeprefix("http://"),
            "XDG_DATA_HOME": str(tmp_path),
            "XDG_CONFIG_HOME": str(tmp_path),
        }
        caddy = subprocess.Popen(
            ["caddy", "run", "--config", ROOT / "Caddyfile", "--adapter", "caddyfile"],
            env=os.environ | names,
            stderr=subprocess.DEVNULL,
        )
        try:
            deadline = time.monotonic() + 20
            while time.monotonic() < deadline:
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}/faces/", timeout=5) as answer:
                        page, headers = answer.read().decode(), answer.headers
                        break
                except (URLError, OSError):
                    time.sleep(0.1)
            assert f'"root":"http://127.0.0.1:{port}/faces"' in page
            assert any("Path=/faces;" in cookie for cookie in headers.get_all("Set-Cookie"))
            for asset in re.findall(r'(?:src|href)="\./(assets/[^"]+)"', page)[:3]:
                with urllib.request.urlopen(f"http://127.0.0.1:{port}/faces/{asset}", timeout=5) as answer:
                    assert answer.status == 200
            for path in ("/faces/metrics", "/elsewhere"):
                try:
                    with urllib.request.urlopen(f"http://127.0.0.1:{port}{path}", timeout=5) as answer:
                        assert not answer.read(), path
                except URLError as error:
                    assert error.code == 404  # noqa: PT017
        finally:
            caddy.terminate()
            caddy.wait(10)
