"""Docker's plugins as commands of knarr."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    plugin = tmp_path / "cli-plugins" / "docker-greet"
    plugin.parent.mkdir()
    plugin.write_text('#!/bin/sh\necho "$DOCKER_HOST" "$@"\nexit 3\n')
    plugin.chmod(0o755)
    return tmp_path


def _knarr(directory: Path, *words: str, **environment: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", "import sys; from knarr.cli.main import main; sys.exit(main())", *words],
        env={"PATH": os.environ["PATH"], "DOCKER_CONFIG": str(directory), **environment},
        capture_output=True,
        text=True,
    )


def test_a_plugin_is_a_command(directory: Path) -> None:
    done = _knarr(directory, "greet", "--all", "x", KNARR_HOST="unix:///e.sock")
    assert (done.stdout, done.returncode) == ("unix:///e.sock greet --all x\n", 3)


def test_flags_before_its_name_are_its_own_to_read(directory: Path) -> None:
    assert _knarr(directory, "-H", "unix:///e.sock", "greet").stdout == " -H unix:///e.sock greet\n"


def test_help_asks_it(directory: Path) -> None:
    assert _knarr(directory, "help", "greet", DOCKER_HOST="unix:///e.sock").stdout == "unix:///e.sock greet --help\n"


@pytest.mark.parametrize("name", ["nosuch", "../greet", "x/../greet"])
def test_what_is_no_plugin(directory: Path, name: str) -> None:
    done = _knarr(directory, name)
    assert (done.returncode, f"unknown command: knarr {name}" in done.stderr) == (1, True)
