"""Files on web servers, read by ranges: a bad line is waited for, and no answer is taken for what it is not."""

from __future__ import annotations

import asyncio
import email.utils
import random
import re
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import TypeVar

import httpx2

from faceinsight import __version__
from faceinsight.errors import FetchError

T = TypeVar("T")

REDIRECTS = 10
# Answers that another try may change.
_PASSING = (408, 425, 429, 500, 502, 503, 504)
# Some stores of files forbid what they do not have.
_GONE = (403, 404, 410)
_RANGE = re.compile(r"bytes (\d{1,18})-(\d{1,18})/(\d{1,18})")


@dataclass(frozen=True, slots=True)
class Patience:
    """How long a server is waited for.

    Attributes:
        silence_s: Seconds without a word, or with less than `least_bytes`, after which a connection is given up.
        least_bytes: Of a file, in so many seconds.
        tries: How often in a row it may fail without bringing so much.
        wait_s: Seconds before the second try, doubled before each further one, less up to half by chance.
        longest_wait_s: Seconds that it waits at most; a server that asks for more is not waited for.
    """

    silence_s: float = 20.0
    least_bytes: int = 4_000
    tries: int = 5
    wait_s: float = 1.0
    longest_wait_s: float = 60.0


class NotThereError(FetchError):
    """There is no such file on the server."""


class TooMuchError(FetchError):
    """A file is longer than it may be."""


class FileChangedError(FetchError):
    """A file is not any more the one that its download began with."""


