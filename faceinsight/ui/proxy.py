"""What stands before several workers: every visitor goes to one of them and stays there, through one port."""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import logging
import math
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from http import HTTPStatus

import anyio
from httpcore2 import URL, AsyncHTTPConnection, ConnectError, NetworkError, Origin, ProtocolError, Request
from starlette.datastructures import Headers
from starlette.requests import cookie_parser
from starlette.responses import HTMLResponse, JSONResponse, Response

from faceinsight import __version__
from faceinsight.ui.behind import HEADER, word
from faceinsight.ui.door import WAIT_PAGE, Receive, Send, is_page, security_headers
from faceinsight.ui.launching import LaunchOptions
from faceinsight.ui.metrics import CONTENT_TYPE, merged
from faceinsight.ui.presence import ARRIVE_S
from faceinsight.ui.rates import Rate
from faceinsight.ui.visitors import Scope, address_of, cookie

log = logging.getLogger(__name__)

# Less than the five seconds after which a worker closes a connection that nobody uses.
KEEP_S = 4.0
# How long a worker is waited for by who asks all of them.
ASK_S = 5.0
AGAIN_S = 2
STARTS_ANEW = "This part of FaceInsight is being started anew: try again in a moment."
HEARTBEAT = "/gradio_api/heartbeat/"
HEALTH, METRICS = "/healthz", "/metrics"
# Where a password is tried, and the status that says that it was wrong or right.
LOGIN, MCP = "/login", "/gradio_api/mcp"
# They concern one connection alone (RFC 9110, 7.6.1). How a body is sent is what a request's receiver judges it by.
_OF_A_CONNECTION = {
    b"connection",
    b"keep-alive",
    b"proxy-authenticate",
    b"proxy-authorization",
    b"proxy-connection",
    b"te",
    b"trailer",
    b"upgrade",
}

RawHeaders = list[tuple[bytes, bytes]]
# Is told an answer's status, and may add to its headers.
OnStart = Callable[[int, RawHeaders], None]


class Upstream:
    """A worker: where it listens while it runs, connections to it that are free, and how many look at its page."""

    def __init__(self, secret: str) -> None:
        """Begins before it runs.

        Args:
            secret: What the process before the workers proves itself by.
        """
        self._secret = secret
        self._origin: Origin | None = None
        self._free: list[AsyncHTTPConnection] = []
        self._pages = 0
        self._came: deque[float] = deque()

    @property
    def runs(self) -> bool:
        """Whether it can be asked."""
        return self._origin is not None

    @property
    def visits(self) -> int:
        """How many look at its page, or are about to."""
        while self._came and self._came[0] < time.monotonic() - ARRIVE_S:
            self._came.popleft()
        return self._pages + len(self._came)

    def up(self, port: int) -> None:
        """Notes that it runs; may be called in any thread."""
        self._free, self._origin = [], Origin(b"http", b"127.0.0.1", port)

    def down(self) -> None:
        """Notes that it does not; may be called in any thread."""
        self._origin = None

    def comes(self) -> None:
        """Notes that somebody opens its page."""
        self._came.append(time.monotonic())

    @contextlib.contextmanager
    def open(self) -> Iterator[None]:
        """Counts an open page while the block runs."""
        self._pages += 1
        try:
            yield
        finally:
            self._pages -= 1

    async def fetch(self, scope: Scope) -> Response | None:
        """Returns a whole answer to a request without a body; None where the worker gives none."""
        said = bytearray()
        start: list[tuple[int, RawHeaders]] = []

        async def nothing() -> Scope:
            await anyio.sleep_forever()
            return {}

        async def hear(message: Scope) -> None:
            said.extend(message.get("body", b""))

        headers = [header for header in scope["headers"] if header[0] not in (b"content-length", b"transfer-encoding")]
        scope = {**scope, "method": "GET", "headers": headers}
        with anyio.move_on_after(ASK_S):
            if await self.pass_on(scope, nothing, hear, lambda *head: start.append(head)):
                status, headers = start[0]
                answer = Response(bytes(said), status)
                answer.raw_headers = headers
                return answer
        return None

    async def pass_on(self, scope: Scope, receive: Receive, send: Send, on_start: OnStart) -> bool:
        """Has a request answered by the worker, as it comes and as it is answered, until either side leaves.

        Args:
            scope: The request.
            receive: Gives its body.
            send: Takes the answer.
            on_start: Is told how it begins.

        Returns:
            Whether there was an answer.
        """
        if (origin := self._origin) is None:
            return False
        begun = False
        async with anyio.create_task_group() as group:
            sent = anyio.Event()

            async def watch() -> None:
                """Ends the work for a visitor who has gone: what is open is a place that others wait for."""
                await sent.wait()
                while (await receive())["type"] != "http.disconnect":
                    pass
                group.cancel_scope.cancel()

            group.start_soon(watch)
            connection = await self._connection(origin)
            try:
                response = await connection.handle_async_request(self._request(origin, scope, receive, sent))
                sent.set()
                headers = [header for header in response.headers if header[0].lower() not in _OF_A_CONNECTION]
                on_start(response.status, headers)
                begun = True
                await send({"type": "http.response.start", "status": response.status, "headers": headers})
                async for part in response.aiter_stream():
                    await send({"type": "http.response.body", "body": part, "more_body": True})
                await send({"type": "http.response.body"})
                await response.aclose()
            except (_GoneError, NetworkError, ProtocolError, ConnectError):
                # Who hears half of an answer notices, as it has not ended.
                pass
            finally:
                await self._put_back(connection, origin)
            group.cancel_scope.cancel()
        return begun

    def _request(self, origin: Origin, scope: Scope, receive: Receive, sent: anyio.Event) -> Request:
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        headers = [(name, value) for name, value in scope["headers"] if name not in {*_OF_A_CONNECTION, HEADER}]
        headers.append((HEADER, word(self._secret, scope)))
        names = {name for name, _ in headers}
        # One that does not say how long it is will be refused, unread.
        body = _body(receive, sent) if b"content-length" in names and b"transfer-encoding" not in names else b""
        if not body:
            sent.set()
        return Request(
            scope["method"],
            URL(scheme=b"http", host=origin.host, port=origin.port, target=target),
            headers=headers,
            content=body,
        )

    async def _connection(self, origin: Origin) -> AsyncHTTPConnection:
        while self._free:
            connection = self._free.pop()
            if connection.is_available() and not connection.has_expired():
                return connection
            await connection.aclose()
        return AsyncHTTPConnection(origin, keepalive_expiry=KEEP_S)

    async def _put_back(self, connection: AsyncHTTPConnection, origin: Origin) -> None:
        if connection.is_idle() and origin is self._origin:
            self._free.append(connection)
            return
        with anyio.CancelScope(shield=True):
            await connection.aclose()


