"""The work on one shard, whoever runs it and wherever: files in, a part out. It knows no engine.

A worker may die of a file: memory runs out, a decoder crashes, or it is stuck. Whoever goes on in its place, on this
machine or another, finds the mark that a shard was begun with, and goes file by file; the file at which a worker dies
again has an error. So no file keeps a run from its end.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Callable, Sequence

import cv2
from PIL import Image

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.batch.job import Finished, Job, Shard
from faceinsight.batch.look import Looker
from faceinsight.batch.parts import SUFFIX, Entry, read_columns, told_of, write_part
from faceinsight.batch.places import place_of
from faceinsight.batch.sources import Source
from faceinsight.errors import PackError
from faceinsight.export import Row

# How long a file, or a step of a clip, may take on a machine that is busy with other things.
STUCK_S = 300.0
STUCK_STATUS = 70
MARK = ".begun"
# Pillow's blocks of 16 MB that stay when a picture goes: a phone's takes three, and getting them anew from the system
# takes about as long as decoding.
_KEPT_BLOCKS = 9


class Worker:
    """Holds the models, and works on one shard after another."""

    def __init__(self, job: Job) -> None:
        """Loads the models.

        Raises:
            PackError: If the pack is not here, or another one than where the run was started.
        """
        cv2.setNumThreads(job.threads)
        Image.core.set_blocks_max(_KEPT_BLOCKS)  # type: ignore[attr-defined]
        analyzer = FaceAnalyzer(job.pack, models=job.models, provider=job.provider, threads=job.threads)
        if analyzer.pack_hash != job.settings.pack_hash:
            raise PackError(
                f"Pack {analyzer.pack.name} has other files on this machine than where the run was started: "
                "put the same ones there."
            )
        self._place, _ = place_of(job.out)
        self._folder, self._settings = job.parts, job.settings
        self._looker = Looker(analyzer, job.settings, self._alive)
        self._deadline = float("inf")
        threading.Thread(target=self._watch, daemon=True).start()

    def _alive(self) -> None:
        self._deadline = time.monotonic() + STUCK_S

    def _watch(self) -> None:
        while True:
            time.sleep(1)
            if time.monotonic() > self._deadline:
                os._exit(STUCK_STATUS)

    def do(self, shard: Shard, stopped: Callable[[], bool] = lambda: False) -> Finished:
        """Works on a shard, and writes its part.

        Args:
            shard: The files.
            stopped: Says whether to end early; what is finished then makes the part.

        Returns:
            What it adds up to.

        Raises:
            MediaError: If its part cannot be written.
        """
        mark = f"{self._folder}/{shard.name}{MARK}"
        self._alive()
        try:
            begun = self._read_mark(mark)
            if begun is not None:
                return self._carefully(shard, mark, begun, stopped)
            if (known := self._known(shard.name)) is not None:
                return known
            self._write_mark(mark, None)
            entries = list(self._looker.look(shard.sources, stopped))
            finished = self._write(shard.name, entries)
            self._place.remove(mark)
            return finished
        finally:
            self._deadline = float("inf")

    def _carefully(self, shard: Shard, mark: str, begun: int, stopped: Callable[[], bool]) -> Finished:
        """Works on a shard of which a worker has died, file by file; `begun` is the one at which it died again."""
        finished = self._known(shard.name)
        if finished is None:
            finished = Finished()
            for number, source in enumerate(shard.sources):
                if stopped():
                    return finished
                name = f"{shard.name}-{number:03}"
                known = self._known(name)
                if known is None:
                    known = self._write(name, [self._one(mark, number, source, number == begun)])
                finished += known
        self._place.remove(mark)
        return finished

    def _one(self, mark: str, number: int, source: Source, guilty: bool) -> Entry:
        if guilty:
            return self._looker.failed(
                source,
                f"{source.key} ended the process that read it, twice (too little memory, or it is damaged, or takes "
                "too long): choose another copy of it.",
            )
        self._write_mark(mark, number)
        (entry,) = self._looker.look([source])
        return entry

    def _write(self, name: str, entries: Sequence[Entry]) -> Finished:
        if entries:
            write_part(self._place, f"{self._folder}/{name}", entries, self._settings)
        return _sum([entry.row for entry in entries])

    def _known(self, name: str) -> Finished | None:
        """Returns what a part that is there adds up to; None where there is none."""
        name = f"{self._folder}/{name}{SUFFIX}"
        file = self._place.opened(name)
        if file is None:
            return None
        with file, told_of(self._place, name):
            return _sum(list(read_columns(file, ("status", "faces"))))

    def _read_mark(self, mark: str) -> int | None:
        """Returns the number of the file that a mark names, -1 for none; None where there is no mark."""
        file = self._place.opened(mark)
        if file is None:
            return None
        with file:
            text = file.read()
        number = json.loads(text) if text else None
        return -1 if number is None else int(number)

    def _write_mark(self, mark: str, number: int | None) -> None:
        self._place.save(mark, lambda out: out.write(json.dumps(number).encode()))


def _sum(rows: Sequence[Row]) -> Finished:
    errors = sum(row["status"] == "error" for row in rows)
    return Finished(len(rows), errors, sum(row.get("faces") or 0 for row in rows))
