"""No lookup and no connection to anywhere but this machine, seen from outside by strace.

ONNX Runtime calls home from native code some seconds after it is imported. So a plain import of it, with nothing
switched off, runs beside what is tested: all are watched until it has been caught, and some seconds more. SILENCE_S=45
in the environment watches for at least 45 seconds.
"""

from __future__ import annotations

import ipaddress
import json
import os
import re
import shutil
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import skimage
from PIL import Image

from faceinsight.telemetry import OFF
from tests.conftest import ROOT
from tests.serving import served

pytestmark = pytest.mark.filterwarnings("ignore::ResourceWarning")
ASTRONAUT = Path(skimage.__file__).parent / "data" / "astronaut.png"
SILENCE_S = float(os.environ.get("SILENCE_S", "0"))
# Longer than ONNX Runtime was ever seen to wait, on a busy machine.
PATIENCE_S = 90.0
AFTER_S = 3.0

ADDRESS = re.compile(r'sin6?_port=htons\((\d+)\).*?(?:inet_addr\(|inet_pton\(AF_INET6, )"([^"]+)"')
DNS_PORT = 53


def strace(trace: Path) -> tuple[str, ...]:
    """Returns what to put before a command, whose process stays the one that is started."""
    calls = "connect,sendto,sendmsg,sendmmsg"
    return ("strace", "-D", "-f", "-qq", "--signal=none", "-e", f"trace={calls}", "-o", str(trace))


def calls_out(trace: Path) -> list[str]:
    """Returns the lines of a trace that look a name up, or reach for another machine."""
    found = []
    for line in trace.read_text(errors="replace").splitlines():
        if "io.systemd.Resolve" in line:  # the resolver that some systems have instead of a DNS server
            found.append(line)
        found += [
            line
            for port, address in ADDRESS.findall(line)
            if int(port) == DNS_PORT or not ipaddress.ip_address(address).is_loopback
        ]
    return found


@contextmanager
def kept_running(trace: Path, code: str, **environment: str | None) -> Iterator[subprocess.Popen]:
    """Runs Python code under strace, and keeps its process alive until it is left."""
    # ONNX Runtime itself keeps quiet where it is told that it runs in CI.
    quiet = ("CI", "GITHUB_ACTIONS", "TF_BUILD")
    env = {n: v for n, v in (os.environ | environment).items() if v is not None and n not in quiet}
    command = [*strace(trace), sys.executable, "-c", f"import sys\n{code}\nprint('done', flush=True)\nsys.stdin.read()"]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, cwd=ROOT, env=env, stdin=pipe, stdout=pipe, text=True) as process:
        yield process  # its input ends with the block, and so does it


def written_boxes(folder: Path) -> Path:
    """Writes a data set of one picture."""
    folder.mkdir()
    Image.open(ASTRONAUT).convert("RGB").save(folder / "astronaut.jpg")
    (folder / "labels.json").write_text(json.dumps([{"name": "astronaut.jpg", "boxes": [[176, 55, 272, 190]]}]))
    return folder


def use_the_page(url: str) -> None:
    """Opens the page, has a picture analysed, and asks for one behind a link."""
    for path in ("", "/config", "/gradio_api/info", "/theme.css"):
        with urllib.request.urlopen(url + path) as answer:
            answer.read()
    boundary = "picture"
    body = (
        f'--{boundary}\r\nContent-Disposition: form-data; name="files"; filename="a.png"\r\n\r\n'.encode()
        + ASTRONAUT.read_bytes()
        + f"\r\n--{boundary}--\r\n".encode()
    )
    kind = {"Content-Type": f"multipart/form-data; boundary={boundary}"}
    with urllib.request.urlopen(urllib.request.Request(f"{url}/gradio_api/upload", body, kind)) as answer:
        (uploaded,) = json.load(answer)
    assert '"faces"' in called(url, uploaded)
    for link in ("http://files.example/photo.png", "http://127.0.0.1:9/photo.png"):
        assert "event: error" in called(url, link)


def called(url: str, path: str) -> str:
    """Returns the answers of /analyze_image to a path."""
    file = {"path": path, "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [file, 0.5, 0, ""]}).encode()
    call = f"{url}/gradio_api/call/analyze_image"
    with urllib.request.urlopen(urllib.request.Request(call, body, {"Content-Type": "application/json"})) as answer:
        event = json.load(answer)["event_id"]
    with urllib.request.urlopen(f"{call}/{event}", timeout=60) as answer:
        return str(answer.read().decode())


@pytest.fixture(scope="module")
def traces(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """Runs everything side by side, each in a process of its own, and returns what strace saw of each."""
    can = shutil.which("strace") and subprocess.run([*strace(Path(os.devnull)), "true"], check=False).returncode == 0
    if not can:
        # A green run of CI has to mean that somebody listened.
        assert not os.environ.get("CI"), "CI needs strace"
        pytest.skip("strace is not installed, or may not watch processes here")
    folder = tmp_path_factory.mktemp("silence")
    boxes = written_boxes(folder / "boxes")
    commands = {
        "analyze": ["analyze", str(ASTRONAUT), "--out", str(folder / "out")],
        "batch": ["batch", str(ASTRONAUT), "--out", str(folder / "faces.parquet"), "--jobs", "1"],
        "evaluate": ["evaluate", "detection", str(boxes)],
        "models": ["models"],
    }
    codes = {name: f"from faceinsight.cli import main\nassert main({args!r}) == 0" for name, args in commands.items()}
    codes["page"] = "from faceinsight.ui.demo import build_demo\nbuild_demo()"
    codes["onnxruntime"] = "import faceinsight, onnxruntime"
    # It stays off for who has switched it on.
    asked_for = dict.fromkeys(OFF, "0")
    seen = {name: folder / f"{number}.trace" for number, name in enumerate(("import", "app", *codes))}
    with ExitStack() as stack:
        started = time.monotonic()
        nothing_off = dict.fromkeys(OFF)
        stack.enter_context(kept_running(seen["import"], "import onnxruntime", **nothing_off))
        running = [stack.enter_context(kept_running(seen[name], code, **asked_for)) for name, code in codes.items()]
        app = stack.enter_context(served(folder, prefix=strace(seen["app"]), **asked_for))
        use_the_page(app.url)
        for process in running:
            assert "done\n" in iter(process.stdout.readline, ""), "a command failed"
        while not calls_out(seen["import"]) and time.monotonic() - started < PATIENCE_S:
            time.sleep(0.2)
        time.sleep(max(AFTER_S, SILENCE_S - (time.monotonic() - started)))
    return seen


WHAT = ["app", "analyze", "batch", "evaluate", "models", "page", "onnxruntime"]


@pytest.mark.parametrize("what", WHAT)
def test_nothing_leaves_the_machine(traces, what):
    assert traces[what].exists()
    assert calls_out(traces[what]) == []


def test_with_nothing_switched_off_it_would_have_been_seen(traces):
    assert calls_out(traces["import"])
