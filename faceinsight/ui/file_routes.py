"""What Gradio's routes do with files, each visitor's for that visitor alone."""

from __future__ import annotations

import os
import secrets
import shutil
from contextlib import suppress
from http import HTTPStatus
from pathlib import Path

from anyio import move_on_after
from anyio.to_thread import run_sync
from gradio.data_classes import _StaticFiles
from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import ClientDisconnect
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceinsight.errors import FaceInsightError
from faceinsight.ui.files import NOT_YOURS, OPEN, store, working_in
from faceinsight.ui.room import NoRoomError
from faceinsight.ui.visitors import visitor_of

API = "/gradio_api"
FILE = f"{API}/file="
# Seconds that the rest of a refused upload is waited for.
DRAIN_S = 30.0


class FileRoutes:
    """ASGI middleware: answers itself, or lets Gradio answer, within what a visitor may have."""

    def __init__(self, app: ASGIApp) -> None:
        """Stands before an app.

        Args:
            app: What requests go on to.
        """
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, or another event of the server's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        store().heard_of(visitor_of(scope))
        path = get_route_path(scope)
        handle: ASGIApp = self._app
        if path.startswith(FILE):
            handle = self._file
        elif path.startswith(f"{API}/heartbeat/"):
            handle = self._heartbeat
        elif path.rstrip("/") == f"{API}/upload" and scope["method"] == "POST":
            handle = self._upload
        await handle(scope, receive, send)

    async def _file(self, scope: Scope, receive: Receive, send: Send) -> None:
        path = get_route_path(scope).removeprefix(FILE)
        try:
            found = store().find(path, visitor_of(scope))
        except FaceInsightError:
            if not is_static(path, scope["app"].get_blocks().allowed_paths):
                await JSONResponse({"detail": NOT_YOURS}, 404)(scope, receive, send)
                return
            found, send = Path(path), _asked_again(send)
        with store().using([found]), working_in(found.parent):
            await self._app(scope, receive, send)

    async def _heartbeat(self, scope: Scope, receive: Receive, send: Send) -> None:
        # It lasts as long as the page is open.
        with store().visiting(visitor_of(scope)):
            await self._app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        visitor = visitor_of(scope)
        folder = store().folder_of(visitor) / secrets.token_hex(16)
        owner = visitor.id if visitor.browser else f"{OPEN}{visitor.id}-"
        length = Headers(scope=scope).get("content-length", "")
        if not length.isdecimal() or len(length) > 15:
            await _refuse("An upload has to say how long it is: send a Content-Length.", 411, scope, receive, send)
            return
        try:
            await run_sync(store().room.take, folder, owner, visitor.address, int(length))
        except NoRoomError as error:
            await _refuse(str(error), error.status, scope, receive, send)
            return
        whole = False

        async def answer(message: Message) -> None:
            nonlocal whole
            whole = whole or message.get("status") == HTTPStatus.OK
            await send(message)

        try:
            with store().using([folder]), working_in(folder), suppress(ClientDisconnect):
                await self._app(scope, receive, answer)
        finally:
            if not whole:
                shutil.rmtree(folder, ignore_errors=True)
            store().room.give_back(folder)


def _asked_again(send: Send) -> Send:
    """Has the browser ask before it takes a file from its cache: an update must not mix old modules with new ones."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Cache-Control"] = "no-cache"
        await send(message)

    return marked


async def _refuse(sentence: str, status: int, scope: Scope, receive: Receive, send: Send) -> None:
    """Answers an upload before it has come; what comes of it is thrown away, so that its sender can hear why."""
    start: Message = {"type": "http.response.start", "status": int(status)}
    start["headers"] = [(b"content-type", b"text/plain; charset=utf-8"), (b"connection", b"close")]
    await send(start)
    await send({"type": "http.response.body", "body": sentence.encode(), "more_body": True})
    with move_on_after(DRAIN_S):
        while (await receive()).get("more_body"):
            pass
    await send({"type": "http.response.body"})


def is_static(path: str, allowed: list[str]) -> bool:
    """Says whether a path is, by its letters, in one of the folders that Gradio is told to serve."""
    if "\0" in path or ".." in Path(path).parts:
        return False
    return any(Path(path).is_relative_to(os.path.abspath(folder)) for folder in [*allowed, *_StaticFiles.all_paths])
