"""How the page is served: what can be chosen, and what is said when it is there."""

from __future__ import annotations

import contextlib
import logging
import os
import socket
from dataclasses import dataclass

from faceinsight.errors import FaceInsightError
from faceinsight.logs import JSON, event
from faceinsight.options import AUTO
from faceinsight.stopping import stoppable
from faceinsight.ui.limits import Limits

log = logging.getLogger(__name__)


class LaunchError(FaceInsightError):
    """The page cannot be served."""


@dataclass(frozen=True, slots=True)
class LaunchOptions:
    """How to serve the page.

    Attributes:
        host: The address to listen on; "0.0.0.0" for every network of this machine.
        port: The port to listen on.
        share: Whether to ask Gradio for a public link.
        auth: (user, password) that visitors must give, or None.
        pack: The model pack that visitors find chosen.
        models: A folder to look for model files in before all others.
        provider: What runs the models, as of `FaceAnalyzer`.
        root_path: The path under which a server before this one shows the page, as "/faces".
        trusted_proxies: Addresses of servers before this one that say who the visitors are, with commas between.
        allow_fetch: Whether visitors may download and remove model packs; where None, those who have logged in, and
            those on this machine.
        metrics_token: What whoever reads /metrics has to send; None for nobody.
        log_format: "text" or "json".
        mcp: Whether MCP clients may call the endpoints.
        workers: How many processes serve the page, behind one port.
        limits: How much a visitor may have.
        frames: Other hosts whose pages may show this one in a frame, as "https://example.org".
    """

    host: str = "127.0.0.1"
    port: int = 7860
    share: bool = False
    auth: tuple[str, str] | None = None
    pack: str = AUTO
    models: str | None = None
    provider: str = "auto"
    root_path: str = ""
    trusted_proxies: str = "127.0.0.1"
    allow_fetch: bool | None = None
    metrics_token: str | None = None
    log_format: str = "text"
    mcp: bool = False
    workers: int = 1
    limits: Limits = Limits()
    frames: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Started:
    """What is known of a page that is there.

    Attributes:
        pack: The model pack that visitors find chosen; None where faces cannot be analysed.
        provider: What runs its models.
        status: Lines about both, or a sentence that says why faces cannot be analysed.
        share_url: The public link, or None.
    """

    pack: str | None
    provider: str | None
    status: str
    share_url: str | None = None


def check_port(host: str, port: int) -> None:
    """Raises LaunchError where a port cannot be listened on."""
    if not 0 < port < 65536:
        raise LaunchError(f"There is no port {port}: choose one from 1 to 65535 with --port.")
    try:
        family, kind, protocol, _, address = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0]
        with socket.socket(family, kind, protocol) as probe:
            if os.name == "posix":
                # As the server does: a port is not in use because of a connection that has ended.
                probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind(address)
    except OSError as error:
        raise LaunchError(
            f"Port {port} of {host} cannot be used ({(error.strerror or str(error)).lower()}): "
            "stop the program that uses it, or choose another with --port."
        ) from error


def launch(options: LaunchOptions = LaunchOptions()) -> None:
    """Serves the page until Ctrl+C or a termination signal.

    Args:
        options: How to serve it.

    Raises:
        LaunchError: If the port cannot be used, or what is asked for does not go together.
        ProviderError: If what should run the models is not here, or does not start.
    """
    check_port(options.host, options.port)
    with stoppable() as asked, contextlib.suppress(KeyboardInterrupt):
        # Gradio takes seconds to import, and what stands before workers does without it.
        if options.workers > 1:
            from faceinsight.ui.workers import serve_by_workers

            serve_by_workers(options, asked)
        else:
            from faceinsight.ui.serve import serve

            serve(options, asked)


def announce(options: LaunchOptions, started: Started) -> None:
    """Says where the page is, and what is to be known about it."""
    several = {"workers": options.workers} if options.workers > 1 else {}
    if options.log_format == JSON:
        runs = {"pack": started.pack, "provider": started.provider} if started.pack else {"problem": "no models"}
        event(log, "started", host=options.host, port=options.port, shared=bool(started.share_url), **runs, **several)
        return
    url = f"http://{'localhost' if options.host == '0.0.0.0' else options.host}:{options.port}"
    lines = [f"FaceInsight is at {url}", started.status]
    if several:
        lines.append(f"{options.workers} workers")
    if options.mcp:
        lines.append(f"MCP clients find its tools at {url}/gradio_api/mcp/")
    if started.share_url:
        lines.append(f"For one week also at {started.share_url}")
    elif options.share:
        lines.append(
            "There is no share link: Gradio's tunnel helper could not be downloaded or could not connect. The page is "
            "served on this machine only."
        )
    print(*lines, "Press Ctrl+C to stop.", sep="\n", flush=True)
