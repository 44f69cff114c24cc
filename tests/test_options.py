"""The options of the page: one table, for the command line, the environment and the manual."""

from __future__ import annotations

import dataclasses
import re

import pytest

from faceinsight import cli
from faceinsight.options import DEBUG, MODELS, PAGE, Option, OptionError
from faceinsight.ui import LaunchOptions
from faceinsight.ui.limits import Limits
from tests.conftest import ROOT

OPTIONS = (*MODELS, *PAGE, DEBUG)
# A value of each, as text and as what the page is given.
VALUES = {
    "--pack": ("compact", "compact"),
    "--models": ("/srv/models", "/srv/models"),
    "--provider": ("cpu", "cpu"),
    "--host": ("0.0.0.0", "0.0.0.0"),
    "--port": ("8080", 8080),
    "--root-path": ("/faces", "/faces"),
    "--trusted-proxies": ("10.0.0.0/8,::1", "10.0.0.0/8,::1"),
    "--auth": ("ann:s:cret", ("ann", "s:cret")),
    "--max-visitors": ("30", 30),
    "--workers": ("2", 2),
    "--metrics-token": ("0123456789", "0123456789"),
    "--log-format": ("json", "json"),
    "--mcp": ("on", True),
    "--share": ("yes", True),
    "--allow-fetch": ("1", True),
    "--debug": ("1", True),
}
WRONG = {
    "--provider": "tpu",
    "--port": "many",
    "--root-path": "faces/",
    "--trusted-proxies": "proxy.example",
    "--auth": "ann",
    "--max-visitors": "0",
    "--workers": "65",
    "--metrics-token": "short",
    "--log-format": "xml",
    "--mcp": "perhaps",
    "--share": "perhaps",
    "--allow-fetch": "ask me",
    "--debug": "2",
}


each_option = pytest.mark.parametrize("option", [*MODELS, *PAGE], ids=lambda option: option.name)


def value_of(options: LaunchOptions, option: Option):
    return getattr(options.limits if option.name == "max_visitors" else options, option.name)


@pytest.fixture
def launched(monkeypatch):
    """Collects what the page would be served with."""
    found = []
    monkeypatch.setattr("faceinsight.ui.launch", found.append)
    monkeypatch.setattr(cli.os, "_exit", lambda status: found.append(status))
    for option in OPTIONS:
        for variable in (option.variable, *option.also):
            monkeypatch.delenv(variable, raising=False)

    def run(*argv: str):
        assert cli.main(["app", *argv]) == 0 or found == []
        return found[0] if found else None

    monkeypatch.setattr(cli, "_app", unended(cli._app))
    return run


def unended(app):
    def run(args):
        app(args)
        return 0

    return run


@each_option
def test_the_environment_says_what_the_command_line_can(option, launched, monkeypatch):
    text, value = VALUES[option.flag]
    monkeypatch.setenv(option.variable, text)
    assert value_of(launched(), option) == value


@each_option
def test_the_command_line_says_it_as_well(option, launched):
    text, value = VALUES[option.flag]
    assert value_of(launched(*((option.flag,) if value is True else (option.flag, text))), option) == value


def test_the_command_line_goes_before_the_environment(launched, monkeypatch):
    monkeypatch.setenv("GRADIO_SERVER_PORT", "7001")
    monkeypatch.setenv("FACEINSIGHT_SHARE", "1")
    options = launched("--no-share")
    assert (options.port, options.share) == (7001, False)
    monkeypatch.setenv("FACEINSIGHT_PORT", "7002")
    assert Option.of_environment(next(o for o in PAGE if o.name == "port"), dict(cli.os.environ)) == 7002


@pytest.mark.parametrize("flag", WRONG)
def test_what_makes_no_sense_is_one_sentence(flag, launched, monkeypatch, capsys):
    (option,) = [option for option in OPTIONS if option.flag == flag]
    monkeypatch.setenv(option.variable, WRONG[flag])
    assert cli.main(["app"]) == 1
    said = capsys.readouterr().err
    assert said.startswith(f"faceinsight: {option.variable} is set")
    assert said.count("\n") == 1
    assert option.takes in said
    assert (WRONG[flag] in said) != option.secret
    with pytest.raises(OptionError):
        option.of_environment({option.variable: WRONG[flag]})


def test_a_wrong_command_line_names_the_option(capsys):
    with pytest.raises(SystemExit) as ended:
        cli.main(["app", "--auth", "secret"])
    assert ended.value.code == 2
    said = capsys.readouterr().err
    assert "argument --auth: this cannot be taken: give USER:PASS" in said


def test_the_page_takes_every_option():
    fields = {field.name for field in dataclasses.fields(LaunchOptions)}
    assert {option.name for option in (*MODELS, *PAGE)} - fields == {"max_visitors"}


def test_the_manual_lists_every_option_and_every_limit():
    manual = (ROOT / "docs/hosting.md").read_text()
    for option in OPTIONS:
        default = "" if option.default in (None, "", False) else str(option.default)
        row = re.search(rf"^\| `{option.flag}[^|]*`[^|]*\| `{option.variable}` \|([^|]*)\|[^|]+\|$", manual, re.M)
        assert row, option.flag
        assert row[1].strip("` ") == default, option.flag
    for field in dataclasses.fields(Limits):
        if field.name == "max_visitors":
            continue  # an option as well
        row = re.search(rf"^\| `FACEINSIGHT_{field.name.upper()}` \| (.*?) \| (.*?) \|$", manual, re.M)
        assert row, field.name
        assert row[1] == f"{field.default:g}", field.name
