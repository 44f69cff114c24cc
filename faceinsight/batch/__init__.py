"""Many photos and clips one after another: one table, annotated copies, no file lost to another."""

from faceinsight.batch.inputs import find_files
from faceinsight.batch.run import analyze_files
from faceinsight.batch.work import BatchOptions, FileResult

__all__ = ["BatchOptions", "FileResult", "analyze_files", "find_files"]
