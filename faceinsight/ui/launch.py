"""Serves the page until it is stopped, in a folder of its own that is removed then."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import socket
import threading
import time
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import gradio as gr

from faceinsight.errors import FaceInsightError
from faceinsight.logs import JSON, event
from faceinsight.packs import AUTO
from faceinsight.resources import asset
from faceinsight.stopping import stoppable
from faceinsight.ui import metrics
from faceinsight.ui.demo import build_demo
from faceinsight.ui.door import ASGIApp
from faceinsight.ui.engine import Engine
from faceinsight.ui.examples import CLIP, example_pictures, write_example_clip
from faceinsight.ui.files import FileStore, store
from faceinsight.ui.guarded import GuardedApp
from faceinsight.ui.janitor import Janitor, run_files
from faceinsight.ui.limits import Limits
from faceinsight.ui.live import Visitors
from faceinsight.ui.managing import Managers
from faceinsight.ui.rates import Rate
from faceinsight.ui.room import bytes_in
from faceinsight.ui.scripts import scripts_folder
from faceinsight.ui.status_routes import StatusRoutes
from faceinsight.ui.theme import build_theme

log = logging.getLogger(__name__)

HOST = "127.0.0.1"
PORT = 7860
# How long answers under way are waited for in the end.
CLOSE_S = 0.5
# The page says nothing itself about a login that is put off.
WAIT_HINT = "After several wrong passwords, wait ten seconds before another try."


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
        limits: How much a visitor may have.
        frames: Other hosts whose pages may show this one in a frame, as "https://example.org".
    """

    host: str = HOST
    port: int = PORT
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
    limits: Limits = Limits()
    frames: tuple[str, ...] = ()


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
        LaunchError: If the port cannot be used.
        ProviderError: If what should run the models is not here, or does not start.
    """
    check_port(options.host, options.port)
    with stoppable(), contextlib.suppress(KeyboardInterrupt):
        _serve(options)


def _serve(options: LaunchOptions) -> None:
    # Uploads and results live and die with these.
    with run_files(options.limits) as files, Janitor(files).at_work():
        # Where matplotlib is installed, Gradio asks it at the first event what it draws on, and all visitors would wait
        # while it finds out.
        os.environ.setdefault("MPLBACKEND", "agg")
        # The web server reads it.
        os.environ["FORWARDED_ALLOW_IPS"] = options.trusted_proxies
        engine = Engine(options.pack, options.models, options.provider)
        problem = engine.problem()
        visitors = Visitors(engine, options.limits)
        managers = Managers.of(
            options.allow_fetch, options.host, options.share, options.auth is not None, options.root_path
        )
        demo = build_demo(engine, visitors, managers)
        app = GuardedApp(options.limits, options.frames, visitors.forget, options.root_path)
        if options.mcp:
            app.inside.append(mcp_routes(demo, options, app.passwords))
        app.inside.append(lambda inside: StatusRoutes(inside, options.metrics_token, lambda: engine.problem() is None))
        watch(app, visitors, files)
        start(demo, options, app)
        engine.reader.prepare()
        # Beside the page, which need not wait for it.
        threading.Thread(target=write_example_clip, args=(store().page / CLIP,), daemon=True).start()
        _announce(demo, options, engine, problem)
        try:
            while True:
                time.sleep(60)
        finally:
            # Gradio waits for answers under way, up to seconds each; the visitors' files are to go in time.
            closing = threading.Thread(target=demo.close, kwargs={"verbose": False}, daemon=True)
            closing.start()
            closing.join(CLOSE_S)


def _announce(demo: gr.Blocks, options: LaunchOptions, engine: Engine, problem: str | None) -> None:
    """Says where the page is, and what is to be known about it."""
    if options.log_format == JSON:
        analyzer = None if problem is not None else engine.analyzer()
        runs = {"pack": analyzer.pack.name, "provider": analyzer.providers[0]} if analyzer else {"problem": "no models"}
        event(log, "started", host=options.host, port=options.port, shared=bool(demo.share_url), **runs)
        return
    lines = [f"FaceInsight is at {demo.local_url.rstrip('/')}"]
    if problem is None:
        lines.append(engine.status().replace("**", "").replace("  \n", "\n"))
    else:
        lines.append(f"It cannot analyse faces yet. {problem}")
    if options.mcp:
        lines.append(f"MCP clients find its tools at {demo.local_url.rstrip('/')}/gradio_api/mcp/")
    if demo.share_url:
        lines.append(f"For one week also at {demo.share_url}")
    elif options.share:
        lines.append(
            "There is no share link: Gradio's tunnel helper could not be downloaded or could not connect. The page is "
            "served on this machine only."
        )
    print(*lines, "Press Ctrl+C to stop.", sep="\n", flush=True)


def mcp_routes(demo: gr.Blocks, options: LaunchOptions, passwords: Rate) -> Callable[[ASGIApp], ASGIApp]:
    """Returns what answers MCP clients.

    Raises:
        LaunchError: If its library is not installed.
    """
    try:
        from faceinsight.ui.mcp_routes import McpRoutes
    except ModuleNotFoundError as error:
        raise LaunchError(
            "--mcp needs the package mcp, which is not here: run `uv sync --inexact --extra mcp` or `pip install mcp`."
        ) from error
    return lambda inside: McpRoutes(inside, demo, options.limits, options.auth, passwords)


def watch(app: GuardedApp, visitors: Visitors, files: FileStore) -> None:
    """Has /metrics tell how many people and files there are."""
    metrics.watch("visitors", "Browsers that have the page open.", lambda: len(app.presence))
    for name, about in (
        ("places", "Places at the camera."),
        ("places_taken", "Places at the camera that are taken."),
        ("places_line", "Visitors who wait for a place at the camera."),
    ):
        metrics.watch(name, about, functools.partial(lambda key: visitors.places()[key], name))
    metrics.watch("disk_bytes", "What files of visitors take on the disk.", lambda: bytes_in(files.visitors))
    metrics.watch("queue_jobs", "Jobs that wait.", lambda: len(app.get_blocks()._queue))
    logging.getLogger().addHandler(metrics.CountErrors(logging.ERROR))


def start(demo: gr.Blocks, options: LaunchOptions, app: GuardedApp) -> None:
    """Starts the server and returns while it runs.

    Args:
        demo: The page.
        options: How to serve it.
        app: The web app that is to serve it.
    """
    # In the head, as Gradio would rewrite the selectors of its `css`.
    style = asset("style.css").read_text(encoding="utf-8")
    # Gradio says at length that there is no share link; we say so in a sentence.
    hush = contextlib.redirect_stdout(io.StringIO()) if options.share else contextlib.nullcontext()
    with hush, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limits = options.limits
        demo.queue(default_concurrency_limit=4, api_open=False, max_size=limits.queue).launch(
            server_name=options.host,
            server_port=options.port,
            root_path=options.root_path,
            share=options.share,
            auth=options.auth,
            auth_message=WAIT_HINT,
            max_file_size=f"{limits.upload_mb}mb",
            theme=build_theme(),
            head=f"<style>{style}</style>",
            allowed_paths=[str(scripts_folder()), *map(str, example_pictures())],
            footer_links=["api"],
            run_history=False,
            enable_monitoring=False,
            ssr_mode=False,
            pwa=False,
            quiet=True,
            show_error=True,
            # Each page with its camera on takes one of these for its status line.
            max_threads=limits.open_streams,
            prevent_thread_lock=True,
            inbrowser=False,
            _app=app,
        )
