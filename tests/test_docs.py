"""README.md, CONTRIBUTING.md and docs/: their code runs or at least parses, their links lead somewhere."""

from __future__ import annotations

import glob
import io
import json
import os
import re
import shlex
import subprocess
import tomllib
from contextlib import redirect_stdout
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import unquote

import pytest
import yaml
from PIL import Image

import faceinsight
from faceinsight.cli import build_parser, main
from tests.conftest import ROOT
from tests.material import PHOTOS
from tests.serving import served
from tests.toy_media import write_clip

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "SECURITY.md", *sorted((ROOT / "docs").glob("*.md"))]


@dataclass(frozen=True)
class Block:
    """A block of code: which page it stands in, its kind, why it is not run ("" where it is), and its text."""

    page: str
    kind: str
    excuse: str
    text: str


def blocks() -> list[Block]:
    found = []
    for page in PAGES:
        for excuse, kind, text in re.findall(
            r"^(?:<!-- not run: (.+?) -->\n)?```(\w*)\n(.*?)^```$", page.read_text(), re.DOTALL | re.MULTILINE
        ):
            found.append(Block(page.relative_to(ROOT).as_posix(), kind, excuse, text))
    return found


BLOCKS = blocks()


def names(kinds: tuple[str, ...]) -> list[object]:
    counted: dict[str, int] = {}
    cases = []
    for block in BLOCKS:
        if block.kind in kinds:
            counted[block.page] = counted.get(block.page, 0) + 1
            cases.append(pytest.param(block, id=f"{block.page}-{block.kind}-{counted[block.page]}"))
    return cases


def commands(block: Block) -> list[str]:
    """The lines of a shell's block, with those that go on after a backslash in one."""
    return [line for line in block.text.replace("\\\n", " ").splitlines() if line.strip() and not line.startswith("#")]


def of_faceinsight(line: str) -> list[str] | None:
    """The arguments of our command in a line, or None where the line is another's."""
    words = shlex.split(line, comments=True)
    while words and re.fullmatch(r"\w+=.*", words[0]):
        words.pop(0)
    if words[:1] == ["uvx"]:
        words = words[3:]
    if not words or Path(words[0]).name != "faceinsight":
        return None
    return words[1 : words.index(">")] if ">" in words else words[1:]


def test_every_kind_of_block_is_looked_at():
    assert {block.kind for block in BLOCKS} <= {"bash", "bat", "python", "toml", "yaml", "json", "sql", "caddyfile"}
    assert sum(block.kind in ("bash", "python") and not block.excuse for block in BLOCKS) >= 8


@pytest.mark.parametrize("block", names(("bash",)))
def test_shells_read_it_and_our_command_takes_it(block, capsys):
    subprocess.run(["bash", "-n"], input=block.text, text=True, check=True)
    for line in commands(block):
        if (args := of_faceinsight(line)) is not None:
            try:
                build_parser().parse_args(args)
            except SystemExit:
                pytest.fail(f"{line}: {capsys.readouterr().err}")


