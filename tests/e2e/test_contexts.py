"""Contexts: knarr and docker share one store, and have the same words for it."""

from __future__ import annotations

import os
import shlex
import subprocess
from pathlib import Path

import pytest
from harness import Daemon
from knarr_program import KNARR


class Programs:
    """Both programs, with one configuration directory of their own and no engine named by the environment."""

    def __init__(self, directory: Path) -> None:
        self.environment = {**os.environ, "DOCKER_CONFIG": str(directory)}
        for name in ("DOCKER_HOST", "KNARR_HOST", "DOCKER_CONTEXT"):
            self.environment.pop(name, None)

    def run(self, program: str, line: str, input: bytes | None = None) -> subprocess.CompletedProcess[bytes]:
        command = [str(KNARR) if program == "knarr" else program, *shlex.split(line)]
        return subprocess.run(command, input=input, capture_output=True, env=self.environment, timeout=30, check=False)

    def text(self, program: str, line: str, input: bytes | None = None) -> str:
        done = self.run(program, line, input)
        assert done.returncode == 0, done.stderr.decode()
        return done.stdout.decode().strip()


@pytest.fixture
def programs(tmp_path: Path, engine_host: Daemon) -> Programs:
    programs = Programs(tmp_path / "docker")
    programs.text("docker", f"context create theirs --docker host={engine_host.host}")
    programs.text("knarr", f"context create ours --description 'by knarr' --docker host={engine_host.host}")
    return programs


@pytest.mark.parametrize("name", ["ours", "theirs"])
@pytest.mark.parametrize("program", ["docker", "knarr"])
def test_a_context_leads_to_its_engine(programs: Programs, program: str, name: str) -> None:
    assert programs.text(program, f"--context {name} version -f {{{{.Server.Os}}}}") == "linux"
    programs.text("knarr", f"context use {name}")
    assert programs.text(program, "context show") == name
    assert programs.text(program, "version -f {{.Server.Os}}") == "linux"


@pytest.mark.parametrize(
    "line",
    [
        "context ls -q",
        "context ls --format '{{.Name}}|{{.Description}}|{{.Current}}'",
        "context inspect ours theirs",
        "context inspect nothing",
        "context use nothing",
        "context create ours --docker host=unix:///x",
        "context create default --docker host=unix:///x",
        "context create a/b --docker host=unix:///x",
        "context create other --docker nohost=1",
        "context create other --docker host=foo",
        "context rm nothing",
        "context rm default",
        "context export nothing -",
        "--context nothing version",
        "-H unix:///x --context ours ps",
    ],
)
def test_same_words(programs: Programs, line: str) -> None:
    knarr, docker = (programs.run(program, line) for program in ("knarr", "docker"))
    assert knarr.stdout == docker.stdout
    assert knarr.stderr == docker.stderr
    assert knarr.returncode == docker.returncode


def test_the_one_in_use_is_removed_with_force_only(programs: Programs) -> None:
    programs.text("knarr", "context use ours")
    assert b"in use, set -f flag to force remove" in programs.run("knarr", "context rm ours").stderr
    programs.text("knarr", "context rm -f ours")
    assert programs.text("docker", "context show") == "default"


@pytest.mark.parametrize(("writer", "reader"), [("knarr", "docker"), ("docker", "knarr")])
def test_one_program_imports_what_the_other_exports(
    programs: Programs, writer: str, reader: str, tmp_path: Path
) -> None:
    programs.text(writer, f"context export ours {tmp_path}/file")
    programs.text(reader, f"context import copied {tmp_path}/file")
    assert "copied by knarr" in programs.text(reader, "context ls --format '{{.Name}} {{.Description}}'")


def test_an_update(programs: Programs) -> None:
    programs.text("knarr", "context update ours --description new --docker host=ssh://me@box")
    assert programs.text("docker", "context inspect ours -f '{{.Endpoints.docker.Host}}'") == "ssh://me@box"
