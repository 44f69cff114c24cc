"""What a worker knows of the process before it, which hears visitors first and says who they are."""

from __future__ import annotations

import hmac
import json
import sys
from dataclasses import asdict, dataclass
from http import HTTPStatus
from typing import TextIO

from starlette.responses import JSONResponse

from faceinsight.ui.door import ASGIApp, Receive, Send
from faceinsight.ui.launching import LaunchOptions, Started
from faceinsight.ui.visitors import Scope

HEADER = b"x-faceinsight-before"


@dataclass(frozen=True, slots=True)
class Job:
    """What a worker is started for.

    Attributes:
        options: How to serve the page: what the process before it was told, with this worker's part of the limits.
        secret: What only the process before it knows.
        debug: Whether tracebacks are shown.
    """

    options: LaunchOptions
    secret: str
    debug: bool


def word(secret: str, scope: Scope) -> bytes:
    """Returns the value of HEADER that says how a request reached the process before the workers."""
    return f"{secret}{json.dumps([scope.get('client'), scope.get('server'), scope.get('scheme')])}".encode()


class Behind:
    """A worker's ties to the process before it."""

    def __init__(self, port: int, secret: str, out: TextIO) -> None:
        """Begins before the page is there.

        Args:
            port: The port to listen on, which nobody but the process before is answered at.
            secret: What that process proves itself by.
            out: Where it reads what it is told.
        """
        self.address = ("127.0.0.1", port)
        self._secret = secret.encode()
        self._out = out
        self._told = False

    def tell(self, started: Started) -> None:
        """Tells that the page is there."""
        self._told = True
        self._say({"port": self.address[1], "started": asdict(started)})

    def complain(self, sentence: str) -> None:
        """Tells why the page cannot be."""
        self._say({"problem": sentence})

    def _say(self, message: object) -> None:
        self._out.write(f"{json.dumps(message)}\n")
        self._out.close()

    def wait(self) -> None:
        """Waits until the page is no longer wanted, or the process before is dead, however it died."""
        sys.stdin.buffer.read()

    def stand_before(self, app: ASGIApp) -> ASGIApp:
        """Returns an app that sees requests as the process before saw them, and answers nobody else.

        So nothing is decided by where the worker listens, and nobody on this machine can say that they are elsewhere.
        """

        async def handle(scope: Scope, receive: Receive, send: Send) -> None:
            if scope["type"] == "http":
                said = next((value for name, value in scope["headers"] if name == HEADER), b"")
                scope["headers"] = [header for header in scope["headers"] if header[0] != HEADER]
                size = len(self._secret)
                if hmac.compare_digest(said[:size], self._secret):
                    client, server, scope["scheme"] = json.loads(said[size:])
                    scope["client"], scope["server"] = client and tuple(client), server and tuple(server)
                elif self._told:
                    # Before, Gradio asks itself whether it is there.
                    refused = JSONResponse({"detail": "There is nothing at this address."}, HTTPStatus.NOT_FOUND)
                    await refused(scope, receive, send)
                    return
            await app(scope, receive, send)

        return handle
