"""Who may download and remove model packs from the page: whoever runs it, and no stranger."""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from urllib.parse import urlsplit

from starlette.requests import Request

# What a server before this one adds to a request.
_FORWARDED = ("forwarded", "via", "x-forwarded-for", "x-forwarded-host", "x-forwarded-proto", "x-real-ip")


def is_loopback(host: str) -> bool:
    """Says whether a host's name or address is this machine's own."""
    try:
        return ipaddress.ip_address(host.strip("[]")).is_loopback
    except ValueError:
        return host.lower() == "localhost"


@dataclass(frozen=True, slots=True)
class Managers:
    """Those who may.

    Attributes:
        everybody: Whether all visitors may, as whoever serves the page has said, or because they have logged in.
        on_this_machine: Else, whether those may whose browser is on the same machine.
    """

    everybody: bool
    on_this_machine: bool

    @classmethod
    def of(cls, allowed: bool | None, host: str, share: bool, auth: bool, root_path: str) -> Managers:
        """Returns who may, by the way the page is served.

        Args:
            allowed: What whoever serves it says; None for nothing.
            host: The address that it listens on.
            share: Whether there is a public link.
            auth: Whether visitors log in.
            root_path: The path under which a server before this one shows it.
        """
        if allowed is not None:
            return cls(allowed, False)
        return cls(auth, is_loopback(host) and not share and not root_path)

    def include(self, request: Request) -> bool:
        """Says whether who sent a request is one of them.

        A request through a server before this one is nobody's on this machine, although it comes from there. One that
        hides itself cannot be told from them: there, the option `--no-allow-fetch` is to be given.
        """
        if self.everybody or not self.on_this_machine:
            return self.everybody
        headers = request.headers
        if any(name in headers for name in _FORWARDED):
            return False
        names = [urlsplit(f"//{headers.get('host', '')}").hostname, request.client and request.client.host]
        names += [urlsplit(headers[name]).hostname for name in ("referer", "origin") if name in headers]
        return all(is_loopback(name or "") for name in names)
