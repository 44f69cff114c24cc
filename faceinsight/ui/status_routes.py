"""What machines ask a running server: whether it is well (/healthz), and how it is doing (/metrics)."""

from __future__ import annotations

import hmac
from collections.abc import Callable

from anyio.to_thread import run_sync
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.responses import JSONResponse, Response
from starlette.types import ASGIApp, Receive, Scope, Send

from faceinsight import __version__
from faceinsight.ui import metrics


class StatusRoutes:
    """ASGI middleware: answers these itself, and lets all else through."""

    def __init__(self, app: ASGIApp, token: str | None, is_well: Callable[[], bool]) -> None:
        """Stands before an app.

        Args:
            app: What requests go on to.
            token: What whoever reads /metrics has to send as a bearer token; None for nobody.
            is_well: Says whether faces can be analysed; called in a thread.
        """
        self._app = app
        self._token = token
        self._is_well = is_well

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, or another event of the server's."""
        path = get_route_path(scope) if scope["type"] == "http" else ""
        handle: ASGIApp = self._app
        if path == "/healthz":
            handle = await self._health()
        elif path == "/metrics":
            handle = await self._metrics(scope)
        await handle(scope, receive, send)

    async def _health(self) -> Response:
        if await run_sync(self._is_well):
            return JSONResponse({"status": "ok", "version": __version__})
        # What is wrong names files of the server: it is in its log.
        return JSONResponse({"status": "no face can be analysed", "version": __version__}, 503)

    async def _metrics(self, scope: Scope) -> Response:
        if self._token is None:
            return JSONResponse({"detail": "There is nothing at this address."}, 404)
        # Not by address: behind a server on the same machine, everybody comes from here.
        sent = Headers(scope=scope).get("authorization", "")
        if not hmac.compare_digest(sent.encode(errors="replace"), f"Bearer {self._token}".encode()):
            sentence = "Send the token of --metrics-token as a bearer token."
            return JSONResponse({"detail": sentence}, 401, {"WWW-Authenticate": "Bearer"})
        return Response(await run_sync(metrics.text), media_type=metrics.CONTENT_TYPE)
