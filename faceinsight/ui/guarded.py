"""Gradio's web app behind the door, its sessions guarded."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable

from fastapi import Depends, HTTPException, Request
from gradio.routes import App, ORJSONResponse

from faceinsight.errors import MediaError
from faceinsight.ui.door import ASGIApp, Door
from faceinsight.ui.file_routes import FileRoutes
from faceinsight.ui.files import store
from faceinsight.ui.limits import Limits
from faceinsight.ui.presence import Presence
from faceinsight.ui.rates import AT, AtOnce, Rate
from faceinsight.ui.sessions import Sessions, json_of
from faceinsight.ui.visitors import Tokens, visitor_of


class GuardedApp(App):
    """Gradio's web app, which the door lets in only what it should answer.

    The door is outermost: a middleware in FastAPI's list would come after Gradio's own, which answers other
    hosts' pages.
    """

    def __init__(
        self, limits: Limits, frames: tuple[str, ...], on_forget: Callable[[str], None], root_path: str = ""
    ) -> None:
        """Makes the app.

        Args:
            limits: How much a visitor may have.
            frames: Other hosts whose pages may show the page in a frame, as `https://example.org`.
            on_forget: Called with a session that is over.
            root_path: The path under which a server before this one shows the page.
        """
        self._limits = limits
        self._frames = frames
        self._visitor_tokens = Tokens(hosted=bool(frames), path=root_path or "/")
        self._going_on = AtOnce()
        # Wrong ones of an address, wherever it tries them.
        self.passwords = Rate(1 / limits.password_s, limits.passwords)
        self.presence = Presence(
            limits.max_visitors, lambda visitor: self._going_on["stream", visitor] > 0, limits.address_visitors
        )
        # What stands behind the door and before Gradio, the last one outermost.
        self.inside: list[Callable[[ASGIApp], ASGIApp]] = [FileRoutes]
        # And what stands before the door.
        self.outside: list[Callable[[ASGIApp], ASGIApp]] = []
        self.sessions = Sessions(self, limits, on_forget)
        super().__init__(default_response_class=ORJSONResponse, dependencies=[Depends(_guard)])

    def build_middleware_stack(self) -> ASGIApp:
        """Returns the whole app, the door outermost."""
        inside: ASGIApp = super().build_middleware_stack()
        for wrap in self.inside:
            inside = wrap(inside)
        door: ASGIApp = Door(
            inside, self._visitor_tokens, self._limits, self._frames, self._going_on, self.presence, self.passwords
        )
        for wrap in self.outside:
            door = wrap(door)
        return door

    def check_login(self, request: Request) -> None:
        """Refuses who has not logged in what only some of Gradio's routes refuse.

        Raises:
            HTTPException: 401.
        """
        names = (f"access-token-{self.cookie_id}", f"access-token-unsecure-{self.cookie_id}")
        if self.auth is None or request.scope["faceinsight.route"].public:
            return
        if not any(request.cookies.get(name) in self.tokens for name in names):
            raise HTTPException(401, "Log in first.")

    def check_jobs(self, request: Request) -> None:
        """Refuses a job too many.

        Raises:
            HTTPException: 429 if the visitor has too many, 503 if all have.
        """
        if request.scope["faceinsight.route"].name != "join":
            return
        queue, visitor = self.get_blocks()._queue, visitor_of(request)
        askers = [visitor_of(event.request) for event in queue.event_ids_to_events.values()]
        # Those that are on their way into the queue, this one among them, count too.
        mine = sum(asker.id == visitor.id for asker in askers) + self._going_on["join", visitor.id] - 1
        most = self._limits.share(self._limits.jobs, visitor.browser)
        if mine >= most:
            raise HTTPException(429, f"You have {most:g} jobs at once already: wait for one of them to end.")
        near = sum(asker.address == visitor.address for asker in askers) + self._going_on["join", AT, visitor.address]
        if near > (most := self._limits.address_jobs):
            raise HTTPException(429, f"Your address has {most} jobs at once already: wait for one of them to end.")
        if len(queue) + self._going_on["join"] > self._limits.queue:
            raise HTTPException(503, f"{len(queue)} jobs are waiting already: try again in a moment.")

    async def check_files(self, request: Request) -> None:
        """Lets functions of components, which get what came as it came, see no file but those of their visitor.

        Raises:
            HTTPException: 400 if there are others.
        """
        if request.scope["faceinsight.route"].name != "frame" or not isinstance(body := await json_of(request), dict):
            return
        try:
            body["data"], _ = store().admit(body.get("data"), visitor_of(request))
        except MediaError as error:
            raise HTTPException(400, str(error)) from error


async def _guard(request: Request) -> AsyncIterator[None]:
    app: GuardedApp = request.app
    app.check_login(request)
    app.check_jobs(request)
    async with app.sessions.checked(request):
        await app.check_files(request)
        yield
