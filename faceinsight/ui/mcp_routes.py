"""The endpoints as tools of the Model Context Protocol, behind the same checks as all else that strangers send."""

from __future__ import annotations

import base64
import binascii
import hmac
import inspect
import json
import math
import re
import secrets
import shutil
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio
import gradio as gr
from anyio.to_thread import run_sync
from gradio.state_holder import SessionState
from mcp.server import Server
from mcp.server.streamable_http_manager import StreamableHTTPSessionManager
from mcp_types import CallToolResult, ListToolsResult, TextContent, Tool
from starlette._utils import get_route_path
from starlette.datastructures import Headers
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Receive, Scope, Send

from faceinsight import __version__
from faceinsight.errors import MediaError
from faceinsight.ui.engine import as_page_error
from faceinsight.ui.files import FILE_DATA, OPEN, store
from faceinsight.ui.limits import Limits
from faceinsight.ui.rates import Rate
from faceinsight.ui.visitors import Visitor, address_of, visitor_of

PATH = "/gradio_api/mcp"
FILES = ("image", "video")
ABOUT_FILES = (
    " Give it as a data URL (data:image/jpeg;base64,...), or as the path that an upload to /gradio_api/upload has "
    "answered with; links are not followed."
)
DATA_URL = re.compile(r"data:(?P<kind>[\w.+-]{1,40}/[\w.+-]{1,80});base64,")
MAX_TEXT = 200


class McpRoutes:
    """ASGI middleware: answers MCP clients (streamable HTTP), and lets all else through."""

    def __init__(
        self, app: ASGIApp, page: gr.Blocks, limits: Limits, login: tuple[str, str] | None, passwords: Rate
    ) -> None:
        """Stands before an app.

        Args:
            app: What requests go on to.
            page: The page, whose public endpoints become tools.
            limits: How much a visitor may have.
            login: (user, password) that clients send by HTTP's basic authentication; None where everybody may come.
            passwords: How many wrong passwords an address may try.
        """
        self._app = app
        self._login = login
        self._wrong = passwords
        self._tools = Tools(page)
        server = Server("FaceInsight", version=__version__, on_list_tools=self._list, on_call_tool=self._call)
        size = limits.mcp_mb * 1_000_000
        self._manager = StreamableHTTPSessionManager(
            server, json_response=True, stateless=True, max_request_body_size=size
        )

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, or another event of the server's."""
        if scope["type"] == "lifespan":
            async with self._manager.run():
                await self._app(scope, receive, send)
        elif scope["type"] != "http" or get_route_path(scope).rstrip("/") != PATH:
            await self._app(scope, receive, send)
        elif (sentence := self._refusal(scope)) is not None:
            headers = {"WWW-Authenticate": 'Basic realm="FaceInsight"'}
            await JSONResponse({"detail": sentence}, 401, headers)(scope, receive, send)
        else:
            await self._manager.handle_request(scope, receive, send)

    def _refusal(self, scope: Scope) -> str | None:
        if self._login is None:
            return None
        if self._wrong.take(address_of(scope)):
            return "Too many wrong passwords: try again in ten seconds."
        sent = Headers(scope=scope).get("authorization", "")
        wanted = "Basic " + base64.b64encode(":".join(self._login).encode()).decode()
        if not hmac.compare_digest(sent.encode(errors="replace"), wanted.encode()):
            return "Send the user and the password by basic authentication."
        self._wrong.give_back(address_of(scope))
        return None

    async def _list(self, context: Any, params: Any) -> ListToolsResult:
        return ListToolsResult(tools=self._tools.described())

    async def _call(self, context: Any, params: Any) -> CallToolResult:
        try:
            answer = await self._tools.call(params.name, params.arguments or {}, context.request)
        except Exception as error:
            sentence = as_page_error(error).message
            return CallToolResult(content=[TextContent(type="text", text=sentence)], is_error=True)
        return CallToolResult(content=[TextContent(type="text", text=json.dumps(answer))], structured_content=answer)


