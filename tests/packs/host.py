"""A download host on this machine that misbehaves on purpose, over real HTTP."""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

PAGE = b"<!doctype html><title>Log in</title>" + b"<p>Welcome to the hotel's network</p>" * 100
# What one request may get instead of its answer.
FAULTS = (
    *("ignores ranges", "wrong range", "impossible range", "no range said", "more than the range"),
    *("cut", "cut at once", "no answer", "stalls", "silent", "drips headers", "drips"),
    *("says less", "says more", "endless", "boasts", "ignores ranges and cuts"),
    *("wrong file", "shorter file", "web page", "web page as a file", "packed"),
    *("404", "403", "416", "429", "429 for an hour", "500", "503", "not HTTP"),
    *("circle", "to file", "to ftp", "to nowhere", "to elsewhere", "redirects with a flood", "other version"),
)
# As `Range` answers go, where they are good.
_ASKED = re.compile(r"bytes=(\d+)-(\d+)")


class Host(ThreadingHTTPServer):
    """Serves `files` by path.

    Attributes:
        always: The fault of every answer; "" for none.
        plan: Faults of the next answers, before `always`; "" for none.
        files: What there is: bytes, or a file on disk.
        sent: How many bytes of bodies went out.
        open: How many requests are being answered.
        requests: (path, Range, User-Agent) of every request.
        pause_s: Seconds between two pieces of a body.
        piece: Bytes of a piece.
    """

    daemon_threads = True
    request_queue_size = 32

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.open = 0
        self.files: dict[str, bytes | Path] = {}
        self.reset()

    def reset(self) -> None:
        self.always, self.plan, self.sent, self.pause_s, self.piece = "", [], 0, 0.0, 1 << 16
        self.requests: list[tuple[str, str, str]] = []
        self.files.clear()
        self.closing = threading.Event()

    def url(self, path: str = "") -> str:
        return f"http://127.0.0.1:{self.server_port}{path}"

    def handle_error(self, *args: object) -> None:
        """Says nothing: clients go away."""


@contextmanager
def hosting() -> Iterator[Host]:
    """Runs a host."""
    with Host() as host:
        thread = threading.Thread(target=host.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        thread.start()
        try:
            yield host
        finally:
            host.closing.set()
            host.shutdown()
            thread.join()


class _Handler(BaseHTTPRequestHandler):
    server: Host
    protocol_version = "HTTP/1.1"

    def do_GET(self) -> None:
        host = self.server
        host.open += 1
        host.requests.append((self.path, self.headers.get("Range", ""), self.headers.get("User-Agent", "")))
        fault = host.plan.pop(0) if host.plan else host.always
        try:
            self._answer(fault)
        except OSError:  # whoever asked has gone
            self.close_connection = True
        finally:
            host.open -= 1

    def _answer(self, fault: str) -> None:
        if fault in ("no answer", "not HTTP", "silent", "drips headers"):
            self._say_nothing(fault)
            return
        if fault[:3].isdecimal():
            headers = {"429": {"Retry-After": "0"}, "429 for an hour": {"Retry-After": "3600"}}.get(fault, {})
            self._send(int(fault[:3]), headers, b"no")
            return
        if fault.startswith(("circle", "to ", "redirects")):
            self._redirect(fault)
            return
        if fault.startswith("web page"):
            self._send(200, {"Content-Type": "text/html; charset=utf-8"} if fault == "web page" else {}, PAGE)
            return
        # As proxies are asked: with the whole address.
        content = self.server.files.get(re.sub(r"^http://[^/]+", "", self.path).removeprefix("/elsewhere"))
        if content is None:
            self._send(404, {}, b"no")
            return
        self._send_file(content if isinstance(content, bytes) else content.read_bytes(), fault)

    def _send_file(self, content: bytes, fault: str) -> None:
        if fault in ("wrong file", "shorter file"):
            content = bytes(255 - byte for byte in content[: 5000 if fault == "shorter file" else None])
        asked = _ASKED.fullmatch(self.headers.get("Range", ""))
        start, stop = (int(asked[1]), int(asked[2]) + 1) if asked else (0, len(content))
        etag = f'"{len(content)}-{len(self.server.requests) if fault == "other version" else 0}"'
        whole = not asked or fault.startswith("ignores ranges")
        condition = self.headers.get("If-Range", etag)
        if whole or condition != etag or start >= len(content):
            start, stop, whole = 0, len(content), True
        if fault == "wrong range":
            start, stop = start + 1, stop + 1
        body = content[start:stop]
        headers = {"ETag": etag}
        if not whole:
            end = {"impossible range": start - 1, "more than the range": stop + 999}.get(fault, stop - 1)
            headers["Content-Range"] = f"bytes {start}-{end}/{len(content)}"
        if fault == "no range said":
            headers.pop("Content-Range", None)
        if fault == "more than the range":
            body = content[start : stop + 1000]
        if fault == "packed":
            headers["Content-Encoding"] = "gzip"
        self._send(200 if whole else 206, headers, body, fault)

    def _send(self, status: int, headers: dict[str, str], body: bytes, fault: str = "") -> None:
        length = {"says less": len(body) // 2, "says more": len(body) + 1000, "boasts": 10**12}.get(fault, len(body))
        if fault in ("says more", "boasts") or "cut" in fault or fault in ("stalls", "drips", "endless"):
            self.close_connection = True
        self.send_response(status)
        for name, value in headers.items():
            self.send_header(name, value)
        if fault != "endless":
            self.send_header("Content-Length", str(length))
        self.end_headers()
        if fault in ("endless", "boasts"):
            self._flood()
            return
        rest = body[len(body) // 2 :]
        if "cut" in fault or fault in ("stalls", "drips"):
            body = b"" if fault == "cut at once" else body[: len(body) // 2]
        self._write(body[:length])
        while fault == "stalls" and not self.server.closing.wait(0.05):
            pass
        if fault == "drips":
            for byte in rest:
                time.sleep(0.02)
                self._write(bytes([byte]))

    def _write(self, body: bytes) -> None:
        piece = self.server.piece
        for start in range(0, len(body), piece):
            if self.server.pause_s:
                time.sleep(self.server.pause_s)
            self.wfile.write(body[start : start + piece])
            self.server.sent += len(body[start : start + piece])

    def _flood(self) -> None:
        """Sends 400 MB, or as much of it as anybody reads."""
        self.close_connection = True
        for _ in range(400):
            self._write(bytes(1_000_000))

    def _say_nothing(self, fault: str) -> None:
        self.close_connection = True
        if fault == "not HTTP":
            self.wfile.write(b"220 ready for you\r\n\r\n")
        if fault == "drips headers":
            self.wfile.write(b"HTTP/1.1 200 OK\r\nX-Slow: ")
            for _ in range(1000):
                time.sleep(0.02)
                self.wfile.write(b"x")
        while fault == "silent" and not self.server.closing.wait(0.05):
            pass

    def _redirect(self, fault: str) -> None:
        targets = {
            "circle": self.path,
            "to file": "file:///etc/hostname",
            "to ftp": "ftp://127.0.0.1/model.onnx",
            "to nowhere": "http://127.0.0.1:9/model.onnx",
        }
        elsewhere = f"/elsewhere{self.path.removeprefix('/elsewhere')}"
        if self.path.startswith("/elsewhere") and fault in ("to elsewhere", "redirects with a flood"):
            self._answer("")
            return
        self.send_response(302)
        self.send_header("Location", targets.get(fault, elsewhere))
        if fault == "redirects with a flood":
            self.end_headers()
            self._flood()
            return
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *args: object) -> None:
        """Says nothing."""
