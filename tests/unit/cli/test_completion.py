"""What is offered for a command line that is being typed."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from knarr.cli import completion, table

KNARR = Path(sys.executable).with_name("knarr")


def words(*typed: str) -> list[str]:
    return [word for word, _ in completion.candidates(["-H", "unix:///nonexistent", *typed])]


def test_commands_and_groups() -> None:
    assert words("st") == ["start", "stats", "stop"]
    assert {"run", "container", "completion"} <= set(words(""))


def test_commands_of_a_group() -> None:
    assert words("volume", "") == list(table.GROUPS["volume"][1])
    assert words("container", "re") == ["rename", "restart"]


def test_flags() -> None:
    assert words("run", "--network") == ["--network", "--network-alias"]
    assert "--host" in words("--")


def test_flags_end_with_the_image() -> None:
    assert words("run", "-it", "--name", "x", "busybox", "-") == [":files"]


def test_values_of_flags() -> None:
    assert words("run", "--pull", "m") == ["missing"]
    assert words("run", "--env-file", "") == [":files"]
    assert words("logs", "-n", "") == [":files"]


def test_nothing_is_known_without_an_engine() -> None:
    assert words("start", "") == []
    assert words("no-such-command", "") == []


@pytest.mark.parametrize("shell", ["bash", "fish", "zsh"])
def test_the_scripts_are_valid(shell: str) -> None:
    if shutil.which(shell) is None:
        pytest.skip(f"no {shell} here")
    script = subprocess.run([KNARR, "completion", shell], capture_output=True, check=True).stdout
    subprocess.run([shell, "-n"], input=script, check=True)


def test_no_script_for_other_shells() -> None:
    done = subprocess.run([KNARR, "completion", "tcsh"], capture_output=True, check=False)
    assert (done.returncode, done.stderr) == (1, b"no completion for tcsh: there is one for each of bash, fish, zsh\n")


def in_bash(line: str) -> list[str]:
    """What bash would offer after `line`."""
    script = f"""
        source <({KNARR} completion bash)
        COMP_LINE={line!r} COMP_POINT=${{#COMP_LINE}}
        _knarr
        printf '%s\\n' "${{COMPREPLY[@]}}"
    """
    environment = {**os.environ, "PATH": f"{KNARR.parent}:{os.environ['PATH']}", "KNARR_HOST": "unix:///nonexistent"}
    script = script.replace("COMP_POINT=", "\n        COMP_POINT=")
    done = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=True, env=environment)
    return done.stdout.split()


def test_in_bash() -> None:
    assert in_bash("knarr container sto") == ["stop"]
    assert in_bash("knarr run --pull ") == ["always", "missing", "never"]


def test_bash_is_given_what_follows_a_colon() -> None:
    assert in_bash("knarr run --ipc container:") == []
    assert in_bash("knarr run --pid container") == ["container:"]
