"""A worker as the process before it sees it: asked over HTTP, with nothing kept of what passes."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator

import anyio
import h11
from starlette.responses import Response

from faceinsight.ui.behind import HEADER, word
from faceinsight.ui.door import Receive, Send
from faceinsight.ui.presence import ARRIVE_S
from faceinsight.ui.visitors import Scope

# Less than the five seconds after which a worker closes a connection that nobody uses.
KEEP_S = 4.0
# How long a worker is waited for by who asks all of them.
ASK_S = 5.0
READ_BYTES = 65_536
# They concern one connection alone (RFC 9110, 7.6.1). How a request's body comes is left, as workers judge it.
OF_A_CONNECTION = {b"connection", b"keep-alive", b"proxy-authenticate", b"proxy-authorization", b"proxy-connection"}
OF_A_CONNECTION |= {b"te", b"trailer", b"upgrade", HEADER}

RawHeaders = list[tuple[bytes, bytes]]
# Is told an answer's status, and may add to its headers.
OnStart = Callable[[int, RawHeaders], None]


class _Connection:
    """A connection to a worker, for one request after another."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._http = h11.Connection(h11.CLIENT)
        self._used_at = time.monotonic()

    @property
    def is_good(self) -> bool:
        """Whether the worker still listens at its other end."""
        return time.monotonic() - self._used_at < KEEP_S and not self._reader.at_eof()

    async def send(self, event: h11.Event) -> None:
        """Sends a part of a request."""
        if data := self._http.send(event):
            self._writer.write(data)
            await self._writer.drain()

    async def hear(self) -> h11.Event:
        """Returns the next part of the answer."""
        while (event := self._http.next_event()) is h11.NEED_DATA:
            self._http.receive_data(await self._reader.read(READ_BYTES))
        assert not isinstance(event, type)  # h11.PAUSED comes where one answer is read beyond its end alone
        return event

    def is_free_again(self) -> bool:
        """Makes it ready for another request; says whether it can have one."""
        if not self._http.our_state is self._http.their_state is h11.DONE:
            return False
        self._http.start_next_cycle()
        self._used_at = time.monotonic()
        return True

    def close(self) -> None:
        """Ends it at once."""
        self._writer.transport.abort()


class Upstream:
    """A worker: where it listens while it runs, connections to it that are free, and how many look at its page."""

    def __init__(self, secret: str) -> None:
        """Begins before it runs.

        Args:
            secret: What the process before the workers proves itself by.
        """
        self._secret = secret
        self._port: int | None = None
        self._free: list[_Connection] = []
        self._pages = 0
        self._came: deque[float] = deque()

    @property
    def runs(self) -> bool:
        """Whether it can be asked."""
        return self._port is not None

    @property
    def visits(self) -> int:
        """How many look at its page, or are about to."""
        while self._came and self._came[0] < time.monotonic() - ARRIVE_S:
            self._came.popleft()
        return self._pages + len(self._came)

    def up(self, port: int) -> None:
        """Notes that it runs; may be called in any thread."""
        self._port = port

    def down(self) -> None:
        """Notes that it does not; may be called in any thread."""
        self._port = None

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
            Whether there was an answer; one that breaks off is not ended, so that its reader notices.
        """
        begun = False
        try:
            async with self._connection() as connection, anyio.create_task_group() as group:
                group.start_soon(self._send, connection, scope, receive, group.cancel_scope)
                while not isinstance(event := await connection.hear(), h11.EndOfMessage | h11.ConnectionClosed):
                    if isinstance(event, h11.Response):
                        headers = [(name, value) for name, value in event.headers if name not in OF_A_CONNECTION]
                        on_start(event.status_code, headers)
                        begun = True
                        await send({"type": "http.response.start", "status": event.status_code, "headers": headers})
                    elif isinstance(event, h11.Data):
                        await send({"type": "http.response.body", "body": bytes(event.data), "more_body": True})
                if isinstance(event, h11.EndOfMessage):
                    await send({"type": "http.response.body"})
                group.cancel_scope.cancel()
        except* (OSError, h11.RemoteProtocolError):
            pass
        return begun

    async def _send(self, connection: _Connection, scope: Scope, receive: Receive, work: anyio.CancelScope) -> None:
        """Sends a request, and ends the work on it when its sender leaves: what is open is a place for others."""
        names = {name for name, _ in scope["headers"]}
        headers = [(name, value) for name, value in scope["headers"] if name not in OF_A_CONNECTION]
        headers.append((HEADER, word(self._secret, scope)))
        if b"host" not in names:
            headers.append((b"host", b""))  # as of HTTP/1.0
        target = scope["raw_path"] + (b"?" + scope["query_string"] if scope["query_string"] else b"")
        # One that does not say how long it is will be refused, unread.
        whole = b"content-length" not in names or b"transfer-encoding" in names
        heard = True
        try:
            await connection.send(h11.Request(method=scope["method"], target=target, headers=headers))
            if whole:
                await connection.send(h11.EndOfMessage())
        except OSError:
            heard = False
        while (message := await receive())["type"] == "http.request":
            if whole:
                continue
            whole = not message.get("more_body", False)
            try:
                if heard and message.get("body"):
                    await connection.send(h11.Data(data=message["body"]))
                if heard and whole:
                    await connection.send(h11.EndOfMessage())
            except OSError:
                # It has answered already, and what comes now is thrown away so that its sender can read that.
                heard = False
        work.cancel()

    @contextlib.asynccontextmanager
    async def _connection(self) -> AsyncIterator[_Connection]:
        """Gives a connection, a new one where none is free.

        Raises:
            OSError: If the worker does not listen.
        """
        if (port := self._port) is None:
            raise ConnectionRefusedError
        connection = None
        while self._free and connection is None:
            connection = self._free.pop()
            if not connection.is_good:
                connection.close()
                connection = None
        if connection is None:
            connection = _Connection(*await asyncio.open_connection("127.0.0.1", port))
        free = False
        try:
            yield connection
            free = port == self._port and connection.is_free_again()
        finally:
            if free:
                self._free.append(connection)
            else:
                connection.close()