class Tools:
    """The page's public endpoints, to be called by name."""

    def __init__(self, page: gr.Blocks) -> None:
        """Finds them.

        Args:
            page: The page.
        """
        self._page = page
        self._fns = {str(fn.api_name): fn for fn in page.fns.values() if fn.api_visibility == "public" and fn.api_name}
        self._turns = {name: anyio.CapacityLimiter(fn.concurrency_limit or 1) for name, fn in self._fns.items()}

    def described(self) -> list[Tool]:
        """Returns what clients are told of them."""
        return [
            Tool(name=name, description=documented(fn.fn)[0], input_schema=self._schema(fn))
            for name, fn in self._fns.items()
        ]

    async def call(self, name: str, arguments: Mapping[str, Any], request: Any) -> dict[str, Any]:
        """Does what an endpoint does, as the page's own events are done.

        Args:
            name: The endpoint's name.
            arguments: What a stranger sent for its inputs.
            request: The client's request, of Starlette's.

        Raises:
            FaceInsightError: If an argument is none, with a sentence.
            gr.Error: If the work fails, the same.
        """
        if (fn := self._fns.get(name)) is None:
            raise MediaError(f"There is no such tool: choose one of {', '.join(self._fns)}.")
        visitor = visitor_of(request)
        with uploaded(arguments, visitor) as (written, given):
            if written is not None:
                await run_sync(written)
            inputs = [_checked(key, given.get(key, part.value)) for key, part in self._inputs(fn)]
            if unknown := sorted(map(repr, given.keys() - {key for key, _ in self._inputs(fn)})):
                raise MediaError(f"{name} takes no {unknown[0][:MAX_TEXT]}: see its schema.")
            async with self._turns[name]:
                done = await self._page.process_api(fn, inputs, SessionState(self._page), gr.Request(request))
        # Gradio wraps JSON into a model of its own.
        answer: dict[str, Any] = getattr(done["data"][0], "root", done["data"][0])
        return answer

    def _inputs(self, fn: Any) -> list[tuple[str, Any]]:
        return list(zip(inspect.signature(fn.fn).parameters, fn.inputs, strict=True))

    def _schema(self, fn: Any) -> dict[str, Any]:
        _, about = documented(fn.fn)
        properties: dict[str, Any] = {}
        for name, part in self._inputs(fn):
            if name in FILES:
                properties[name] = {"type": "string", "description": about[name] + ABOUT_FILES}
                continue
            kind = "string" if isinstance(part.value, str) else "number"
            properties[name] = {"type": kind, "description": about[name], "default": part.value}
        return {
            "type": "object",
            "properties": properties,
            "required": [name for name in properties if name in FILES],
            "additionalProperties": False,
        }


def documented(function: Any) -> tuple[str, dict[str, str]]:
    """Returns what a function's docstring (Google style) says of it, and of each of its arguments."""
    about, _, rest = (inspect.getdoc(function) or "").partition("\nArgs:\n")
    arguments, _, answer = rest.partition("\nReturns:\n")
    parts = re.split(r"^ {4}(\w+): ", arguments, flags=re.MULTILINE)[1:]
    said = {name: " ".join(text.split()) for name, text in zip(parts[::2], parts[1::2], strict=True)}
    return " ".join(f"{about} Returns {answer}".split()), said


def _checked(name: str, value: Any) -> Any:
    """Returns an argument as the page would send it.

    Raises:
        MediaError: If it is none.
    """
    if name in FILES:
        if not isinstance(value, str):
            raise MediaError(f"There is no {name}: give a data URL, or the path that an upload answered with.")
        # Whose it is, and whether it is a file at all, is checked where every event's files are.
        return {"path": value, "meta": FILE_DATA}
    if isinstance(value, str) and name == "pack" and len(value) <= MAX_TEXT:
        return value
    if isinstance(value, int | float) and not isinstance(value, bool) and name != "pack" and math.isfinite(value):
        return value
    raise MediaError(f"{name} is given as what it cannot be: see the tool's schema.")


@contextmanager
def uploaded(arguments: Mapping[str, Any], visitor: Visitor) -> Iterator[tuple[Any, dict[str, Any]]]:
    """Makes a file of a data URL, in the visitor's room, for as long as the block runs.

    Args:
        arguments: What a stranger sent.
        visitor: Who sent it.

    Yields:
        What writes the file, None where there is none, and the arguments with its path.
    """
    given = dict(arguments)
    names = [name for name in FILES if isinstance(given.get(name), str) and given[name].startswith("data:")]
    if not names:
        yield None, given
        return
    start = DATA_URL.match(given[names[0]])
    if start is None:
        raise MediaError("A data URL is data:, a media type, and ;base64, before its content.")
    text = given[names[0]][start.end() :]
    folder = store().folder_of(visitor) / secrets.token_hex(16)
    path = folder / f"{names[0]}.{start['kind'].partition('/')[2][:20]}"
    given[names[0]] = str(path)
    owner = visitor.id if visitor.browser else f"{OPEN}{visitor.id}-"
    taken: list[Path] = []

    def write() -> None:
        # In a thread: it walks through the folders of all visitors.
        store().room.take(folder, owner, visitor.address, len(text) * 3 // 4)
        taken.append(folder)
        _write(path, text)

    try:
        with store().using([folder]):
            yield write, given
    finally:
        shutil.rmtree(folder, ignore_errors=True)
        for one in taken:
            store().room.give_back(one)


def _write(path: Path, text: str) -> None:
    try:
        content = base64.b64decode(text, validate=True)
    except (binascii.Error, ValueError) as error:
        raise MediaError("The data URL's content is no Base64: send the whole of it.") from error
    path.parent.mkdir(parents=True)
    path.write_bytes(content)
