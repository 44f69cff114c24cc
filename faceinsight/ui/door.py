"""The door: what every request must be like before anything of Gradio's sees it."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Awaitable, Callable
from contextlib import ExitStack
from dataclasses import dataclass
from http import HTTPStatus

from starlette._utils import get_route_path
from starlette.datastructures import Headers, MutableHeaders

from faceinsight.ui import metrics
from faceinsight.ui.limits import Limits
from faceinsight.ui.presence import ARRIVE_S, Presence
from faceinsight.ui.rates import AT, AtOnce, Rate
from faceinsight.ui.visitors import KEY, Scope, Tokens, Visitor, address_of

Message = Scope
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]

# Seconds of a visitor's rate that may come in one go.
BURST_S = 4.0
# How many times as often as for work one may ask for what is there.
READS = 5
# Pages that one address may open in one go: a class that opens the page together.
PAGES_AT_ONCE = 60
# A request that is too large is read to its end up to here, so that its sender hears why it is refused.
DRAIN_BYTES = 64_000_000
# What frames a file in a request of uploads.
AROUND_FILES = 100_000
SMALL_BYTES = 16_000

JSON = re.compile(r"application/([\w.-]+\+)?json\b", re.IGNORECASE)
FULL = "Too many people are here at the moment: try again in half a minute."
ELSEWHERE = "This request comes from a page of another host: open FaceInsight itself."
# What a browser shows that cannot be let in now, until it can.
WAIT_PAGE = """<!doctype html><html lang="en"><head><meta charset="utf-8"><title>FaceInsight</title>
<meta name="viewport" content="width=device-width"><meta name="color-scheme" content="light dark">
<meta http-equiv="refresh" content="{seconds}"></head>
<body style="font: 1rem system-ui; max-width: 32rem; margin: 20vh auto; padding: 1rem">
<h1 style="font-size: 1.5rem">FaceInsight</h1><p role="alert">{sentence}</p></body></html>"""


@dataclass(frozen=True, slots=True)
class Route:
    """A kind of request.

    Attributes:
        name: Its name, by which its limits are counted.
        methods: The methods it may have.
        pattern: What its path is like.
        public: Whether it is answered before a visitor has logged in.
    """

    name: str
    methods: str
    pattern: re.Pattern[str]
    public: bool = False


def _route(name: str, methods: str, pattern: str, public: bool = False) -> Route:
    return Route(name, methods, re.compile(pattern), public)


# What the page, Gradio's clients and the README's commands ask for. The rest of Gradio's routes (direct runs,
# its proxy, deep links, screen recordings, monitoring, editing) is not for visitors.
ROUTES = (
    _route("page", "GET HEAD", r"/?", True),
    _route("status", "GET HEAD", r"/healthz|/metrics", True),
    _route("asset", "GET HEAD", r"/(assets|static|svelte)/.+", True),
    _route("asset", "GET HEAD", r"/(favicon\.ico|robots\.txt|manifest\.json|theme\.css|pwa_icon(/\d+)?)", True),
    _route("asset", "GET HEAD", r"/gradio_api/(theme\.css|startup-events)", True),
    _route("login", "POST", r"/login/?", True),
    _route("logout", "GET", r"/logout", True),
    _route("read", "GET HEAD", r"/config/?|/gradio_api/(info/?|openapi\.json|app_id/?|login_check/?|queue/status)"),
    _route("read", "GET HEAD", r"/gradio_api/file=.+"),
    _route("stream", "GET", r"/gradio_api/(heartbeat/[^/]+|queue/data|upload_progress|call/(v2/)?[^/]+/[^/]+)"),
    _route("frame", "POST", r"/gradio_api/component_server/?"),
    _route("join", "POST", r"/gradio_api/(queue/join|call/(v2/)?[^/]+)/?"),
    _route("work", "POST", r"/gradio_api/stream/[^/]+"),
    _route("small", "POST", r"/gradio_api/(cancel|reset/?|stream/[^/]+/close)"),
    _route("upload", "POST", r"/gradio_api/upload"),
    _route("mcp", "POST", r"/gradio_api/mcp/?"),
)


class RefusedError(Exception):
    """A request that is not let in."""

    def __init__(self, status: HTTPStatus, sentence: str, wait_s: float = 0.0) -> None:
        """Says why.

        Args:
            status: The answer's status.
            sentence: What its sender reads.
            wait_s: Seconds after which another try makes sense.
        """
        super().__init__(sentence)
        self.status, self.sentence, self.wait_s = status, sentence, wait_s


class Door:
    """ASGI middleware: who a visitor is, what they may ask for, how often and how much, and from where."""

    def __init__(
        self,
        app: ASGIApp,
        tokens: Tokens,
        limits: Limits,
        frames: tuple[str, ...],
        going_on: AtOnce,
        presence: Presence,
        passwords: Rate,
    ) -> None:
        """Stands before an app.

        Args:
            app: What requests go on to.
            tokens: Those of this run.
            limits: How much a visitor may have.
            frames: Other hosts whose pages may show the page in a frame.
            going_on: Counts the requests that are being answered, by kind, by (kind, visitor's id) and by (kind, AT,
                address).
            presence: Which browsers are here.
            passwords: How many wrong passwords an address may try.
        """
        self._app = app
        self._tokens = tokens
        self._limits = limits
        self._going_on = going_on
        self._headers = security_headers(frames)
        self._cookies_elsewhere = bool(frames)
        self._presence = presence
        self._pages = Rate(limits.pages_per_s, PAGES_AT_ONCE)
        self._rates = {"frame": Rate(limits.frames_per_s, limits.frames_per_s * BURST_S)}
        work = Rate(limits.requests_per_s, limits.requests_per_s * BURST_S)
        self._rates |= dict.fromkeys(("page", "join", "work", "small", "upload", "stream", "mcp"), work)
        # A page shows many pictures at once.
        self._rates["read"] = self._rates["status"] = Rate(
            limits.requests_per_s * READS, limits.requests_per_s * READS * BURST_S
        )
        self._passwords = passwords
        upload = limits.upload_mb * 1_000_000 + AROUND_FILES
        self._bytes = {"frame": limits.frame_kb * 1000, "upload": upload, "login": SMALL_BYTES, "small": SMALL_BYTES}
        self._bytes["mcp"] = limits.mcp_mb * 1_000_000

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, or another event of the server's."""
        if scope["type"] == "lifespan":
            await self._app(scope, receive, send)
            return
        if scope["type"] != "http":
            await send({"type": "websocket.close"})
            return
        with ExitStack() as stack:
            try:
                route = self._route_of(scope)
                visitor = self._let_in(scope, route, stack)
                await self._read_no_more(scope, route, receive)
            except RefusedError as refused:
                metrics.refused.labels(int(refused.status)).inc()
                await self._refuse(refused, is_page(scope), send)
                return
            await self._app(scope, receive, self._answer(scope, route, visitor, send))

    def _route_of(self, scope: Scope) -> Route:
        path, allowed = get_route_path(scope), set()
        for route in ROUTES:
            if route.pattern.fullmatch(path):
                if scope["method"] in route.methods.split():
                    return route
                allowed.add(route.methods)
        if allowed:
            raise RefusedError(HTTPStatus.METHOD_NOT_ALLOWED, f"This address takes only {', '.join(sorted(allowed))}.")
        raise RefusedError(HTTPStatus.NOT_FOUND, "There is nothing at this address.")

    def _let_in(self, scope: Scope, route: Route, stack: ExitStack) -> Visitor:
        if is_foreign(scope) and not (
            route.name == "page" and Headers(scope=scope).get("sec-fetch-mode") == "navigate"
        ):
            if scope["method"] == "POST" or route.name == "logout":
                raise RefusedError(HTTPStatus.FORBIDDEN, ELSEWHERE)
            # It may look at what everybody may see, as nobody.
            _drop(scope, b"cookie")
        # Gradio would allow it to read answers, with the visitor's cookies.
        _drop(scope, b"origin")
        visitor = self._tokens.visitor(scope)
        scope[KEY] = visitor
        scope["faceinsight.route"] = route
        self._check_room(route, visitor)
        self._check_rate(scope, route, visitor)
        self._check_number(route, visitor)
        keys = route.name, (route.name, visitor.id), (route.name, AT, visitor.address)
        stack.enter_context(self._going_on.counted(*keys))
        return visitor

    def _check_room(self, route: Route, visitor: Visitor) -> None:
        """Refuses a browser too many; who is here already stays, and what everybody may see costs nothing."""
        if route.public and route.name != "page":
            return
        if not visitor.browser:
            there_is = route.name != "page" or not self._presence.is_full(visitor.address)
        else:
            there_is = self._presence.come(visitor.id, address=visitor.address)
        if not there_is:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, FULL, 30)

    def _check_rate(self, scope: Scope, route: Route, visitor: Visitor) -> None:
        limits, wait_s = self._limits, 0.0
        if route.name == "page" and not visitor.browser:
            wait_s = self._pages.take(address_of(scope))
        elif route.name == "login":
            # Given back where the password is right.
            if wait_s := self._passwords.take(address_of(scope)):
                sentence = f"Too many wrong passwords: try again in {math.ceil(wait_s)} s."
                raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, sentence, wait_s)
        elif (rate := self._rates.get(route.name)) is not None:
            # A program's frames are not looked at.
            share = limits.share(1, visitor.browser or route.name == "frame")
            wait_s = rate.take(visitor.id, share)
        if wait_s:
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, "That is too much at once: try again in a moment.", wait_s)

    def _check_number(self, route: Route, visitor: Visitor) -> None:
        limits = self._limits
        most = {"stream": limits.streams, "upload": limits.uploads, "mcp": limits.jobs}.get(route.name)
        if most is not None and self._going_on[route.name, visitor.id] >= limits.share(most, visitor.browser):
            what = {"upload": "uploads", "mcp": "jobs"}.get(route.name, "pages open")
            raise RefusedError(
                HTTPStatus.TOO_MANY_REQUESTS, f"You have too many {what} at once: wait for one to end.", 5
            )
        if route.name == "stream" and self._going_on["stream", AT, visitor.address] >= limits.address_streams:
            sentence = "Too many pages are open at your address: close one, or try again in a minute."
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, sentence, 60)
        if route.name == "stream" and self._going_on["stream"] >= limits.open_streams:
            sentence = "Too many people are here at the moment: try again in a minute."
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, sentence, 60)
        if route.name == "mcp" and self._going_on["mcp", AT, visitor.address] >= limits.address_jobs:
            sentence = "Your address has too many jobs at once: wait for one to end."
            raise RefusedError(HTTPStatus.TOO_MANY_REQUESTS, sentence, 5)
        if route.name == "mcp" and self._going_on["mcp"] >= limits.queue:
            raise RefusedError(HTTPStatus.SERVICE_UNAVAILABLE, "Too many jobs wait: try again in a moment.", 5)

    async def _read_no_more(self, scope: Scope, route: Route, receive: Receive) -> None:
        """Refuses a body by what is said of it, which the server holds its sender to."""
        if scope["method"] != "POST":
            return
        headers = Headers(scope=scope)
        if "transfer-encoding" in headers:
            raise RefusedError(
                HTTPStatus.LENGTH_REQUIRED, "The request does not say how long it is: send a Content-Length."
            )
        most = self._bytes.get(route.name, self._limits.request_kb * 1000)
        length = headers.get("content-length", "0")
        if route.name in ("frame", "join", "work", "mcp") and not JSON.match(headers.get("content-type", "")):
            raise RefusedError(
                HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "The request is no JSON: send it as application/json."
            )
        if not length.isdecimal() or int(length) > most:
            await _drain(receive)
            sentence = f"The request is too large: at most {most / 1e6:g} MB are taken here."
            raise RefusedError(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, sentence)

    def _answer(self, scope: Scope, route: Route, visitor: Visitor, send: Send) -> Send:
        # A token comes with the page itself: whoever has one has opened it.
        new = route.name == "page" and not visitor.browser

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start":
                headers = MutableHeaders(scope=message)
                headers.update(self._headers)
                if route.name == "login":
                    if message["status"] == HTTPStatus.OK:
                        self._passwords.give_back(address_of(scope))
                    self._mend_cookies(message)
                if new and message["status"] == HTTPStatus.OK:
                    token = self._tokens.new()
                    self._presence.come(self._tokens.id_of(token), ARRIVE_S, visitor.address)
                    headers.append("Set-Cookie", self._tokens.cookie(scope, token))
            await send(message)

        return answer

    def _mend_cookies(self, message: Message) -> None:
        """Lets other sites' pages send Gradio's login cookies only where one may show the page in a frame."""
        rule = b"SameSite=None; Partitioned" if self._cookies_elsewhere else b"SameSite=Lax"
        message["headers"] = [
            (name, re.sub(rb"(?i)samesite=none", rule, value) if name.lower() == b"set-cookie" else value)
            for name, value in message["headers"]
        ]

    async def _refuse(self, refused: RefusedError, page: bool, send: Send) -> None:
        body = json.dumps({"detail": refused.sentence}).encode()
        if page and refused.wait_s:
            body = WAIT_PAGE.format(sentence=refused.sentence, seconds=math.ceil(refused.wait_s)).encode()
        message: Message = {"type": "http.response.start", "status": int(refused.status), "headers": []}
        headers = MutableHeaders(scope=message)
        kind = "text/html; charset=utf-8" if body.startswith(b"<") else "application/json"
        headers.update({"Content-Type": kind, "Content-Length": str(len(body)), **self._headers})
        if refused.wait_s:
            headers["Retry-After"] = str(math.ceil(refused.wait_s))
        await send(message)
        await send({"type": "http.response.body", "body": body})


