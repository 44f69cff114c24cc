"""Looks at files for the tables: the next ones are read while one is analysed, and photos' faces share a batch."""

from __future__ import annotations

import io
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import pyarrow as pa

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.batch.job import Settings
from faceinsight.batch.parts import Entry, schemas
from faceinsight.batch.sources import Source, size_and_stamp
from faceinsight.clips import ClipAnalysis, ClipOptions, iter_clip
from faceinsight.errors import DiskFullError, FaceInsightError
from faceinsight.export import Row
from faceinsight.media.image import MAX_BYTES, LoadedImage, load_image
from faceinsight.media.remote import MAX_CLIP_BYTES, fetch, temporary_file
from faceinsight.media.source import reason
from faceinsight.results import FrameAnalysis
from faceinsight.tables import KINDS, Made, batches, face_rows, people_rows, plain_text

# Measured by benchmarks/batch.py: more faces in a batch were no faster, and take more memory.
GROUP = 8
_GROUP_PIXELS = 48_000_000
# Photos that are read ahead; from a server, where each has to be waited for, more of them.
_AHEAD = 2
_AHEAD_REMOTE = 8


@dataclass(slots=True)
class _Read:
    """A photo that was read, or an error, and what is known of its file."""

    source: Source
    bytes: int | None
    stamp: str | None
    took: float
    image: LoadedImage | None = None
    error: str | None = None


