"""Frames of a camera as the page sends them."""

from __future__ import annotations

import asyncio
import base64
import io
from collections.abc import Coroutine
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
from PIL import Image

from tests.toy_models import toy_picture

FACES = {(3, 2): (255, 240, 200), (10, 8): (200, 100, 255)}


def in_a_loop(work: Coroutine[Any, Any, Any]) -> Any:
    """Runs a coroutine in a thread of its own: Playwright leaves its loop running in the main one."""
    with ThreadPoolExecutor(1) as thread:
        return thread.submit(asyncio.run, work).result()


def jpeg(pixels: np.ndarray | None = None, kind: str = "jpeg") -> str:
    buffer = io.BytesIO()
    Image.fromarray(toy_picture(FACES) if pixels is None else pixels).save(buffer, kind, quality=95)
    return base64.b64encode(buffer.getvalue()).decode()


PICTURE = jpeg()


def numbers(answer):
    return [face["id"] for face in answer["faces"]]
