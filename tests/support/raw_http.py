"""The Engine API by hand: requests as bytes, connections that are given away, multiplexed streams."""

from __future__ import annotations

import socket
from typing import Any

from harness import Daemon


class Api:
    """Requests as bytes: what http.client would hide is what these tests are about."""

    def __init__(self, daemon: Daemon) -> None:
        self._daemon = daemon
        self.request = daemon.request

    def connect(self) -> socket.socket:
        client = socket.socket(socket.AF_UNIX)
        client.settimeout(20)
        client.connect(str(self._daemon.socket_path))
        return client

    def ask(self, data: bytes) -> tuple[bytes, bytes]:
        """Head and body of the one answer on a connection."""
        with self.connect() as client:
            client.sendall(data)
            head, _, body = read_all(client).partition(b"\r\n\r\n")
        return head, body

    def open(self, method: str, path: str, *headers: str, body: bytes = b"", ahead: bytes = b"") -> socket.socket:
        """Send a request and, in the same write, what is `ahead`; the connection."""
        client = self.connect()
        lines = [f"{method} {path} HTTP/1.1", "Host: x", *headers, f"Content-Length: {len(body)}", "", ""]
        client.sendall("\r\n".join(lines).encode() + body + ahead)
        return client

    def create(self, *command: str, **options: Any) -> str:
        """The id of a new container of busybox without network."""
        host = {"NetworkMode": "none", **options.pop("HostConfig", {})}
        body = {"Image": "busybox", "Cmd": [*command], "HostConfig": host, **options}
        status, answer = self.request("POST", "/containers/create", body)
        assert status == 201, answer
        return str(answer["Id"])

    def run(self, *command: str, **options: Any) -> str:
        """The id of a container that has been started."""
        id = self.create(*command, **options)
        assert self.request("POST", f"/containers/{id}/start") == (204, b"")
        return id


def read_all(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(1 << 16):
        data += piece
    return data


def read_head(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        piece = client.recv(1)
        assert piece, data
        data += piece
    return data


def frames(data: bytes) -> list[tuple[int, bytes]]:
    """What a multiplexed stream holds: stream numbers and payloads, neighbours of one stream joined."""
    found: list[tuple[int, bytes]] = []
    while data:
        number, size = data[0], int.from_bytes(data[4:8])
        payload, data = data[8 : 8 + size], data[8 + size :]
        if found and found[-1][0] == number:
            payload = found.pop()[1] + payload
        found.append((number, payload))
    return found
