"""Logs: for people, or an object a line for programs; never with a face, a file's name or an address in them."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime
from typing import Any

JSON = "json"
OURS = "faceinsight"
# Where a record carries what is to be logged beside its message.
FIELDS = "faceinsight_fields"


class JsonFormatter(logging.Formatter):
    """Writes an object a line: time, level, logger, event, and the fields that `event` was given.

    A message's arguments, an error's text and what libraries say may name files of visitors, so they are left out: an
    error is known by its kind and the line that met it.
    """

    def format(self, record: logging.LogRecord) -> str:
        """Returns the line of a record."""
        line: dict[str, Any] = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "event": record.msg if is_ours(record) else "a library's message",
        }
        line |= getattr(record, FIELDS, {})
        errors = [thing for thing in (*_arguments(record), (record.exc_info or (None, None))[1]) if is_error(thing)]
        if errors:
            line["error"] = type(errors[0]).__name__
        if record.levelno >= logging.WARNING:
            line["where"] = f"{record.module}:{record.lineno}"
        return json.dumps(line)


def is_ours(record: logging.LogRecord) -> bool:
    """Says whether a record is of FaceInsight's own code, whose messages are constants."""
    return isinstance(record.msg, str) and (record.name == OURS or record.name.startswith(f"{OURS}."))


def is_error(thing: Any) -> bool:
    """Says whether something is an exception."""
    return isinstance(thing, BaseException)


def _arguments(record: logging.LogRecord) -> tuple[Any, ...]:
    return record.args if isinstance(record.args, tuple) else ()


def set_up(log_format: str = "text", debug: bool = False) -> None:
    """Has logs written to standard error.

    Args:
        log_format: "text", where only errors are told, or "json", where events are too.
        debug: Whether all is told, tracebacks among it.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(JsonFormatter() if log_format == JSON else logging.Formatter("%(levelname)s: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])
    logging.captureWarnings(log_format == JSON)
    level = logging.DEBUG if debug else logging.INFO if log_format == JSON else logging.ERROR
    logging.getLogger(OURS).setLevel(level)
    if log_format == JSON:
        # uvicorn gives its loggers a handler of their own.
        logging.getLogger("uvicorn.error").addFilter(_to_ours)
    elif not debug:
        logging.getLogger("uvicorn.error").addFilter(_without_traceback)


def event(log: logging.Logger, name: str, **fields: Any) -> None:
    """Logs that something happened.

    Args:
        log: Who says it.
        name: What happened, a constant.
        fields: Plain values about it: nothing that a visitor sent.
    """
    log.info(name, extra={FIELDS: fields})


def _to_ours(record: logging.LogRecord) -> bool:
    """Has a record written as all others are, and by nobody else."""
    logging.getLogger().handle(record)
    return False


def _without_traceback(record: logging.LogRecord) -> bool:
    """Makes one line of what a web server says of a request that it could not answer."""
    if record.exc_info and record.exc_info[1] is not None:
        record.msg, record.args = "A request failed (%s); --debug shows where.", (repr(record.exc_info[1]),)
        record.exc_info = record.exc_text = None
    return True