def security_headers(frames: tuple[str, ...]) -> dict[str, str]:
    """Returns the headers of every answer.

    Args:
        frames: Other hosts whose pages may show the page in a frame.
    """
    rules = {
        "default-src": "'self'",
        # Gradio's page starts from scripts inside it, and makes functions of a component's script.
        "script-src": "'self' 'unsafe-inline' 'unsafe-eval' blob:",
        "style-src": "'self' 'unsafe-inline'",
        "img-src": "'self' data: blob:",
        "media-src": "'self' data: blob:",
        "font-src": "'self' data:",
        "connect-src": "'self' data: blob:",
        "worker-src": "'self' blob:",
        "object-src": "'none'",
        "base-uri": "'self'",
        "form-action": "'self'",
        "frame-ancestors": " ".join(("'self'", *frames)),
    }
    return {
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in rules.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "same-origin",
        "Cross-Origin-Resource-Policy": "same-origin",
    }


def is_foreign(scope: Scope) -> bool:
    """Says whether a browser sent a request for a page of another host.

    Args:
        scope: The request's ASGI scope.
    """
    headers = Headers(scope=scope)
    # The browser's own word, which also stands behind a proxy that changes the host.
    if (site := headers.get("sec-fetch-site")) is not None:
        return site not in ("same-origin", "none")
    if (origin := headers.get("origin")) is None:
        return False
    hosts = (headers.get("host"), headers.get("x-forwarded-host", "").split(",")[0].strip())
    host = origin.partition("://")[2]
    return not host or host not in hosts


def is_page(scope: Scope) -> bool:
    """Says whether a browser asks for the page itself, to be looked at."""
    return get_route_path(scope) in ("", "/") and "text/html" in Headers(scope=scope).get("accept", "")


async def _drain(receive: Receive) -> None:
    left = DRAIN_BYTES
    while left > 0:
        message = await receive()
        left -= len(message.get("body", b""))
        if message["type"] != "http.request" or not message.get("more_body", False):
            return


def _drop(scope: Scope, name: bytes) -> None:
    scope["headers"] = [header for header in scope["headers"] if header[0] != name]
