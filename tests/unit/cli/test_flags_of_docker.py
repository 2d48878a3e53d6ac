"""Every command and flag of docker is here, or there is a reason why not."""

from __future__ import annotations

from pathlib import Path

import pytest

from knarr.cli import table
from knarr.cli.command import Command

_KINDS = {"strings": "list"}  # comma separated words and repeated ones: knarr takes both as the latter
_CLUSTER = "of a swarm's cluster volumes"
_CONTENT_TRUST = "content trust ended with its server"
_BUILDS = ("build", "builder build", "image build")
_MISSING = {
    "checkpoint": "checkpoints need CRIU",
    "completion powershell": "not a shell of Linux",
    "container start --checkpoint": "checkpoints need CRIU",
    "container start --checkpoint-dir": "checkpoints need CRIU",
    "start --checkpoint": "checkpoints need CRIU",
    "start --checkpoint-dir": "checkpoints need CRIU",
    **{
        f"{path} --disable-content-trust": _CONTENT_TRUST
        for path in ("build", "builder build", "create", "image build", "image pull", "image push", "pull", "push")
    },
    **{
        f"volume create --{name}": _CLUSTER
        for name in (
            *("availability", "group", "limit-bytes", "required-bytes", "scope", "secret", "sharing"),
            *("topology-preferred", "topology-required", "type"),
        )
    },
    "volume ls --cluster": _CLUSTER,
    **{f"{path} --compress": "the context goes over a socket as it is" for path in _BUILDS},
    **{f"{path} --isolation": "of Windows" for path in _BUILDS},
    "volume update": _CLUSTER,
}
_COMING = {"manifest", *(f"{path} --ulimit" for path in _BUILDS)}
"""Not yet; these may be here any day."""


def _rows() -> list[list[str]]:
    lines = (Path(__file__).parent / "data" / "docker-flags.tsv").read_text().splitlines()
    return [[*line.split("\t"), "", "", ""][:4] for line in lines if not line.startswith("#")]


def _command(path: str) -> Command | None:
    names = path.split(" ")
    if names[0] == "completion":
        return table.load("completion")
    commands = table.GROUPS[names[0]][1] if len(names) == 2 and names[0] in table.GROUPS else table.COMMANDS
    entry = commands.get(names[-1]) if names[-1] in commands and len(names) <= 2 else None
    return table.load(entry[0]) if entry else None


def _is_missing(path: str, flag: str) -> bool:
    return any(name in _MISSING or name in _COMING for name in (path, path.split(" ")[0], f"{path} --{flag}"))


@pytest.mark.parametrize("row", _rows(), ids=lambda row: f"{row[0]} {row[1]}".strip())
def test_docker_flag(row: list[str]) -> None:
    path, name, letter, kind = row
    if _is_missing(path, name):
        return
    command = _command(path)
    assert command is not None, f"there is no {path}"
    found = [flag for flag in command.flags if name in (flag.name, *flag.aliases)]
    if name:
        assert found, f"{path} has no --{name}"
        assert found[0].short == letter
        assert _KINDS.get(found[0].metavar, found[0].metavar) == _KINDS.get(kind, kind)


def test_what_is_missing_is_missing() -> None:
    for entry in _MISSING:
        path, _, name = entry.partition(" --")
        command = _command(path)
        if command is not None and name:
            assert name not in {flag.name for flag in command.flags if not flag.hidden}, entry
