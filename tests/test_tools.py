"""A machine that lacks something: it is installed where the user may, else said, and nothing breaks."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.conftest import ROOT

BARE = {"PLAYWRIGHT_BROWSERS_PATH": "/nonexistent"}


def browser_tests(path: Path, **environment: str) -> subprocess.CompletedProcess:
    """Runs the browser tests on a machine that has no program at all on its PATH."""
    env = {name: value for name, value in os.environ.items() if name != "CI"} | BARE | environment
    return subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "tests/browser"],
        cwd=ROOT,
        env=env | {"PATH": str(path)},
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )


def test_without_a_browser_its_tests_are_skipped_with_the_reason(tmp_path):
    done = browser_tests(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "no Chromium is installed" in done.stdout
    assert "passed" not in done.stdout.splitlines()[-1]
    assert "error" not in done.stdout.splitlines()[-1]


def test_a_browser_that_does_not_start_is_none(tmp_path):
    (tmp_path / "chromium").write_text("#!/bin/sh\nexit 1\n")
    (tmp_path / "chromium").chmod(0o755)
    done = browser_tests(tmp_path)
    assert done.returncode == 0, done.stdout
    assert "chromium does not start" in done.stdout


def test_in_ci_a_missing_browser_is_an_error(tmp_path):
    done = browser_tests(tmp_path, CI="1")
    assert done.returncode == 1
    assert "no Chromium is installed" in done.stdout


@pytest.fixture
def machine(tmp_path):
    """Makes a PATH of a few programs, each a line of shell, and runs scripts/apt.sh on it."""

    def run(*packages: str, **programs: str) -> subprocess.CompletedProcess:
        path = tmp_path / "bin"
        path.mkdir()
        (path / "env").symlink_to(shutil.which("env"))
        for name, line in programs.items():
            program = path / name.replace("_", "-")
            program.write_text(f"#!/bin/sh\n{line}\n")
            program.chmod(0o755)
        return subprocess.run(
            [shutil.which("sh"), ROOT / "scripts" / "apt.sh", *packages],
            env={"PATH": str(path), "LOG": str(tmp_path / "log")},
            capture_output=True,
            text=True,
            check=False,
        )

    return run


NOTE = 'echo "$@" >> "$LOG"'


def test_root_installs(machine, tmp_path):
    done = machine("strace", "make", id="echo 0", apt_get=NOTE)
    assert (done.returncode, done.stdout) == (0, "Installing strace make.\n")
    assert (tmp_path / "log").read_text().split()[-3:] == ["--no-install-recommends", "strace", "make"]


def test_lists_of_packages_that_are_missing_are_fetched_first(machine, tmp_path):
    fails_until_updated = f'{NOTE}; case "$*" in *update*) touch "$LOG.new";; esac; [ -e "$LOG.new" ]'
    assert machine("strace", id="echo 0", apt_get=fails_until_updated, touch='>"$1"').returncode == 0
    assert ["update" in line for line in (tmp_path / "log").read_text().splitlines()] == [False, True, False]


def test_sudo_is_used_where_it_asks_for_no_password(machine, tmp_path):
    done = machine("strace", id="echo 1000", sudo='[ "$1" = -n ] && shift; [ "$1" = true ] || "$@"', apt_get=NOTE)
    assert done.returncode == 0
    assert "strace" in (tmp_path / "log").read_text()


def test_who_may_not_install_is_told_what_to_do(machine, tmp_path):
    done = machine("strace", id="echo 1000", sudo="exit 1", apt_get=NOTE)
    assert done.returncode == 1
    assert done.stderr == "strace cannot be installed by this user: run 'sudo apt-get install strace'.\n"
    assert not (tmp_path / "log").exists()


def test_where_there_is_no_apt_it_says_so(machine):
    assert machine("strace").stderr == "strace cannot be installed here: there is no apt-get.\n"
