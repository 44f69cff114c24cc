"""One of several processes that serve the page: what `workers.py` starts."""

from __future__ import annotations

import contextlib
import os
import pickle
import socket
import sys
from typing import NoReturn

from faceinsight.errors import FaceInsightError
from faceinsight.logs import set_up
from faceinsight.stopping import stoppable
from faceinsight.ui.behind import Behind, Job
from faceinsight.ui.serve import serve


def main() -> NoReturn:
    """Serves the page for the process that started this one, until that has no more use for it, or is dead."""
    # It reads one line; whatever is printed joins the messages.
    out = os.fdopen(os.dup(1), "w", encoding="utf-8")
    os.dup2(2, 1)
    job: Job = pickle.load(sys.stdin.buffer)  # of the process that started this one
    set_up(job.options.log_format, job.debug)
    behind = Behind(_free_port(), job.secret, out)
    status = 0
    try:
        with stoppable() as asked, contextlib.suppress(KeyboardInterrupt):
            serve(job.options, asked, behind)
    except FaceInsightError as error:
        if job.debug:
            raise
        behind.complain(str(error))
        status = 1
    sys.stdout.flush()
    sys.stderr.flush()
    # Threads that analyse a clip would be waited for.
    os._exit(status)


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
