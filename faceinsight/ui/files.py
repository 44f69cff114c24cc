"""Files for visitors to download, in the folder that the app empties."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from gradio.processing_utils import save_bytes_to_cache
from gradio.utils import get_upload_folder


def publish(content: bytes | str, name: str) -> str:
    """Puts a file where visitors may download it, and where it is deleted in time.

    Args:
        content: What is in it; text becomes UTF-8.
        name: The name that the visitor sees.

    Returns:
        The path, for a component of the page.
    """
    data = content.encode("utf-8") if isinstance(content, str) else content
    return str(save_bytes_to_cache(data, name, get_upload_folder()))


def publish_file(path: Path) -> str:
    """Moves a finished file of a `scratch_folder` to where `publish` puts files.

    Args:
        path: The file; its name is the one that the visitor sees.

    Returns:
        The new path, for a component of the page.
    """
    folder = Path(tempfile.mkdtemp(dir=get_upload_folder()))
    return str(path.replace(folder / path.name))


@contextmanager
def scratch_folder() -> Iterator[Path]:
    """Gives a folder for a file in the making, and removes it whatever happens."""
    root = Path(get_upload_folder())
    root.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(dir=root, prefix="making-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