@pytest.mark.parametrize("block", names(("toml", "json", "yaml")))
def test_what_is_data_can_be_read(block):
    read = {"toml": tomllib.loads, "json": json.loads, "yaml": yaml.safe_load}[block.kind]
    assert read(block.text)


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder with the files that the pages speak of."""
    folder = tmp_path / "place"
    (folder / "photos").mkdir(parents=True)
    astronaut = Image.open(PHOTOS["astronaut.png"]).convert("RGB")
    for name in ("photo.jpg", "photos/a.jpg", "photos/b.jpg"):
        astronaut.save(folder / name)
    write_clip(folder / "clip.mp4", [faceinsight.load_image(folder / "photo.jpg").pixels] * 6)
    (folder / "notes.txt").write_text("no picture")
    monkeypatch.chdir(folder)
    return folder


@pytest.fixture(scope="module")
def app(tmp_path_factory):
    with served(tmp_path_factory.mktemp("app")) as running:
        yield running


def run_line(line: str) -> None:
    """Runs a line of our command as a shell would, in this process."""
    words = shlex.split(line, comments=True)
    target = words.pop() if ">" in words else None
    args = []
    for word in of_faceinsight(line) or []:
        args += sorted(glob.glob(word)) if "*" in word else [word]
    assert args[0] != "app", "the page serves until it is stopped: <!-- not run: why -->"
    out = io.StringIO()
    with redirect_stdout(out):
        assert main(args) == 0, line
    if target is not None:
        Path(target).write_text(out.getvalue())
    assert out.getvalue(), line


@pytest.mark.parametrize("page", sorted({block.page for block in BLOCKS}))
def test_what_is_told_works(page, place, request):
    space: dict[str, object] = {
        "__name__": page,
        "frames": [(n / 10, faceinsight.load_image("photo.jpg").pixels) for n in (1, 2)],
    }
    for block in BLOCKS:
        if block.page != page or block.excuse or block.kind not in ("bash", "python"):
            continue
        text = block.text
        if "127.0.0.1:7860" in text:
            text = text.replace("http://127.0.0.1:7860", request.getfixturevalue("app").url)
        if block.kind == "python":
            exec(compile(text, page, "exec"), space)
        elif all(of_faceinsight(line) for line in commands(block)):
            for line in commands(block):
                run_line(line)
        else:
            strange = [line for line in commands(block) if not re.match(r"curl|\w+=", line)]
            assert not strange, "what is not run has to say so: <!-- not run: why -->"
            done = subprocess.run(["bash", "-eu"], input=text, text=True, capture_output=True, cwd=place, check=False)
            assert done.returncode == 0, done.stderr
            assert '"faces"' in done.stdout
    if page == "docs/command.md":
        assert json.loads((place / "faces.json").read_text())[0]["faces"]
        assert {path.suffix for path in place.glob("*.*")} > {".html", ".csv", ".parquet"}


def slugs(page: Path) -> set[str]:
    """The names by which headings can be linked to."""
    titles = re.findall(r"^#+ (.+)$", page.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_lead_somewhere(page):
    for link in re.findall(r"\]\(([^)\s]+)\)", page.read_text()):
        if link.startswith(("http://", "https://", "mailto:")):
            continue
        name, _, part = unquote(link).partition("#")
        target = (page.parent / name).resolve() if name else page
        assert target.exists(), link
        assert target.is_relative_to(ROOT), link
        assert not part or part in slugs(target), link


def test_readers_find_every_page_from_the_readme():
    readme = (ROOT / "README.md").read_text()
    linked = {link for page in PAGES for link in re.findall(r"\]\((?:docs/)?([\w-]+\.md)", page.read_text())}
    assert {page.name for page in PAGES} - {"README.md"} <= linked
    assert len(readme.splitlines()) < 200


def test_python_has_every_public_name_with_what_it_is():
    rows = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", (ROOT / "docs" / "python.md").read_text(), re.MULTILINE))
    assert rows == {
        name: (getattr(faceinsight, name).__doc__ or "").strip().splitlines()[0] for name in faceinsight.__all__
    }


def test_the_citation_is_one():
    citation = yaml.safe_load((ROOT / "CITATION.cff").read_text())
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert {"cff-version", "message", "title", "authors"} <= citation.keys()
    assert citation["cff-version"] == "1.2.0"
    assert citation["type"] in ("software", "dataset")
    assert (citation["version"], citation["license"]) == (project["version"], project["license"])
    assert citation["authors"] == [{"name": "The FaceInsight authors"}]
    known = {"abstract", "keywords", "license", "type", "version", "url", "repository-code", "date-released"}
    assert citation.keys() - {"cff-version", "message", "title", "authors"} <= known


def test_no_page_knows_the_machine_it_was_written_on():
    for page in PAGES:
        assert not re.search(r"/(root|work|tmp|home)/", page.read_text()), page
        assert os.environ.get("USER", "root") + "@" not in page.read_text()
