"""Files that lie on a server or in object storage: listed, and fetched within limits of size and time."""

from __future__ import annotations

import hashlib
import re
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO
from urllib.parse import urljoin, urlsplit, urlunsplit

import requests
import urllib3

from faceinsight.errors import MediaError
from faceinsight.media.source import reason
from faceinsight.writing import write_error

WEB = ("http", "https")
# What fsspec has drivers for; a chain of protocols ("zip::s3") might read whatever it names.
STORAGE = ("s3", "s3a", "gs", "gcs", "abfs", "abfss", "az")
_EXTRAS = {"s3": "faceinsight[s3]", "s3a": "faceinsight[s3]", "gs": "gcsfs", "gcs": "gcsfs"}
# A clip of an hour in 4K has about so much.
MAX_CLIP_BYTES = 20_000_000_000
_CHUNK = 1 << 20
_TRIES = 3
_FIRST_WAIT_S = 0.5
# To connect, and for the next bytes.
_PATIENCE_S = (10, 60)
# What at least comes in as much time.
_LEAST_BYTES = 10_000
_LONGEST_S = 3600
# What may be better in a moment.
_BUSY = (408, 425, 429, 500, 502, 503, 504)
# What signs an address for a while: the file is the same with the next signature.
_SIGNATURES = re.compile(r"x-(amz|goog)-", re.IGNORECASE)
_QUERY_DIGITS = 16


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """What a server says of a file.

    Attributes:
        url: Where it is.
        bytes: Its size; None where that is not said.
        stamp: Its ETag, or when it was changed; None where neither is said.
    """

    url: str
    bytes: int | None = None
    stamp: str | None = None


class _RetryError(Exception):
    """What went wrong may go well the next time."""


def scheme_of(name: str) -> str | None:
    """Returns the protocol of a URL, such as "https"; None for a path.

    Raises:
        MediaError: If it is a URL of a protocol that is not read.
    """
    scheme, colon, _ = name.partition("://")
    if not colon or not scheme.replace(":", "").replace("+", "").isalnum():
        return None
    scheme = scheme.lower()
    shown = f"{scheme}://..."
    with suppress(ValueError):  # as of "http://["
        shown = public(name)
        if scheme in (*WEB, *STORAGE, "file"):
            return scheme
    raise MediaError(f"{shown} is no address that can be read: use a path, or one of http, https, s3, gs, abfs.")


def public(url: str) -> str:
    """Returns a URL without what may be secret in it.

    That is a user's name and password, and on the web the query: where it says more than a signature of S3 or Google
    Cloud Storage, the beginning of its sha256 stands in its place, so that two addresses are two still.
    """
    parts = urlsplit(url)
    parts = parts._replace(netloc=parts.netloc.rpartition("@")[2])
    if parts.scheme in WEB:
        said = "&".join(text for text in parts.query.split("&") if not _SIGNATURES.match(text))
        query = said and hashlib.sha256(said.encode(errors="surrogateescape")).hexdigest()[:_QUERY_DIGITS]
        parts = parts._replace(query=query, fragment="")
    return urlunsplit(parts)


class _Session(requests.Session):
    """Follows where a web server sends, but not from a safe connection to an open one."""

    def get_redirect_target(self, resp: requests.Response) -> str | None:
        target = super().get_redirect_target(resp)
        if target and resp.url.startswith("https:") and urljoin(resp.url, target).lower().startswith("http:"):
            raise MediaError(
                f"{public(resp.url)} sends from https to http, which is not followed: ask for another address."
            )
        return target


def list_remote(url: str) -> list[RemoteFile]:
    """Returns the files of a folder or a pattern in object storage, by name; for a file that one.

    Raises:
        MediaError: If it cannot be listed.
    """
    with told(url, "listed"):
        system, path = storage(url)
        if any(sign in path for sign in "*?["):
            found = system.glob(path, detail=True)
        elif (facts := system.info(path))["type"] == "directory":
            found = system.find(path, detail=True)
        else:
            found = {path: facts}
        return [
            RemoteFile(system.unstrip_protocol(name), facts.get("size"), _stamp(facts))
            for name, facts in sorted(found.items())
            if facts["type"] == "file"
        ]


def look_up(url: str) -> RemoteFile:
    """Asks a web server for a file's size and stamp; what it does not say is None."""
    with suppress(requests.RequestException, ValueError, MediaError), _Session() as session:
        answer = session.head(url, timeout=_PATIENCE_S, allow_redirects=True)
        if answer.ok:
            return _web_file(url, answer)
    return RemoteFile(url)