class _GoneError(Exception):
    """Whoever sent a request left before it was whole."""


async def _body(receive: Receive, sent: anyio.Event) -> AsyncIterator[bytes]:
    more = True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            raise _GoneError
        if message.get("body"):
            yield message["body"]
        more = message.get("more_body", False)
    sent.set()


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
            path = scope["path"]
            if path == self._root or path.startswith(f"{self._root}/"):
                path = path.removeprefix(self._root)
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
                await self._pass_on(self._worker(scope), scope, receive, send, path)
        except Exception as error:
            log.error("A request could not be passed on: %r", error)
            log.debug("The traceback:", exc_info=error)
            raise

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
        worker = named
        if worker is None or not worker.runs:
            worker = min(self._workers, key=lambda one: (not one.runs, one.visits))
            worker.comes()

        def mark(status: int, headers: RawHeaders) -> None:
            number, path = str(self._workers.index(worker) + 1), self._root or "/"
            value = cookie(scope, _cookie_name(scope), number, path, self._hosted)
            if status == HTTPStatus.OK and worker is not named:
                headers.append((b"set-cookie", value.encode()))
            elif status == HTTPStatus.SERVICE_UNAVAILABLE and named:
                # Where there is no room now, another one may have some.
                headers.append((b"set-cookie", f"{value}; Max-Age=0".encode()))

        await self._pass_on(worker, scope, receive, send, "/", mark)

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

        await self._pass_on(self._worker(scope), scope, receive, send, path, judge)

    async def _pass_on(
        self,
        worker: Upstream,
        scope: Scope,
        receive: Receive,
        send: Send,
        path: str,
        on_start: OnStart = lambda status, headers: None,
    ) -> None:
        with worker.open() if path.startswith(HEARTBEAT) else contextlib.nullcontext():
            if not await worker.pass_on(scope, receive, send, on_start):
                await self._refuse(HTTPStatus.SERVICE_UNAVAILABLE, STARTS_ANEW, AGAIN_S, scope, receive, send)

    async def _refuse(
        self, status: HTTPStatus, sentence: str, wait_s: float, scope: Scope, receive: Receive, send: Send
    ) -> None:
        headers = self._headers | {"Retry-After": str(math.ceil(wait_s))}
        answer: Response = JSONResponse({"detail": sentence}, status, headers)
        if is_page(scope):
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
