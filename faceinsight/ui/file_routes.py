"""What Gradio's routes do with files, each visitor's for that visitor alone."""

from __future__ import annotations

import os
from pathlib import Path

import orjson
from gradio.data_classes import _StaticFiles
from starlette._utils import get_route_path
from starlette.datastructures import MutableHeaders
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from faceinsight.errors import FaceInsightError
from faceinsight.ui.files import NOT_YOURS, store, working_in
from faceinsight.ui.visitors import visitor_of

API = "/gradio_api"
FILE = f"{API}/file="
# A camera's frame in Base64, and more.
MAX_CALL = 16_000_000
# Gradio's routes that write or read files for parts of it that this page does not use.
CLOSED = tuple(
    f"{API}/{name}"
    for name in (
        "process_recording",
        "deep_link",
        "proxy=",
        "file/",
        "vibe-",
        "undo-vibe-",
        "custom_component/",
        "run-history/",
    )
)


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
        path = get_route_path(scope) if scope["type"] == "http" else ""
        handle: ASGIApp = self._app
        if path.startswith(CLOSED) or (path.startswith(f"{API}/stream/") and scope["method"] != "POST"):
            handle = JSONResponse({"detail": "There is nothing here."}, 404)
        elif path.startswith(FILE):
            handle = self._file
        elif path.rstrip("/") == f"{API}/upload" and scope["method"] == "POST":
            handle = self._upload
        elif path.rstrip("/") == f"{API}/component_server" and scope["method"] == "POST":
            handle = self._server_function
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
        with working_in(found.parent):
            await self._app(scope, receive, send)

    async def _upload(self, scope: Scope, receive: Receive, send: Send) -> None:
        with working_in(store().folder_of(visitor_of(scope)) / os.urandom(16).hex()):
            await self._app(scope, receive, send)

    async def _server_function(self, scope: Scope, receive: Receive, send: Send) -> None:
        # These get what came as it came: here is the only place for a check.
        body = b""
        while (message := await receive())["type"] == "http.request":
            body += message.get("body", b"")
            if len(body) > MAX_CALL:
                await JSONResponse({"detail": "This request is too large."}, 413)(scope, receive, send)
                return
            if not message.get("more_body"):
                break
        try:
            checked, _ = store().admit(orjson.loads(body), visitor_of(scope))
        except (FaceInsightError, orjson.JSONDecodeError) as error:
            sentence = str(error) if isinstance(error, FaceInsightError) else "This request is no JSON."
            await JSONResponse({"detail": sentence}, 400)(scope, receive, send)
            return
        messages = [{"type": "http.request", "body": orjson.dumps(checked), "more_body": False}]

        async def again() -> Message:
            return messages.pop() if messages else await receive()

        await self._app(scope, again, send)


def _asked_again(send: Send) -> Send:
    """Has the browser ask before it takes a file from its cache: an update must not mix old modules with new ones."""

    async def marked(message: Message) -> None:
        if message["type"] == "http.response.start":
            MutableHeaders(scope=message)["Cache-Control"] = "no-cache"
        await send(message)

    return marked


def is_static(path: str, allowed: list[str]) -> bool:
    """Says whether a path is, by its letters, in one of the folders that Gradio is told to serve."""
    if "\0" in path or ".." in Path(path).parts:
        return False
    return any(Path(path).is_relative_to(os.path.abspath(folder)) for folder in [*allowed, *_StaticFiles.all_paths])
