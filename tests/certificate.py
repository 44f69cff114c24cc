"""A certificate of one's own, for servers that are spoken to by https."""

from __future__ import annotations

import shutil
import socketserver
import ssl
import subprocess
from pathlib import Path

import pytest

_COMMAND = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=localhost -addext"


def safe_socket(server: socketserver.TCPServer, folder: Path) -> Path:
    """Has a server on 127.0.0.1 speak https; returns the certificate to trust."""
    key, certificate = folder / "key.pem", folder / "certificate.pem"
    if shutil.which("openssl") is None:
        pytest.skip("openssl is not installed")
    subprocess.run(
        [*_COMMAND.split(), "subjectAltName=IP:127.0.0.1", "-keyout", key, "-out", certificate],
        check=True,
        capture_output=True,
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate, key)
    server.socket = context.wrap_socket(server.socket, server_side=True)
    return certificate