class _PassingError(Exception):
    """What another try may mend."""

    def __init__(self, reason: str, wait_s: float | None = None) -> None:
        super().__init__(reason)
        self.wait_s = wait_s


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file as its server describes it.

    Attributes:
        url: Its address.
        size: Its bytes; None where the server does not say.
        version: Its ETag, else its Last-Modified; "" where the server gives neither, or where it does not matter.
        ranges: Whether parts of it can be had.
    """

    url: str
    size: int | None
    version: str
    ranges: bool

    @property
    def is_exact(self) -> bool:
        """Whether two files of this version are the same byte for byte."""
        return self.version.startswith('"')


class Web:
    """Reads files from web servers; an asynchronous context manager.

    The proxies that HTTP_PROXY, HTTPS_PROXY, ALL_PROXY and NO_PROXY name are used.
    """

    def __init__(self, patience: Patience = Patience(), say: Callable[[str], None] = lambda sentence: None) -> None:
        """Connects to nobody yet.

        Args:
            patience: How long to wait for a server.
            say: Told in a sentence why it takes longer.

        Raises:
            FetchError: If the environment names a proxy that cannot be used.
        """
        self._patience, self._say = patience, say
        # As they are: a few compressed bytes could become very many.
        headers = {"Accept-Encoding": "identity", "User-Agent": f"faceinsight/{__version__}"}
        try:
            self._client = httpx2.AsyncClient(headers=headers, timeout=patience.silence_s)
        except (ImportError, ValueError, httpx2.InvalidURL) as error:
            raise FetchError(
                f"The proxy that the environment names cannot be used ({_first_sentence(error)}): set HTTPS_PROXY to "
                "an address as http://proxy.example:3128."
            ) from error

    async def __aenter__(self) -> Web:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self._client.aclose()

    async def look_at(self, url: str) -> RemoteFile:
        """Asks for the first byte of a file, to hear what the file is.

        No end of a file is asked for by its distance from the end: not all servers know that.

        Raises:
            NotThereError: If there is no such file.
            FetchError: If there is no answer that says what it is.
        """

        async def ask() -> RemoteFile:
            async with self._answer(url, 0, 1, "") as response:
                version = _version_of(response)
                if response.status_code == 206:
                    return RemoteFile(url, _range_of(response, 0, 1), version, True)
                length = response.headers.get("Content-Length", "")
                return RemoteFile(url, int(length) if length.isdecimal() else None, version, False)

        return await self._persist(url, ask, lambda: 0)

    async def read(self, remote: RemoteFile, start: int, stop: int) -> bytes:
        """Returns the bytes from `start` to before `stop`, which are few.

        Raises:
            FetchError: If they cannot be had.
        """
        content = bytearray()

        async def ask() -> bytes:
            if len(content) == stop - start:
                return bytes(content)
            async with self._answer(remote.url, start + len(content), stop, remote.version) as response:
                _check_range(response, remote, start + len(content), stop)
                async for chunk in self._chunks(response):
                    content.extend(chunk)
                    if len(content) > stop - start:
                        raise too_much(remote.url, stop - start)
            if len(content) < stop - start:
                raise _PassingError("the answer is cut short")
            return bytes(content)

        return await self._persist(remote.url, ask, lambda: len(content))

    async def download(
        self, remote: RemoteFile, start: int, stop: int, part: Path, progress: Callable[[int], None]
    ) -> None:
        """Writes the bytes from `start` to before `stop` into a file; what it holds already is gone on from.

        Args:
            remote: The file on the server.
            start: The first byte to have.
            stop: The byte to end before; of a file whose size is not known, how many there may be.
            part: Where to write; it stays as far as it came, whatever happens.
            progress: Called with how many bytes are there.

        Raises:
            FileChangedError: If the file on the server is not the same any more.
            FetchError: If they cannot be had.
            OSError: If they cannot be written.
        """
        most = stop - start
        part.touch()

        async def ask() -> None:
            held = part.stat().st_size
            if not remote.ranges or held > most:
                held = 0
            elif held == most:
                return
            with part.open("r+b") as out:
                out.truncate(held)
                out.seek(held)
                async with self._answer(remote.url, start + held, stop, remote.version if held else "") as response:
                    if remote.ranges:
                        _check_range(response, remote, start + held, stop)
                    async for chunk in self._chunks(response):
                        held += len(chunk)
                        if held > most:
                            raise too_much(remote.url, most)
                        out.write(chunk)
                        progress(held)
            if held < most and (remote.ranges or remote.size is not None):
                raise _PassingError("the answer is cut short")

        await self._persist(remote.url, ask, lambda: part.stat().st_size)

    async def _persist(self, url: str, ask: Callable[[], Awaitable[T]], reached: Callable[[], int]) -> T:
        """Asks until it works, as long as that brings some more than the tries before."""
        failures, furthest = 0, reached()
        while True:
            try:
                return await ask()
            except _PassingError as error:
                brought = reached() - furthest
                failures = 1 if brought >= self._patience.least_bytes else failures + 1
                furthest += max(brought, 0)
                await self._wait(url, error, failures)

    async def _wait(self, url: str, error: _PassingError, failures: int) -> None:
        patience = self._patience
        usual = min(patience.wait_s * 2 ** (failures - 1), patience.longest_wait_s) * random.uniform(0.5, 1)
        wait_s = usual if error.wait_s is None else error.wait_s
        if wait_s > patience.longest_wait_s:
            raise FetchError(f"{url} cannot be had now ({error}): try again in {_duration(wait_s)}.") from error
        if failures >= patience.tries:
            raise FetchError(
                f"{url} could not be downloaded ({error}): check the internet connection and try again, which goes on "
                "where it stopped."
            ) from error
        self._say(f"{str(error).capitalize()}: another try in {_duration(wait_s)}.")
        await asyncio.sleep(wait_s)

    @asynccontextmanager
    async def _answer(self, url: str, start: int, stop: int, version: str) -> AsyncIterator[httpx2.Response]:
        """Asks for a part of a file, follows where it is sent, and refuses what is no answer to that."""
        headers = {"Range": f"bytes={start}-{stop - 1}"}
        if version.startswith('"'):
            headers["If-Range"] = version
        try:
            request = self._client.build_request("GET", url, headers=headers)
            for _ in range(REDIRECTS + 1):
                async with asyncio.timeout(self._patience.silence_s):
                    response = await self._client.send(request, stream=True)
                try:
                    if response.next_request is None:
                        _check(response, url)
                        yield response
                        return
                finally:
                    # What comes with a redirection is not read: it need not end.
                    await response.aclose()
                _check_redirect(url, request.url, response.next_request.url)
                request = response.next_request
        except (TimeoutError, httpx2.TimeoutException) as error:
            raise _PassingError("the server does not answer, or far too slowly") from error
        except (httpx2.InvalidURL, httpx2.UnsupportedProtocol) as error:
            raise FetchError(f"{url} is no address of a web server: correct it.") from error
        except httpx2.ProxyError as error:
            raise _PassingError("the proxy refuses") from error
        except httpx2.RemoteProtocolError as error:
            raise _PassingError("the server's answer is broken or cut short") from error
        except httpx2.TransportError as error:
            if "CERTIFICATE_VERIFY_FAILED" in str(error):
                raise FetchError(
                    f"{url} shows a certificate that this system does not trust: install its ca-certificates, or name "
                    "those to trust in SSL_CERT_FILE."
                ) from error
            raise _PassingError("the connection failed") from error
        raise FetchError(f"{url} leads in circles: try again later, or tell who made the pack.")

    async def _chunks(self, response: httpx2.Response) -> AsyncIterator[bytes]:
        """Yields the body as it comes, as long as it comes."""
        patience = self._patience
        since, came = time.monotonic(), 0
        chunks = response.aiter_raw()
        while True:
            async with asyncio.timeout(patience.silence_s):
                try:
                    chunk = await anext(chunks)
                except StopAsyncIteration:
                    return
            yield chunk
            came += len(chunk)
            if time.monotonic() - since > patience.silence_s:
                if came < patience.least_bytes:
                    raise TimeoutError
                since, came = time.monotonic(), 0


def _check(response: httpx2.Response, url: str) -> None:
    """Refuses an answer that does not bring a file, or not one as it is."""
    status = response.status_code
    if status in _GONE:
        raise NotThereError(f"{url} is not there (the server answered {status}): tell who made the pack.")
    if status in _PASSING:
        raise _PassingError(f"the server answered {status}", _retry_after(response))
    if status == 416:
        raise FileChangedError(f"{url} is empty, or shorter than it was: try again later.")
    if status not in (200, 206):
        raise FetchError(f"{url} cannot be downloaded (the server answered {status}): try again later.")
    if response.headers.get("Content-Type", "").startswith("text/html"):
        raise FetchError(
            f"{url} answers with a web page instead of the file: log in to your network if it asks for that, "
            "and try again."
        )
    if response.headers.get("Content-Encoding", "identity") != "identity":
        raise FetchError(f"{url} sends the file packed, which nobody asked for: try again later.")


def _range_of(response: httpx2.Response, start: int, stop: int) -> int:
    """Refuses an answer with another part of a file than was asked for; returns the bytes of the whole file."""
    found = _RANGE.fullmatch(response.headers.get("Content-Range", "").strip())
    if found is None:
        raise _PassingError("the server does not say which part of the file it sends")
    first, last, size = map(int, found.groups())
    if first != start or not first <= last < min(stop, size):
        raise _PassingError("the server sends another part of the file than it was asked for")
    return size


def _version_of(response: httpx2.Response) -> str:
    return str(response.headers.get("ETag") or response.headers.get("Last-Modified") or "")


def _check_range(response: httpx2.Response, remote: RemoteFile, start: int, stop: int) -> None:
    """Refuses an answer with another part, or with a part of another file, than was asked for."""
    version = _version_of(response) if remote.version else ""
    if response.status_code != 206 or (_range_of(response, start, stop), version) != (remote.size, remote.version):
        raise FileChangedError(f"{remote.url} changed while it was downloaded: try again.")


def _check_redirect(url: str, old: httpx2.URL, new: httpx2.URL) -> None:
    """Refuses to be sent from the web to anywhere else, or from a safe connection to an open one."""
    if new.scheme not in ("http", "https") or (old.scheme == "https" and new.scheme == "http"):
        raise FetchError(
            f"{url} sends to an address that is not followed ({new.scheme}://...): try again later, or tell who made "
            "the pack."
        )


def _retry_after(response: httpx2.Response) -> float | None:
    """Returns for how many seconds the server asks not to come back."""
    text = response.headers.get("Retry-After", "").strip()
    if text.isdecimal():
        return float(text[:9])
    with suppress(ValueError, TypeError, OverflowError):
        return max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time())
    return None


def too_much(url: str, most: int) -> TooMuchError:
    """Returns the error about a file that is too long."""
    return TooMuchError(f"{url} has more than the {most} bytes that it may have: tell who made the pack.")


def _duration(seconds: float) -> str:
    return f"{max(1, round(seconds))} s" if seconds < 100 else f"{round(seconds / 60)} min"


def _first_sentence(error: Exception) -> str:
    return str(error).split(". ")[0].rstrip(".")
