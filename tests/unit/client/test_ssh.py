"""The ways to another machine."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from knarr.client import address, ssh
from knarr.client.synchronous import Client
from knarr.errors import KnarrError


@pytest.mark.parametrize(
    ("text", "arguments"),
    [
        ("ssh://box", ["--", "box"]),
        ("ssh://me@box:2222", ["-l", "me", "-p", "2222", "--", "box"]),
        ("ssh://me@[fd00::1]:22", ["-l", "me", "-p", "22", "--", "fd00::1"]),
        ("ssh://[fd00::1]", ["--", "fd00::1"]),
    ],
)
def test_arguments_of_ssh(text: str, arguments: list[str]) -> None:
    assert ssh.parse(text).arguments == ["-o", "ConnectTimeout=30", "-T", *arguments]


def test_the_streams_of_ssh_are_the_connection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    program = tmp_path / "ssh"
    program.write_text(
        "#!/bin/sh\nread first\nprintf 'HTTP/1.1 200 OK\\r\\nApi-Version: 1.44\\r\\nContent-Length: 0\\r\\n\\r\\n'\n"
    )
    program.chmod(stat.S_IRWXU)
    monkeypatch.setenv("PATH", f"{tmp_path}:/usr/bin:/bin")
    with Client("ssh://box") as client:
        assert client.version == "1.44"


def test_there_is_no_ssh(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")
    with pytest.raises(KnarrError, match="cannot start ssh for ssh://box"):
        address.parse("ssh://box").connect()
