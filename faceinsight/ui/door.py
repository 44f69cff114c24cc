"""The door: every request passes it before anything of Gradio's sees it."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from gradio.routes import App, ORJSONResponse
from starlette.datastructures import MutableHeaders

from faceinsight.ui.file_routes import FileRoutes
from faceinsight.ui.visitors import KEY, Scope, Tokens

Message = Scope
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
ASGIApp = Callable[[Scope, Receive, Send], Awaitable[None]]


class Door:
    """ASGI middleware that says who a visitor is, and gives a token to whoever opens the page."""

    def __init__(self, app: ASGIApp, tokens: Tokens) -> None:
        """Stands before an app.

        Args:
            app: What requests go on to.
            tokens: Those of this run.
        """
        self._app = app
        self._tokens = tokens

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handles a request, or another event of the server's."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        visitor = scope[KEY] = self._tokens.visitor(scope)
        # A token comes with the page itself: whoever has one has opened it.
        opens = scope["path"] == "/" and not visitor.browser

        async def answer(message: Message) -> None:
            if message["type"] == "http.response.start" and opens:
                MutableHeaders(scope=message).append("Set-Cookie", self._tokens.cookie(scope))
            await send(message)

        await self._app(scope, receive, answer)


class GuardedApp(App):
    """Gradio's web app behind the door. Its own middleware list would lie behind Gradio's."""

    def __init__(self, hosted: bool = False) -> None:
        """Makes the app.

        Args:
            hosted: Whether the page is shown inside a frame of another host's page.
        """
        self._tokens = Tokens(hosted)
        super().__init__(default_response_class=ORJSONResponse)

    def build_middleware_stack(self) -> ASGIApp:
        """Returns the whole app, the door outermost."""
        return Door(FileRoutes(super().build_middleware_stack()), self._tokens)
