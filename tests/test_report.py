"""The page about many files: its figures, and that it gives away no more than it should."""

from __future__ import annotations

import base64
import io
import re
from pathlib import Path

import cv2
import numpy as np
import pyarrow.parquet as pq
import pytest
from PIL import Image

from faceinsight.cli import main
from faceinsight.errors import MediaError
from faceinsight.export import result_head
from faceinsight.records import write_records
from faceinsight.report import write_report
from faceinsight.report.figures import GENDERS, MOST_ERRORS, MOST_PEOPLE, read_figures
from tests.toy_media import toy_frames, write_clip

SHARES = {"Anger": 0.25, "Happiness": 0.75}


def face(number: int, **more: object) -> dict:
    answers = {"age": 34.0, "gender": "female", "gender_confidence": 0.9, "emotion": "Happiness", "det_score": 0.9}
    shares = {f"p_{label.lower()}": share for label, share in SHARES.items()}
    return {"face": number, "x1": 64.0, "y1": 64.0, "x2": 128.0, "y2": 128.0} | answers | shares | more


def record(file: object, **more: object) -> dict:
    head = result_head(str(file), "toy", "00ff", 0.5, 0)
    return head | {"kind": "photo", "took": 0.1, "width": 640, "height": 480} | more


def clip(file: object, frames: int, people: int, fps: int = 10) -> dict:
    rows = [face(n + 1, time=at / fps, track_id=n + 1, emotion="Anger") for at in range(frames) for n in range(people)]
    seen = [
        {"track_id": n + 1, "first": 0.0, "last": frames / fps, "seconds": frames / fps - n / 100, "age": 61.0}
        | {"gender": "male", "emotion": "Anger", "emotion_shares": SHARES}
        for n in range(people)
    ]
    return record(file, kind="clip", duration=frames / fps, frames=frames, people=seen, rows=rows)


def write(path, records):
    write_records(path, lambda: records)
    return path


