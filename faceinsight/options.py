"""The options of the page and of the models: one table for the command line, the environment and docs/hosting.md."""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from faceinsight.errors import FaceInsightError

PREFIX = "FACEINSIGHT_"
AUTO = "auto"
PROVIDERS = (AUTO, "cpu", "cuda", "coreml", "directml", "openvino")
LOG_FORMATS = ("text", "json")
_YES = dict.fromkeys(("1", "true", "yes", "on"), True) | dict.fromkeys(("", "0", "false", "no", "off"), False)


class OptionError(FaceInsightError):
    """An environment variable is set to what makes no sense."""


@dataclass(frozen=True, slots=True)
class Option:
    """An option of the command line and the environment variable that stands for it.

    Attributes:
        flag: As on the command line, `--root-path`.
        help: What it does.
        default: Its value where nothing sets it.
        read: Makes a value of text; raises ValueError where there is none.
        takes: What values there are, as in "give a whole number".
        metavar: What stands for the value in the help.
        also: Variables of others that are heeded where ours is not set.
        secret: Whether its value must not be shown.
    """

    flag: str
    help: str
    default: Any = None
    read: Callable[[str], Any] = str
    takes: str = "text"
    metavar: str | None = None
    also: tuple[str, ...] = ()
    secret: bool = False

    @property
    def name(self) -> str:
        """Its name among the parsed arguments."""
        return self.flag.lstrip("-").replace("-", "_")

    @property
    def variable(self) -> str:
        """Its environment variable."""
        return PREFIX + self.name.upper()

    def of_text(self, text: str) -> Any:
        """Returns the value that a text on the command line stands for."""
        try:
            return self.read(text)
        except ValueError as error:
            said = "this" if self.secret else repr(text)
            raise argparse.ArgumentTypeError(f"{said} cannot be taken: give {self.takes}") from error

    def of_environment(self, environment: Mapping[str, str]) -> Any:
        """Returns the value that the environment sets, or the default.

        Raises:
            OptionError: If what it is set to makes no sense.
        """
        for variable in (self.variable, *self.also):
            # Set to nothing is not set, as container tools do with what their users leave out.
            if not environment.get(variable):
                continue
            try:
                return self.read(environment[variable])
            except ValueError as error:
                said = "" if self.secret else f" to {environment[variable][:80]!r}"
                raise OptionError(f"{variable} is set{said}: give {self.takes}.") from error
        return self.default


def _yes(text: str) -> bool:
    try:
        return _YES[text.strip().lower()]
    except KeyError:
        raise ValueError(text) from None


def _one_of(*names: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if text not in names:
            raise ValueError(text)
        return text

    return read


def _whole(least: int, most: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not least <= (number := int(text)) <= most:
            raise ValueError(text)
        return number

    return read


def _like(pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text):
            raise ValueError(text)
        return text

    return read


def _user_and_password(text: str) -> tuple[str, str]:
    user, _, password = text.partition(":")
    if not (user and password):
        raise ValueError(text)
    return user, password


YES_OR_NO = "1 or 0"
DEBUG = Option("--debug", "show tracebacks and log messages", False, _yes, YES_OR_NO)
MODELS = (
    Option("--pack", "model pack: a name or a folder with a pack.toml", AUTO, metavar="PACK"),
    Option("--models", "look for model files in this folder first", metavar="DIR"),
    Option(
        "--provider",
        "what runs the models; where it is not here, that is said, and nothing else is taken",
        AUTO,
        _one_of(*PROVIDERS),
        ", ".join(PROVIDERS[:-1]) + " or " + PROVIDERS[-1],
        "|".join(PROVIDERS),
    ),
)
PAGE = (
    Option(
        "--host", "address to listen on; 0.0.0.0 for all", "127.0.0.1", metavar="HOST", also=("GRADIO_SERVER_NAME",)
    ),
    Option("--port", "port to listen on", 7860, int, "a whole number", "PORT", ("GRADIO_SERVER_PORT",)),
    Option(
        "--root-path",
        "the path under which a server before this one shows the page, as /faces",
        "",
        _like(r"(/[\w.~-]+)*"),
        "a path as /faces, without a / at its end",
        "PATH",
        ("GRADIO_ROOT_PATH",),
    ),
    Option(
        "--trusted-proxies",
        "addresses of servers before this one, with commas between: they say who the visitors are",
        "127.0.0.1",
        _like(r"\*|[0-9a-fA-F.:/]+(,\s*[0-9a-fA-F.:/]+)*"),
        "IP addresses or networks with commas between, or *",
        "ADDRESSES",
        ("FORWARDED_ALLOW_IPS",),
    ),
    Option(
        "--auth",
        "ask visitors for a user and password",
        None,
        _user_and_password,
        "USER:PASS",
        "USER:PASS",
        secret=True,
    ),
    Option(
        "--max-visitors",
        "browsers with the page open at once; the next one is asked to come again later",
        100,
        _whole(1, 100_000),
        "a whole number from 1",
        "N",
    ),
    Option(
        "--workers",
        "processes that serve the page behind the port; each visitor stays at one",
        1,
        _whole(1, 64),
        "a whole number from 1 to 64",
        "N",
    ),
    Option(
        "--metrics-token",
        "serve /metrics for Prometheus to whoever sends this as a bearer token; without it, to nobody",
        None,
        _like(r"[\x21-\x7e]{8,200}"),
        "8 to 200 letters, digits and signs, without spaces",
        "TOKEN",
        (),
        True,
    ),
    Option(
        "--log-format",
        "how to log: text for people; json for programs, an object a line",
        "text",
        _one_of(*LOG_FORMATS),
        "text or json",
        "text|json",
    ),
    Option("--mcp", "also offer the two endpoints as tools by the Model Context Protocol", False, _yes, YES_OR_NO),
    Option("--share", "also make a public link for a week", False, _yes, YES_OR_NO),
    Option(
        "--allow-fetch",
        "let visitors download and remove model packs; where nothing is said, those who have logged in, and on a page "
        "for this machine alone whoever sits at it",
        None,
        _yes,
        YES_OR_NO,
    ),
)


def add_options(parser: argparse.ArgumentParser, options: tuple[Option, ...]) -> None:
    """Adds options to a parser; what the command line leaves out is not there until `settle`."""
    for option in options:
        # A verb is not to take away what was said before it.
        left_out = argparse.SUPPRESS
        if option.read is _yes:
            text, action = f"{option.help} ({option.variable})", argparse.BooleanOptionalAction
            parser.add_argument(option.flag, action=action, default=left_out, help=text)
            continue
        default = "" if option.default in (None, "") else f", default: {option.default}"
        text = f"{option.help} ({option.variable}{default})"
        parser.add_argument(option.flag, type=option.of_text, default=left_out, metavar=option.metavar, help=text)


def settle(args: argparse.Namespace, options: tuple[Option, ...], environment: Mapping[str, str]) -> None:
    """Sets what the command line has left out by the environment, or to its default.

    Raises:
        OptionError: If what the environment says makes no sense.
    """
    for option in options:
        if not hasattr(args, option.name):
            setattr(args, option.name, option.of_environment(environment))