class Looker:
    """Analyses files, and makes rows of what is found."""

    def __init__(self, analyzer: FaceAnalyzer, settings: Settings, alive: Callable[[], None]) -> None:
        """Begins with no file.

        Args:
            analyzer: The models.
            settings: How to use them.
            alive: Called whenever a file, or a step of one, is done.
        """
        self._analyzer, self._settings, self._alive = analyzer, settings, alive
        self._schemas = schemas(settings)

    def look(self, sources: Sequence[Source], stopped: Callable[[], bool] = lambda: False) -> Iterator[Entry]:
        """Yields what became of each file, in their order, until it is told to stop."""
        photos = [source for source in sources if source.kind == KINDS[0]]
        with ExitStack() as stack:
            coming = self._read_ahead(stack, photos)
            while (group := self._group(coming)) and not stopped():
                yield from self._photos(group)
        for source in sources:
            if source.kind == KINDS[1] and not stopped():
                yield self._clip(source)

    def _read_ahead(self, stack: ExitStack, photos: Sequence[Source]) -> Iterator[_Read]:
        """Yields photos while the next ones are read."""
        ahead = _AHEAD_REMOTE if photos and "://" in photos[0].name else _AHEAD
        threads = stack.enter_context(ThreadPoolExecutor(ahead))
        rest = iter(photos)
        reading: deque[Future[_Read]] = deque(threads.submit(self._read, source) for source in islice(rest, ahead + 1))
        while reading:
            read = reading.popleft().result()
            self._alive()
            for source in islice(rest, 1):
                reading.append(threads.submit(self._read, source))
            yield read

    def _read(self, source: Source) -> _Read:
        began = time.monotonic()
        read = _Read(source, source.bytes, source.stamp, 0.0)
        try:
            if "://" in source.name:
                content = io.BytesIO()
                file = fetch(source.name, MAX_BYTES, content, self._alive)
                read.bytes, read.stamp = len(content.getbuffer()), file.stamp
                read.image = load_image(content.getvalue(), source.key)
            else:
                read.bytes, read.stamp = size_and_stamp(source.name)
                read.image = load_image(source.name, source.key)
        except Exception as error:
            read.error = _sentence(source, error)
        read.took = time.monotonic() - began
        return read

    def _group(self, coming: Iterator[_Read]) -> list[_Read]:
        """Returns the next photos that are analysed at once."""
        group: list[_Read] = []
        pixels = 0
        for read in coming:
            group.append(read)
            pixels += 0 if read.image is None else read.image.pixels.size // 3
            if len(group) == GROUP or pixels > _GROUP_PIXELS:
                break
        return group

    def _photos(self, group: Sequence[_Read]) -> Iterator[Entry]:
        images = [read.image.pixels for read in group if read.image is not None]
        settings = self._settings
        try:
            found = self._analyzer.analyze_many(
                images, det_threshold=settings.det_threshold, min_face=settings.min_face
            )
        except Exception as error:
            if len(group) == 1:
                yield self.failed(group[0].source, _sentence(group[0].source, error), group[0])
                return
            # The others are not to suffer from the one.
            for read in group:
                yield from self._photos([read])
            return
        self._alive()
        analyses = iter(found)
        for read in group:
            yield self._photo(read, None if read.image is None else next(analyses))

    def _photo(self, read: _Read, analysis: FrameAnalysis | None) -> Entry:
        if analysis is None:
            return self.failed(read.source, read.error or "", read)
        assert read.image is not None
        made = self._made()
        row = self._row(read.source, read.bytes, read.stamp, made) | {
            "status": "ok",
            "note": read.image.note,
            "faces": len(analysis.faces),
            "frames": 1,
            "width": analysis.width,
            "height": analysis.height,
            "took": read.took + analysis.elapsed_ms / 1000,
        }
        return Entry(row, self._batches("faces", face_rows(read.source.key, analysis, made)))

    def _clip(self, source: Source) -> Entry:
        began = time.monotonic()
        size, stamp = source.bytes, source.stamp
        try:
            with ExitStack() as stack:
                path = Path(source.name)
                if "://" in source.name:
                    out, path = stack.enter_context(temporary_file())
                    stamp = fetch(source.name, MAX_CLIP_BYTES, out, self._alive).stamp
                    size = out.tell()
                    out.flush()
                else:
                    size, stamp = size_and_stamp(source.name)
                clip = self._analyzed(path, source.key)
        except DiskFullError:
            raise
        except Exception as error:
            read = _Read(source, size, stamp, time.monotonic() - began)
            return self.failed(source, _sentence(source, error), read)
        made = self._made()
        people = self._batches("people", people_rows(source.key, clip.people(), made))
        faces = self._batches(
            "faces",
            (row for at, analysis in clip.frames for row in face_rows(source.key, analysis, made, at)),
        )
        row = self._row(source, size, stamp, made) | {
            "status": "ok",
            "note": clip.note,
            "faces": sum(batch.num_rows for batch in faces),
            "people": sum(batch.num_rows for batch in people),
            "frames": len(clip.frames),
            "width": clip.info.width,
            "height": clip.info.height,
            "duration": round(clip.info.duration, 3),
            "took": time.monotonic() - began,
        }
        return Entry(row, faces, people)

    def _analyzed(self, path: Path, name: str) -> ClipAnalysis:
        settings = self._settings
        options = ClipOptions(
            rate=settings.rate,
            det_threshold=settings.det_threshold,
            min_face=settings.min_face,
            smoothing=settings.smoothing,
        )
        for step in iter_clip(self._analyzer, path, None, options, name):
            self._alive()
            if isinstance(step, ClipAnalysis):
                return step
        raise AssertionError("iter_clip ends with a result")

    def failed(self, source: Source, sentence: str, read: _Read | None = None) -> Entry:
        """Returns the entry of a file that cannot be analysed."""
        size, stamp = (source.bytes, source.stamp) if read is None else (read.bytes, read.stamp)
        took = 0.0 if read is None else read.took
        return Entry(
            self._row(source, size, stamp, self._made()) | {"status": "error", "error": sentence, "took": took}
        )

    def _row(self, source: Source, size: int | None, stamp: str | None, made: Made) -> Row:
        return {"file": source.key, "kind": source.kind, "bytes": size, "stamp": stamp} | made.columns()

    def _made(self) -> Made:
        return Made.now(self._settings.pack, self._settings.pack_hash)

    def _batches(self, table: str, rows: Iterable[Row]) -> list[pa.RecordBatch]:
        return list(batches(rows, self._schemas[table]))


def _sentence(source: Source, error: Exception) -> str:
    """Returns the sentence about a file that could not be analysed."""
    if isinstance(error, FaceInsightError):
        return plain_text(str(error))
    if isinstance(error, MemoryError):
        return f"{source.key} takes more memory than there is: make it smaller and try again."
    return f"{source.key} cannot be analysed ({plain_text(reason(error))}): choose another copy of it."
