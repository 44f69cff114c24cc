"""Who runs the work on many files: this process, one file after another."""

from __future__ import annotations

import time
from collections.abc import Callable, Generator, Sequence
from contextlib import nullcontext
from pathlib import Path

from faceinsight.analyzer import FaceAnalyzer
from faceinsight.batch.folder import ResultFolder
from faceinsight.batch.sources import size_and_stamp
from faceinsight.batch.work import BatchOptions, FileResult, analyze_file, is_clip, record_head
from faceinsight.cpus import usable_cpus
from faceinsight.errors import DiskFullError, FaceInsightError
from faceinsight.packs import AUTO
from faceinsight.stopping import raise_if_stopped


def analyze_files(
    files: Sequence[Path],
    pack: str | Path = AUTO,
    models: str | Path | None = None,
    provider: str = AUTO,
    options: BatchOptions = BatchOptions(),
    on_progress: Callable[[str, float], None] = lambda name, share: None,
) -> Generator[FileResult, None, None]:
    """Analyses photos and clips, one after another.

    Whatever ends it early, an error or the caller's `close()`, what was finished is kept in the tables.

    Args:
        files: The files; a suffix known for videos makes a clip.
        pack: Name of a pack, a folder with a pack.toml, or "auto".
        models: A folder to look for model files in before all others.
        provider: What runs the models, as of `FaceAnalyzer`.
        options: How to analyse them, and where to write.
        on_progress: Called with a clip's name and how much of it is done, in [0, 1].

    Yields:
        What became of each file, in their order, once everything of it is written. One that cannot be analysed has an
        `error`, and the others go on.

    Raises:
        PackError: If the pack cannot be used.
        ProviderError: If what should run the models is not here, or does not start.
        MediaError: If the results cannot be written, are being written by others, or would replace what may not be.
        DiskFullError: If there is no room for what is to be written.
    """
    # The steps of a clip go on beside each other, and want cores of their own.
    threads = max(1, usable_cpus() // 2) if any(is_clip(file) for file in files) else None
    analyzer = FaceAnalyzer(pack, models=models, provider=provider, threads=threads)
    anything = options.out is not None or options.tables
    results = ResultFolder(options.out, files, options.overwrite, options.tables) if anything else None
    with results or nullcontext():
        for number, file in enumerate(files):
            began = time.monotonic()
            try:
                target = results.targets[number] if results and results.targets else None
                result = analyze_file(analyzer, file, target, options, on_progress)
            except DiskFullError:
                raise
            except FaceInsightError as error:
                raise_if_stopped()
                record = record_head(analyzer, file, options) | {"error": str(error)}
                result = FileResult(record, (), error)
            size, stamp = size_and_stamp(str(file))
            result.record.update(took=round(time.monotonic() - began, 3), bytes=size, stamp=stamp)
            if results is not None:
                results.add(result.record)
            yield result
