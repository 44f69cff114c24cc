"""What the repository promises as a whole."""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tomllib

import pytest

import faceinsight
from tests.conftest import ROOT

LOCK = tomllib.loads((ROOT / "uv.lock").read_text())
VERSIONS = {package["name"]: package["version"] for package in LOCK["package"]}


def requirement_names(name: str) -> dict[str, str]:
    lines = (ROOT / name).read_text().splitlines()
    pins = [line.split(";")[0].strip() for line in lines if line and not line.startswith("#")]
    return dict(pin.split("==") for pin in pins)


def test_there_is_exactly_one_opencv():
    assert [name for name in VERSIONS if "opencv" in name] == ["opencv-python-headless"]
    pip = requirement_names("requirements.txt")
    assert [name for name in pip if "opencv" in name] == ["opencv-python-headless"]
    # Hosted Spaces install with dependencies: both must be of one version then.
    before = requirement_names("pre-requirements.txt")
    assert before == {"opencv-python": pip["opencv-python-headless"]}


def test_requirements_are_those_of_the_lock():
    uv = shutil.which("uv") or str(ROOT / ".uv" / "bin" / "uv")
    if not shutil.which(uv):
        pytest.skip("uv is not installed")
    options = "--no-dev --no-emit-project --no-hashes --no-annotate --no-header --quiet --frozen"
    done = subprocess.run(
        [uv, "export", "--offline", *options.split()],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout == (ROOT / "requirements.txt").read_text()


def test_the_hosted_space_is_described():
    front = (ROOT / "README.md").read_text().split("---")[1]
    values = dict(line.split(": ", 1) for line in front.strip().splitlines())
    assert values["sdk"] == "gradio"
    assert values["sdk_version"] == VERSIONS["gradio"]
    assert (ROOT / values["app_file"]).is_file()
    assert len(values["short_description"]) <= 60
    assert (ROOT / "packages.txt").read_text() == "libgl1\n"


def test_the_pictures_of_the_readme_and_the_docs_are_there():
    shown = {
        (page.parent / link).resolve()
        for page in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
        for link in re.findall(r"!\[[^]]*\]\(([^)]+)\)", page.read_text())
    }
    assert shown == set((ROOT / "assets" / "screenshots").iterdir())
    for picture in shown:
        assert picture.stat().st_size > 10_000


def test_the_public_names_are_documented():
    for name in faceinsight.__all__:
        assert (getattr(faceinsight, name).__doc__ or "").strip(), name


def test_no_module_grows_beyond_a_room():
    for path in (ROOT / "faceinsight").rglob("*.py"):
        assert len(path.read_text().splitlines()) <= 400, path


def test_importing_the_package_is_light():
    code = "import sys, faceinsight; print('gradio' in sys.modules, 'torch' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False", "False"]


def test_the_product_names_no_place_beside_the_project():
    for path in [
        *(ROOT / "faceinsight").rglob("*.py"),
        ROOT / "app.py",
        *ROOT.glob("*.md"),
        *(ROOT / "docs").glob("*.md"),
    ]:
        assert "../shared" not in path.read_text(), path


def test_every_threat_names_a_test_that_is_there():
    rows = [line for line in (ROOT / "SECURITY.md").read_text().splitlines() if line.startswith("| ")][2:]
    assert rows
    for row in rows:
        tests = re.findall(r"`(tests/[\w/]+\.py)(?:::(\w+))?", row)
        assert tests, row
        for path, name in tests:
            assert f"def {name or 'test_'}" in (ROOT / path).read_text(), (path, name)
