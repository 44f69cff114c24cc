"""Serves the page until it is stopped, in a folder of its own that is removed then."""

from __future__ import annotations

import contextlib
import functools
import io
import logging
import os
import threading
import warnings
from collections.abc import Callable

import gradio as gr

from faceinsight.resources import asset
from faceinsight.ui import metrics
from faceinsight.ui.behind import Behind
from faceinsight.ui.demo import build_demo
from faceinsight.ui.door import ASGIApp
from faceinsight.ui.engine import Engine
from faceinsight.ui.examples import CLIP, example_pictures, write_example_clip
from faceinsight.ui.files import FileStore, store
from faceinsight.ui.guarded import GuardedApp
from faceinsight.ui.janitor import Janitor, run_files
from faceinsight.ui.launching import LaunchError, LaunchOptions, Started, announce
from faceinsight.ui.live import Visitors
from faceinsight.ui.managing import Managers
from faceinsight.ui.rates import Rate
from faceinsight.ui.room import bytes_in
from faceinsight.ui.scripts import scripts_folder
from faceinsight.ui.status_routes import StatusRoutes
from faceinsight.ui.theme import build_theme

# How long answers under way are waited for in the end.
CLOSE_S = 0.5
# The page says nothing itself about a login that is put off.
WAIT_HINT = "After several wrong passwords, wait ten seconds before another try."


def serve(options: LaunchOptions, asked: threading.Event, worker: Behind | None = None) -> None:
    """Serves the page until KeyboardInterrupt, or until it is no longer wanted.

    Args:
        options: How to serve it.
        asked: Tells that it is to end.
        worker: What it serves the page for, where that is one of several processes.

    Raises:
        FaceInsightError: As `launch`.
    """
    # Uploads and results live and die with these.
    with run_files(options.limits) as files, Janitor(files).at_work():
        # Where matplotlib is installed, Gradio asks it at the first event what it draws on, and all visitors would wait
        # while it finds out.
        os.environ.setdefault("MPLBACKEND", "agg")
        # The web server reads it. What stands before workers has heard those servers itself.
        os.environ["FORWARDED_ALLOW_IPS"] = "" if worker else options.trusted_proxies
        engine = Engine(options.pack, options.models, options.provider, options.workers)
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
        if worker:
            app.outside.append(worker.stand_before)
        watch(app, visitors, files)
        start(demo, options, app, worker.address if worker else (options.host, options.port))
        engine.reader.prepare()
        # Beside the page, which need not wait for it.
        threading.Thread(target=write_example_clip, args=(store().page / CLIP,), daemon=True).start()
        started = _started(demo, engine, problem)
        if worker:
            worker.tell(started)
        else:
            announce(options, started)
        try:
            if worker:
                worker.wait()
            else:
                asked.wait()
        finally:
            # Gradio waits for answers under way, up to seconds each; the visitors' files are to go in time.
            closing = threading.Thread(target=demo.close, kwargs={"verbose": False}, daemon=True)
            closing.start()
            closing.join(CLOSE_S)


def _started(demo: gr.Blocks, engine: Engine, problem: str | None) -> Started:
    if problem is not None:
        return Started(None, None, f"It cannot analyse faces yet. {problem}", demo.share_url)
    analyzer = engine.analyzer()
    status = engine.status().replace("**", "").replace("  \n", "\n")
    return Started(analyzer.pack.name, analyzer.providers[0], status, demo.share_url)


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


def start(demo: gr.Blocks, options: LaunchOptions, app: GuardedApp, address: tuple[str, int]) -> None:
    """Starts the server and returns while it runs.

    Args:
        demo: The page.
        options: How to serve it.
        app: The web app that is to serve it.
        address: The host and the port to listen on.
    """
    # In the head, as Gradio would rewrite the selectors of its `css`.
    style = asset("style.css").read_text(encoding="utf-8")
    # Gradio says at length that there is no share link; we say so in a sentence.
    hush = contextlib.redirect_stdout(io.StringIO()) if options.share else contextlib.nullcontext()
    with hush, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        limits = options.limits
        demo.queue(default_concurrency_limit=4, api_open=False, max_size=limits.queue).launch(
            server_name=address[0],
            server_port=address[1],
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
