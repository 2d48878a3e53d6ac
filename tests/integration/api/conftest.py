"""One engine for all tests of the API, with the image busybox:latest, and raw connections to it."""

from __future__ import annotations

import socket
from collections.abc import Iterator

import busybox
import pytest
from harness import Daemon
from raw_http import Api, read_all


@pytest.fixture(scope="session")
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    daemon.start()
    archive = busybox.archive()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(daemon.socket_path))
        head = "POST /images/create?fromSrc=-&repo=busybox&tag=latest HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"
        client.sendall(f"{head}Content-Length: {len(archive)}\r\n\r\n".encode() + archive)
        assert b"sha256:" in read_all(client)
    yield daemon
    daemon.remove()
    assert "request failed" not in daemon.log, "a handler raised what is no KnarrError"


@pytest.fixture
def api(daemon: Daemon) -> Iterator[Api]:
    """The engine's API; containers that a test leaves are removed."""
    yield Api(daemon)
    for container in daemon.request("GET", "/containers/json?all=1")[1]:
        daemon.request("DELETE", f"/containers/{container['Id']}?force=1&v=1")
