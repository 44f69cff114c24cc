"""The wheel works on its own: an empty environment, another folder, nothing of the checkout."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
import urllib.request
import zipfile
from pathlib import Path
from urllib.error import URLError

import pytest

from tests.conftest import ROOT
from tests.material import PHOTOS
from tests.serving import START_S, free_port


def uv(*args: object, **environment: str) -> None:
    """Runs uv without the internet: what the environment of the tests was made of is kept by it."""
    program = shutil.which("uv") or ROOT / ".uv" / "bin" / "uv"
    if not Path(program).exists():
        pytest.skip("uv is not installed")
    command = [str(program), *map(str, args), "--offline", "--quiet"]
    done = subprocess.run(command, cwd=ROOT, env=os.environ | environment, capture_output=True, text=True, check=False)
    if "offline" in done.stderr and not os.environ.get("CI"):
        pytest.skip(f"uv has not kept what is needed: {done.stderr}")
    assert done.returncode == 0, done.stderr


@pytest.fixture(scope="module")
def wheel(tmp_path_factory):
    folder = tmp_path_factory.mktemp("wheel")
    uv("build", "--wheel", "--out-dir", folder)
    (path,) = folder.glob("*.whl")
    return path


@pytest.fixture(scope="module")
def installed(wheel, tmp_path_factory):
    """The folder of the programs of an environment with the locked packages and the wheel, and no more."""
    folder = tmp_path_factory.mktemp("empty") / "env"
    uv("sync", "--frozen", "--no-dev", "--no-install-project", UV_PROJECT_ENVIRONMENT=str(folder))
    programs = folder / ("Scripts" if os.name == "nt" else "bin")
    uv("pip", "install", "--no-deps", "--python", programs / "python", wheel)
    return programs


def test_the_wheel_holds_all_that_is_used_and_no_more(wheel):
    with zipfile.ZipFile(wheel) as archive:
        names = set(archive.namelist())
    assets = {path.relative_to(ROOT) for path in (ROOT / "assets").rglob("*") if path.is_file()}
    expected = {f"faceinsight/{path.as_posix()}" for path in assets if path.parts[1] != "screenshots"}
    code = {path.relative_to(ROOT).as_posix() for path in (ROOT / "faceinsight").rglob("*.py")}
    assert expected | code <= names
    assert {re.sub(r"-.*", "", name.split("/")[0]) for name in names} == {"faceinsight"}
    assert wheel.stat().st_size < 12_000_000


def test_it_answers_about_a_photo(installed, tmp_path):
    photo = shutil.copy(PHOTOS["astronaut.png"], tmp_path)
    done = subprocess.run(
        [installed / "faceinsight", "analyze", photo, "--out", "results"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert re.search(r"#1 · \d+ y · female", done.stdout)
    assert (tmp_path / "results" / "astronaut-faces.jpg").exists()


def test_it_serves_the_page_with_its_code(installed, tmp_path):
    port = free_port()
    env = os.environ | {"TMPDIR": str(tmp_path)}
    with (tmp_path / "log").open("w") as log:
        app = subprocess.Popen(
            [installed / "faceinsight", "app", "--port", str(port)], cwd=tmp_path, env=env, stdout=log, stderr=log
        )
    try:
        page = get(f"http://127.0.0.1:{port}/", app)
        script = re.search(r"gradio_api/file=([^\"\\]+/faceinsight/assets/js/image\.js)", page)
        assert script is not None
        assert str(installed.parent) in script[1]
        assert "export function start" in get(f"http://127.0.0.1:{port}/gradio_api/file={script[1]}", app)
    finally:
        app.terminate()
        assert app.wait(60) == 0


def get(url: str, app: subprocess.Popen) -> str:
    deadline = time.monotonic() + START_S
    while True:
        try:
            with urllib.request.urlopen(url, timeout=10) as answer:
                return answer.read().decode()
        except (URLError, OSError):
            assert app.poll() is None
            assert time.monotonic() < deadline
            time.sleep(0.2)
