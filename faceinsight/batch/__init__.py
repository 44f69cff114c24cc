"""Many photos and clips one after another: one table, annotated copies, no file lost to another."""

from faceinsight.batch.run import analyze_files
from faceinsight.batch.work import BatchOptions, FileResult, record_rows

__all__ = ["BatchOptions", "FileResult", "analyze_files", "record_rows"]
