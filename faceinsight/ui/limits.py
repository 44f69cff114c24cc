"""How much a visitor may have: every number in one place, and how whoever serves the page changes it."""

from __future__ import annotations

import dataclasses
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from faceinsight.errors import FaceInsightError

PREFIX = "FACEINSIGHT_"
# What bounds all visitors, or all of one address, together.
SHARED = (
    "places",
    "line",
    "address_line",
    "queue",
    "address_jobs",
    "address_streams",
    "open_streams",
    "address_sessions",
    "open_sessions",
    "address_mb",
    "disk_mb",
    "max_visitors",
    "address_visitors",
)


class LimitsError(FaceInsightError):
    """A limit is set to what is none."""


@dataclass(frozen=True, slots=True)
class Limits:
    """What one visitor, and all of them together, may have at most.

    Each is set by an environment variable: its name here in capitals after FACEINSIGHT_, as in
    FACEINSIGHT_PLACES=20. A visitor is a browser; the programs of one address share what `program_share`
    visitors may have. Whoever gets many cookies is many visitors, so those of one address may have no more than
    `address_...` together: enough for a class of thirty behind one address, not for all that there is.

    Attributes:
        places: Visitors at the camera at once.
        turn_s: Seconds that a visitor keeps a place while others wait for one.
        line: Visitors who wait for a place.
        address_line: Those of one address, at the camera or waiting.
        upload_mb: Megabytes of one upload.
        frame_kb: Kilobytes of a camera's frame, as it is sent.
        request_kb: Kilobytes of any other request.
        mcp_mb: Megabytes of a request by the Model Context Protocol, which may hold a picture or a clip.
        frames_per_s: Frames a second.
        requests_per_s: Other requests a second that ask for work.
        pages_per_s: Pages a second that browsers at one address open for the first time.
        queue: Jobs that wait, of all visitors.
        jobs: Jobs of a visitor, waiting or being worked on.
        address_jobs: Those of all visitors at one address.
        uploads: Uploads of a visitor on their way at once.
        streams: Open answers of a visitor: three a page.
        address_streams: Those of all visitors at one address.
        open_streams: Those of all visitors.
        sessions: Open pages of a visitor, or of a program's clients.
        address_sessions: Those of all visitors at one address.
        open_sessions: Those of all visitors.
        visitor_mb: Megabytes that a visitor's files may take.
        address_mb: Those of all visitors at one address.
        disk_mb: Those of all visitors.
        free_mb: Megabytes of the disk that are left free.
        max_visitors: Browsers with the page open.
        address_visitors: Those at one address.
        program_share: How many visitors the programs at one address count for.
        passwords: Wrong passwords of an address in a row.
        password_s: Seconds until it may try one more.
    """

    places: int = 8
    turn_s: float = 120.0
    line: int = 200
    address_line: int = 60
    upload_mb: int = 500
    frame_kb: int = 1000
    request_kb: int = 1000
    mcp_mb: int = 16
    frames_per_s: float = 60.0
    requests_per_s: float = 50.0
    pages_per_s: float = 5.0
    queue: int = 64
    jobs: int = 8
    address_jobs: int = 40
    uploads: int = 32
    streams: int = 16
    address_streams: int = 200
    open_streams: int = 400
    sessions: int = 16
    address_sessions: int = 500
    open_sessions: int = 1000
    visitor_mb: int = 1000
    address_mb: int = 4000
    disk_mb: int = 8000
    free_mb: int = 500
    max_visitors: int = 100
    address_visitors: int = 60
    program_share: int = 4
    passwords: int = 5
    password_s: float = 10.0

    def share(self, most: float, browser: bool) -> float:
        """Returns a visitor's limit: itself for a browser, more for the programs of an address."""
        return most if browser else most * self.program_share

    def of_worker(self, number: int, workers: int) -> Limits:
        """Returns the part of one of several processes, whose parts make up the whole, but are at least 1 each.

        Args:
            number: Which process it is, from 1.
            workers: How many there are.
        """
        parts = {
            name: max(1, whole // workers + (number <= whole % workers))
            for name in SHARED
            for whole in (getattr(self, name),)
        }
        return dataclasses.replace(self, pages_per_s=self.pages_per_s / workers, **parts)

    @classmethod
    def of(cls, environment: Mapping[str, str]) -> Limits:
        """Returns the limits as environment variables set them.

        Raises:
            LimitsError: If one is no number above 0.
        """
        changes: dict[str, Any] = {}
        for field in dataclasses.fields(cls):
            name = PREFIX + field.name.upper()
            if name in environment:
                changes[field.name] = _number(name, environment[name], int if isinstance(field.default, int) else float)
        return cls(**changes)


def frames_of(environment: Mapping[str, str]) -> tuple[str, ...]:
    """Returns the hosts whose pages may show this one in a frame: FACEINSIGHT_FRAMES, with spaces between.

    A hosted Space is shown in a frame of the Hub's page, unless it says otherwise.
    """
    hosts = environment.get(f"{PREFIX}FRAMES", "https://huggingface.co" if "SPACE_ID" in environment else "")
    if not re.fullmatch(r"[^;,'\"\x00-\x1f]*", hosts):
        raise LimitsError(f"{PREFIX}FRAMES is set to {hosts!r}: give addresses as https://example.org.")
    return tuple(hosts.split())


def _number(name: str, text: str, kind: type[int] | type[float]) -> float:
    try:
        number = kind(text)
    except ValueError:
        number = math.nan
    if not 0 < number < math.inf:
        what = "whole number" if kind is int else "number"
        raise LimitsError(f"{name} is set to {text!r}: give a {what} above 0.")
    return number
