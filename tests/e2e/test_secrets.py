"""Secrets with knarr, and what the docker command says of them."""

from __future__ import annotations

import knarr_program
from harness import Daemon


def knarr(daemon: Daemon, *words: str, input: bytes | None = None) -> str:
    done = knarr_program.run(daemon.host, *words, input=input)
    assert done.returncode == 0, done.stderr
    return done.stdout.decode().strip()


def test_from_its_creation_to_its_end(engine_host: Daemon) -> None:
    id = knarr(engine_host, "secret", "create", "--label", "a=b", "pw", "-", input=b"hidden")
    assert knarr(engine_host, "secret", "ls", "--format", "{{.ID}} {{.Name}} {{.Labels}}") == f"{id} pw a=b"
    assert knarr(engine_host, "run", "--rm", "--secret", "pw", "busybox", "cat", "/run/secrets/pw") == "hidden"
    assert "hidden" not in knarr(engine_host, "secret", "inspect", "pw")
    assert knarr(engine_host, "secret", "rm", "pw") == "pw"


def test_swarms_secrets_are_another_matter(engine_host: Daemon) -> None:
    done = engine_host.docker("secret", "ls", check=False)
    assert b"This node is not a swarm manager" in done.stderr