def test_a_face_of_a_photo_counts_once_and_so_does_a_person_of_a_clip(tmp_path):
    faces = [face(1), face(2, age=None, gender=None, emotion=None), face(3, age=120.0, gender="male")]
    records = [record("a.jpg", faces=faces), record("b.jpg", faces=[]), clip("c.mp4", 40, 2)]
    records.append(record("d.jpg", error="d.jpg is empty: choose another file."))
    figures = read_figures(write(tmp_path / "all.parquet", records))
    assert (figures.faces, figures.people) == (3, 2)
    assert figures.files == {("photo", "ok"): 2, ("clip", "ok"): 1, ("photo", "error"): 1}
    assert [(n, int(count)) for n, count in enumerate(figures.per_file) if count] == [(0, 1), (3, 1)]
    female, male = GENDERS.index("female"), GENDERS.index("male")
    assert {(row, column): int(figures.ages[row, column]) for row, column in np.argwhere(figures.ages)} == {
        (34 // 5, female): 1,
        (61 // 5, male): 2,
        (20, male): 1,
    }
    assert figures.genders == {"female": 1, "unknown": 1, "male": 3}
    assert figures.emotions == {"Happiness": 2, "Anger": 2}
    assert figures.errors[0]["error"].startswith("d.jpg is empty")
    assert len(figures.examples) == 3
    assert figures.folder == f"{Path.cwd()}/"
    (seen,) = figures.clips
    assert [person["track_id"] for person in seen.people] == [1, 2]
    assert seen.shares.shape == (40, 2)
    np.testing.assert_allclose(seen.shares, [[0.25, 0.75]] * 40)


def test_what_is_shown_is_bounded_whatever_is_in_the_tables(tmp_path):
    records = [record(f"{n}.jpg", error=f"{n} is empty") for n in range(MOST_ERRORS + 20)]
    records += [clip(f"{n}.mp4", 2, MOST_PEOPLE + 3) for n in range(20)]
    figures = read_figures(write(tmp_path / "all.parquet", records))
    assert len(figures.errors) == MOST_ERRORS
    assert len(figures.clips) == 12
    assert all((one.count, len(one.people)) == (MOST_PEOPLE + 3, MOST_PEOPLE) for one in figures.clips)
    out = tmp_path / "report.html"
    write_report(tmp_path / "all.parquet", out)
    assert f"The first {MOST_ERRORS}, of {MOST_ERRORS + 20}." in out.read_text()


def pictures_of(page: str) -> list[np.ndarray]:
    found = re.findall(r'src="data:image/jpeg;base64,([^"]+)"', page)
    return [np.asarray(Image.open(io.BytesIO(base64.b64decode(content)))) for content in found]


def detail(picture: np.ndarray) -> float:
    return float(np.abs(cv2.Laplacian(picture.astype(np.float32), cv2.CV_32F)).mean())


def test_faces_are_cut_from_photos_and_clips_and_blurred_on_request(tmp_path):
    noise = np.random.default_rng(0).integers(0, 255, (480, 640, 3), np.uint8)
    Image.fromarray(noise).save(tmp_path / "a.png")
    Image.fromarray(noise[:100]).save(tmp_path / "changed.png")
    write_clip(tmp_path / "c.mp4", toy_frames(4))
    records = [record(tmp_path / name, faces=[face(1)]) for name in ("a.png", "changed.png", "gone.png")]
    table = write(tmp_path / "all.parquet", [*records, clip(tmp_path / "c.mp4", 4, 1)])
    pages = []
    for blur in (False, True):
        write_report(table, tmp_path / "report.html", blur, overwrite=True)
        pages.append((tmp_path / "report.html").read_text())
    (clear, *_), (blurred, *_) = (sorted(pictures_of(page), key=detail, reverse=True) for page in pages)
    assert all(len(pictures_of(page)) == 2 for page in pages)
    assert detail(blurred) < detail(clear) / 10
    assert "made unrecognisable" in pages[1]
    assert "made unrecognisable" not in pages[0]


def test_names_are_text_and_nothing_is_loaded(tmp_path):
    name = "<img src=x onerror=alert(1)>&\"'\u2028.jpg"
    records = [record(name, faces=[face(1, gender="<b>")]), record(name, error=f"{name} <script>alert(2)</script>")]
    records.append(clip(f"</title><script>{name}.mp4", 2, 1))
    write_report(write(tmp_path / "all.parquet", records), tmp_path / "report.html")
    page = (tmp_path / "report.html").read_text()
    assert str(Path.cwd()) not in page
    assert "<script" not in page
    assert "<img" not in page
    assert "&lt;img src=x onerror=alert(1)&gt;" in page
    assert not re.search(r"""(src|href)=["'](?!data:)|url\(|@import""", page)


def test_the_command_says_what_is_wrong_in_a_sentence(tmp_path, capsys):
    table = write(tmp_path / "all.parquet", [record("a.jpg", faces=[face(1)])])
    (tmp_path / "text.parquet").write_text("only text")
    for path, sentence in (
        (tmp_path / "none.parquet", "none.parquet is no file that is there"),
        (tmp_path / "text.parquet", "text.parquet, or a table beside it, is no Parquet file"),
        (tmp_path / "all-files.parquet", "all-files.parquet is no table of faces (it has no column 'time')"),
        (tmp_path, "is no file that is there"),
    ):
        assert main(["report", str(path)]) == 1
        told = capsys.readouterr().err
        assert sentence in told
        assert told.count("\n") == 1
    assert main(["report", str(table)]) == 0
    assert capsys.readouterr().out == f"{tmp_path / 'all.html'}: 1 faces of photos and 0 people of clips in 1 files\n"
    assert main(["report", str(table)]) == 1
    assert "all.html is there already" in capsys.readouterr().err
    assert main(["report", str(table), "--overwrite", "--blur"]) == 0


def test_the_faces_alone_make_a_report_too(tmp_path):
    table = write(tmp_path / "all.parquet", [record("a.jpg", faces=[face(1)])])
    for name in ("people", "files", "errors"):
        (tmp_path / f"all-{name}.parquet").unlink()
    write_report(table, tmp_path / "report.html")
    assert "faces in photos" in (tmp_path / "report.html").read_text()
    assert pq.read_metadata(table).num_rows == 1
    with pytest.raises(MediaError, match="is there already"):
        write_report(table, tmp_path / "report.html")
