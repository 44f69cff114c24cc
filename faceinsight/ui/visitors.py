"""Who a visitor is: a browser by a token that the server made for it, a program by its address."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import secrets
from collections.abc import MutableMapping
from dataclasses import dataclass
from typing import Any

from starlette.datastructures import Headers
from starlette.requests import cookie_parser

Scope = MutableMapping[str, Any]

TOKEN_BYTES = 16
# Where the door leaves the visitor in a request's scope.
KEY = "faceinsight.visitor"


@dataclass(frozen=True, slots=True)
class Visitor:
    """Who sent a request.

    Attributes:
        id: 32 hexadecimal digits; made of the token or the address, neither of which can be had back from
            it, so it may be part of a file's path.
        browser: Whether it is known by a token; else it is a program, or a browser that sends no cookies,
            and shares its id with all others at its address.
        address: The id of its address, by which those are counted together who may be one.
    """

    id: str
    browser: bool
    address: str = ""


class Tokens:
    """Makes and knows the tokens of one run of the app, and keeps none of them."""

    def __init__(self, hosted: bool = False, path: str = "/") -> None:
        """Begins with a secret of its own: no token of an earlier run is known.

        Args:
            hosted: Whether the page is shown inside a frame of another host's page, where a browser takes
                cookies only with `SameSite=None; Secure; Partitioned`.
            path: Where browsers send the cookie; other paths of the host may be other programs'.
        """
        self._secret = secrets.token_bytes(32)
        self._hosted = hosted
        self._path = path

    def new(self) -> str:
        """Returns a token of 128 random bits, signed."""
        token = secrets.token_hex(TOKEN_BYTES)
        return f"{token}.{self._sign(token)}"

    def knows(self, token: str) -> bool:
        """Says whether a token is one of `new`."""
        body, _, signature = token.partition(".")
        return hmac.compare_digest(signature.encode(errors="replace"), self._sign(body).encode())

    def visitor(self, scope: Scope) -> Visitor:
        """Returns who sent a request.

        Args:
            scope: The request's ASGI scope.
        """
        address = _id_of("address", address_of(scope))
        for name, value in Headers(scope=scope).items():
            if name == "cookie" and self.knows(token := cookie_parser(value).get(self.cookie_name(scope), "")):
                return Visitor(self.id_of(token), browser=True, address=address)
        return Visitor(address, browser=False, address=address)

    def cookie_name(self, scope: Scope) -> str:
        """Returns the cookie's name: a host's ports share their cookies, and each may serve a page."""
        return f"faceinsight-{(scope.get('server') or ('', 0))[1] or 0}"

    def id_of(self, token: str) -> str:
        """Returns the id of the visitor with a token."""
        return _id_of("token", token)

    def cookie(self, scope: Scope, token: str | None = None) -> str:
        """Returns the value of a Set-Cookie header with a token, a new one where None."""
        return cookie(scope, self.cookie_name(scope), token or self.new(), self._path, self._hosted)

    def _sign(self, token: str) -> str:
        return hmac.digest(self._secret, token.encode(errors="replace"), "sha256").hex()


def cookie(scope: Scope, name: str, value: str, path: str, hosted: bool) -> str:
    """Returns the value of a Set-Cookie header for a cookie that no script reads.

    Args:
        scope: The ASGI scope of the request that is answered.
        name: Its name.
        value: Its value.
        path: Where browsers send it.
        hosted: As of `Tokens`.
    """
    if hosted:
        rules = "SameSite=None; Secure; Partitioned"
    else:
        rules = "SameSite=Lax" + ("; Secure" if scope.get("scheme") == "https" else "")
    return f"{name}={value}; Path={path}; HttpOnly; {rules}"


def visitor_of(request: Any) -> Visitor:
    """Returns who sent a request that came through the door.

    Args:
        request: An ASGI scope, a request of Starlette's or FastAPI's, or one of Gradio's, also while its
            event is worked on.
    """
    # Gradio's request wraps FastAPI's, which is a mapping over its scope.
    visitor: Visitor = getattr(request, "request", request)[KEY]
    return visitor


def address_of(scope: Scope) -> str:
    """Returns the address that a request came from; of IPv6, the part that a provider gives to one household."""
    host = (scope.get("client") or ("",))[0]
    try:
        address = ipaddress.ip_address(host)
    except ValueError:
        return str(host)
    return str(ipaddress.ip_network((address, 64), strict=False)) if address.version == 6 else str(address)


def _id_of(kind: str, value: str) -> str:
    return hashlib.sha256(f"{kind} {value}".encode()).hexdigest()[:32]