def fetch(url: str, most: int, out: BinaryIO, alive: Callable[[], None] = lambda: None) -> RemoteFile:
    """Fetches a file; tries again where a connection breaks or a server is busy.

    Args:
        url: Where it is.
        most: The most bytes that it may have.
        out: Where to write it.
        alive: Called now and then while it comes.

    Returns:
        What the server says of it.

    Raises:
        MediaError: If it cannot be had, is larger, or takes longer than an hour.
    """
    until = time.monotonic() + _LONGEST_S

    def keep(chunk: bytes) -> None:
        alive()
        try:
            out.write(chunk)
        except OSError as error:
            raise write_error(error, f"The copy of {public(url)}") from error
        if out.tell() > most:
            raise MediaError(f"{public(url)} has more than {most // 10**6} MB, the limit: make it smaller.")
        if time.monotonic() > until:
            raise MediaError(f"{public(url)} takes longer than an hour to fetch: fetch it yourself.")

    for number in range(_TRIES):
        out.seek(0)
        out.truncate()
        try:
            return _fetch_web(url, keep) if scheme_of(url) in WEB else _fetch_stored(url, keep)
        except _RetryError as error:
            if number == _TRIES - 1:
                raise MediaError(f"{public(url)} cannot be fetched ({error}): try again later.") from error
            time.sleep(_FIRST_WAIT_S * 4**number)
    raise AssertionError("the last try returns or raises")


@contextmanager
def temporary_file() -> Iterator[tuple[BinaryIO, Path]]:
    """Gives an empty file and a path to it, which is gone with this process, however that ends, where it can be."""
    with tempfile.TemporaryFile() as nameless:
        path = Path(f"/proc/self/fd/{nameless.fileno()}")
        if path.exists():
            yield nameless, path
            return
    with tempfile.NamedTemporaryFile() as named:
        yield named, Path(named.name)  # type: ignore[misc]


def _fetch_web(url: str, keep: Callable[[bytes], None]) -> RemoteFile:
    try:
        with _Session() as session, session.get(url, stream=True, timeout=_PATIENCE_S) as answer:
            if answer.status_code in _BUSY:
                raise _RetryError(f"the server answers {answer.status_code}")
            if not answer.ok:
                raise MediaError(
                    f"{public(url)} cannot be fetched (the server answers {answer.status_code}): check the address."
                )
            since, came = time.monotonic(), 0
            while chunk := answer.raw.read1(_CHUNK, decode_content=True):
                keep(chunk)
                came += len(chunk)
                if time.monotonic() - since > _PATIENCE_S[1]:
                    if came < _LEAST_BYTES:
                        raise _RetryError("it comes far too slowly")
                    since, came = time.monotonic(), 0
            return _web_file(url, answer)
    except (requests.ConnectionError, requests.Timeout, urllib3.exceptions.HTTPError) as error:
        raise _RetryError("the connection fails") from error
    except (requests.RequestException, ValueError) as error:
        raise MediaError(f"{public(url)} cannot be fetched ({type(error).__name__}): check the address.") from error


def _web_file(url: str, answer: requests.Response) -> RemoteFile:
    size = answer.headers.get("Content-Length", "")
    plain = size.isdecimal() and answer.headers.get("Content-Encoding", "identity") == "identity"
    stamp = answer.headers.get("ETag") or answer.headers.get("Last-Modified")
    return RemoteFile(url, int(size) if plain else None, stamp)


def _fetch_stored(url: str, keep: Callable[[bytes], None]) -> RemoteFile:
    with told(url, "fetched"):
        system, path = storage(url)
        try:
            facts = system.info(path)
            with system.open(path, "rb", block_size=_CHUNK * 8, cache_type="readahead") as file:
                while chunk := file.read(_CHUNK):
                    keep(chunk)
        except (FileNotFoundError, PermissionError, MediaError, ImportError):
            raise
        except OSError as error:
            raise _RetryError(reason(error)) from error
        return RemoteFile(url, facts.get("size"), _stamp(facts))


def _stamp(facts: dict[str, Any]) -> str | None:
    found = next((facts[key] for key in ("ETag", "etag", "LastModified", "mtime", "updated") if facts.get(key)), None)
    return None if found is None else str(found)


def storage(url: str) -> tuple[Any, str]:
    """Returns fsspec's driver for a URL and the path in it; raises MediaError where there is none."""
    if scheme_of(url) not in STORAGE or "::" in url:
        raise MediaError(f"{public(url)} is no place in object storage: give one, such as s3://bucket/folder.")
    with told(url, "reached"):
        from fsspec.core import url_to_fs

        # What was listed before need not be there still.
        system, path = url_to_fs(url, use_listings_cache=False)
        return system, str(path)


@contextmanager
def told(url: str, what: str) -> Iterator[None]:
    """Makes one sentence of whatever a driver raises in a block."""
    try:
        yield
    except (MediaError, _RetryError):
        raise
    except ImportError as error:
        scheme = url.partition("://")[0].lower()
        needed = _EXTRAS.get(scheme, "adlfs")
        raise MediaError(f"{scheme}:// needs a further package: run `pip install '{needed}'`.") from error
    except FileNotFoundError as error:
        raise MediaError(f"{public(url)} is not there: check the address.") from error
    except Exception as error:  # drivers raise errors of their own libraries
        raise MediaError(f"{public(url)} cannot be {what} ({reason(error)}): check the address and access.") from error
