"""knarr starts an engine when none answers at the default socket: tried where /run and /var/lib are empty."""

from __future__ import annotations

import subprocess

import knarr_program
import pytest

# All of it ends with the shell, which is process 1 there.
_ELSEWHERE = ["unshare", "--mount", "--net", "--pid", "--fork", "--kill-child"]
_SET_UP = """
for directory in /run /var/lib /etc/knarr; do [ -d $directory ] && mount -t tmpfs none $directory; done
mount -t proc proc /proc
ip link set lo up
unset DOCKER_HOST KNARR_HOST
"""


def _elsewhere(script: str) -> subprocess.CompletedProcess[str]:
    script = _SET_UP + script.replace("knarr ", f"{knarr_program.KNARR} ")
    return subprocess.run([*_ELSEWHERE, "bash", "-c", script], capture_output=True, text=True, timeout=60, check=False)


def test_it_is_started_and_used_again() -> None:
    done = _elsewhere(
        "knarr version -f '{{.Server.Version}}'; first=$(cat /run/knarr/knarrd.pid); knarr images -q | wc -l;"
        " test $first = $(cat /run/knarr/knarrd.pid) && echo same; ls /run | sort | xargs"
    )
    version, count, same, names = done.stdout.splitlines()
    assert (bool(version), count, same) == (True, "1", "same"), done.stderr
    assert not [name for name in names.split() if name.startswith("knarr.start-")]


def test_of_many_at_once_one_starts_it() -> None:
    done = _elsewhere("for i in 1 2 3 4; do knarr images -q || echo failed & done; wait")
    assert len(done.stdout.split()) == 4, done.stderr
    assert len(set(done.stdout.split())) == 1, done.stderr


def test_the_end_of_its_log_is_shown_when_it_cannot_start() -> None:
    done = _elsewhere("mkdir -p /run/knarr; touch /run/knarr/foreign; knarr ps; echo status $?; ls /run | xargs")
    assert "status 125" in done.stdout
    assert "The engine could not be started. Its log, /run/knarr.log, ends with:" in done.stderr
    assert "holds files that are not knarr's" in done.stderr
    assert "knarr.start-" not in done.stdout


@pytest.mark.parametrize("setting", ["DOCKER_HOST=unix:///run/other.sock", "KNARR_HOST=unix:///run/other.sock"])
def test_none_is_started_when_the_environment_names_one(setting: str) -> None:
    done = _elsewhere(f"export {setting}; knarr ps; echo status $?; ls -d /run/knarr*")
    assert done.stderr.startswith("Cannot connect to the Docker daemon at unix:///run/other.sock.")
    assert done.stdout == "status 1\n"
