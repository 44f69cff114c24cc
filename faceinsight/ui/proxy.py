"""What stands before several workers: every visitor goes to one of them and stays there, through one port."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import hashlib
import logging
import math
from collections.abc import Mapping, Sequence
from http import HTTPStatus

from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response

from faceinsight import __version__
from faceinsight.ui.door import WAIT_PAGE, Receive, Send, is_page, security_headers
from faceinsight.ui.launching import LaunchOptions
from faceinsight.ui.metrics import CONTENT_TYPE, merged
from faceinsight.ui.rates import Rate
from faceinsight.ui.upstream import OnStart, RawHeaders, Upstream
from faceinsight.ui.visitors import Scope, address_of, cookie

log = logging.getLogger(__name__)

AGAIN_S = 2
STARTS_ANEW = "This part of FaceInsight is being started anew: try again in a moment."
HEARTBEAT = "/gradio_api/heartbeat/"
HEALTH, METRICS = "/healthz", "/metrics"
# Where a password is tried, and the status that says that it was wrong or right.
LOGIN, MCP = "/login", "/gradio_api/mcp"


class Proxy:
    """ASGI app: passes requests on to the workers."""

    def __init__(self, workers: Sequence[Upstream], options: LaunchOptions) -> None:
        """Stands before workers.

        Args:
            workers: The workers, in the order of their numbers.
            options: How the page is served.
        """
        self._workers = workers
        self._root, self._hosted = options.root_path, bool(options.frames)
        self._headers = security_headers(options.frames)
        # A worker counts wrong passwords too, but who guesses may choose the worker.
        self._passwords = Rate(1 / options.limits.password_s, options.limits.passwords) if options.auth else None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request."""
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        try:
            path = self._path(scope)
            reads = scope["method"] in ("GET", "HEAD")
            if reads and path in (HEALTH, METRICS):
                answers = await asyncio.gather(*(worker.fetch(scope) for worker in self._workers))
                answer = self._health(answers) if path == HEALTH else self._metrics(answers)
                await answer(scope, receive, send)
            elif reads and path in ("", "/"):
                await self._page(scope, receive, send)
            elif self._passwords is not None and path.rstrip("/") in (LOGIN, MCP):
                await self._password(self._passwords, scope, receive, send, path.rstrip("/"))
            else:
                await self._pass_on(self._worker(scope), scope, receive, send)
        except Exception as error:
            log.error("A request could not be passed on: %r", error)
            log.debug("The traceback:", exc_info=error)
            raise

    def _path(self, scope: Scope) -> str:
        """Returns a request's path on the page, whether the server before this one took the page's own away or not."""
        path: str = scope["path"]
        return path.removeprefix(self._root) if path == self._root or path.startswith(f"{self._root}/") else path

    def _named(self, scope: Scope) -> Upstream | None:
        """Returns the worker that a browser's cookie names."""
        numbers = {str(number): worker for number, worker in enumerate(self._workers, 1)}
        for name, value in Headers(scope=scope).items():
            if name == "cookie" and (worker := numbers.get(cookie_parser(value).get(_cookie_name(scope), ""))):
                return worker
        return None

    def _worker(self, scope: Scope) -> Upstream:
        """Returns the worker of a visitor; for whoever keeps no cookies, that of the address."""
        digest = hashlib.sha256(address_of(scope).encode()).digest()
        return self._named(scope) or self._workers[int.from_bytes(digest) % len(self._workers)]

    async def _page(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Opens the page: at the worker where the browser was, else at the one with the fewest visitors."""
        named = self._named(scope)

        def mark(worker: Upstream, status: int, headers: RawHeaders) -> None:
            number, path = str(self._workers.index(worker) + 1), self._root or "/"
            value = cookie(scope, _cookie_name(scope), number, path, self._hosted)
            if status == HTTPStatus.OK and worker is not named:
                headers.append((b"set-cookie", value.encode()))
            elif status == HTTPStatus.SERVICE_UNAVAILABLE and named:
                # Where there is no room now, another one may have some.
                headers.append((b"set-cookie", f"{value}; Max-Age=0".encode()))

        # One that has just died is not known to be dead.
        for worker in sorted(self._workers, key=lambda one: (one is not named, one.visits)):
            if worker is not named:
                worker.comes()
            if await worker.pass_on(scope, receive, send, functools.partial(mark, worker)):
                return
        await self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, STARTS_ANEW, AGAIN_S, scope, receive, send)

    async def _password(self, tries: Rate, scope: Scope, receive: Receive, send: Send, path: str) -> None:
        """Lets an address try no more passwords than it may, at whichever worker."""
        address = address_of(scope)
        if wait_s := tries.take(address):
            sentence = f"Too many wrong passwords: try again in {math.ceil(wait_s)} s."
            await self._refuse(HTTPStatus.TOO_MANY_REQUESTS, sentence, wait_s, scope, receive, send)
            return

        def judge(status: int, headers: RawHeaders) -> None:
            if status == HTTPStatus.OK if path == LOGIN else status != HTTPStatus.UNAUTHORIZED:
                tries.give_back(address)

        await self._pass_on(self._worker(scope), scope, receive, send, judge)

    async def _pass_on(
        self,
        worker: Upstream,
        scope: Scope,
        receive: Receive,
        send: Send,
        on_start: OnStart = lambda status, headers: None,
    ) -> None:
        with worker.open() if self._path(scope).startswith(HEARTBEAT) else contextlib.nullcontext():
            if not await worker.pass_on(scope, receive, send, on_start):
                await self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, STARTS_ANEW, AGAIN_S, scope, receive, send)

    async def _refuse(
        self, status: HTTPStatus, sentence: str, wait_s: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = self._headers | {"Retry-After": str(math.ceil(wait_s))}
        answer: Response = JSONResponse({"detail": sentence}, status, headers)
        if is_page({**scope, "path": self._path(scope)}):
            page = WAIT_PAGE.format(sentence=sentence, seconds=math.ceil(wait_s))
            answer = HTMLResponse(page, status, headers)
        await answer(scope, receive, send)

    def _health(self, answers: Sequence[Response | None]) -> Response:
        # The worst one tells.
        if None in answers:
            return JSONResponse({"status": "a worker does not answer", "version": __version__}, 503, self._headers)
        return max((one for one in answers if one), key=lambda one: one.status_code)

    def _metrics(self, answers: Sequence[Response | None]) -> Response:
        there: Mapping[str, Response] = {str(n): one for n, one in enumerate(answers, 1) if one}
        refused = [one for one in there.values() if one.status_code != HTTPStatus.OK]
        if refused or not there:
            return refused[0] if refused else JSONResponse({"detail": STARTS_ANEW}, 503, self._headers)
        texts = {number: bytes(one.body).decode() for number, one in there.items()}
        return Response(merged(texts), media_type=CONTENT_TYPE, headers=self._headers)


def _cookie_name(scope: Scope) -> str:
    return f"faceinsight-worker-{(scope.get('server') or ('', 0))[1] or 0}"
