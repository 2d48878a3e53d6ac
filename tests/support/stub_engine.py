"""An HTTP server on a unix socket that answers as a test says and keeps what it was asked."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

PING = b"HTTP/1.1 200 OK\r\nApi-Version: 1.50\r\nContent-Length: 2\r\n\r\n"


class Request(NamedTuple):
    method: str
    target: str
    headers: dict[str, str]
    body: bytes


Handler = Callable[[Request, socket.socket], None]


def answer(status: int, body: bytes = b"", *, headers: str = "") -> bytes:
    """A whole response."""
    return f"HTTP/1.1 {status} X\r\n{headers}Content-Length: {len(body)}\r\n\r\n".encode() + body


class StubEngine:
    """A context manager. `handler` writes the answer to each request but the ping; the connection stays open."""

    def __init__(self, directory: Path, handler: Handler) -> None:
        self.path = directory / "engine.sock"
        self.requests: list[Request] = []
        self._handler = handler
        self._listener = socket.socket(socket.AF_UNIX)
        self._threads: list[threading.Thread] = []
        self._connections: list[socket.socket] = []

    @property
    def host(self) -> str:
        return f"unix://{self.path}"

    def __enter__(self) -> StubEngine:
        self._listener.bind(str(self.path))
        self._listener.listen(16)
        self._spawn(self._accept)
        return self

    def __exit__(self, *exc_info: object) -> None:
        for connection in [self._listener, *self._connections]:
            try:
                connection.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        for thread in self._threads:
            thread.join(5)
        for connection in [self._listener, *self._connections]:
            connection.close()

    def _spawn(self, target: Callable[..., None], *arguments: object) -> None:
        self._threads.append(threading.Thread(target=target, args=arguments, daemon=True))
        self._threads[-1].start()

    def _accept(self) -> None:
        while True:
            try:
                connection, _ = self._listener.accept()
            except OSError:
                return
            self._connections.append(connection)
            self._spawn(self._serve, connection)

    def _serve(self, connection: socket.socket) -> None:
        try:
            while (request := _read_request(connection)) is not None:
                self.requests.append(request)
                if request.target.endswith("/_ping"):
                    connection.sendall(PING)
                else:
                    self._handler(request, connection)
        except OSError:
            return


def _read_request(connection: socket.socket) -> Request | None:
    """One byte at a time, so that what follows a request stays on the connection."""
    head = b""
    while not head.endswith(b"\r\n\r\n"):
        if not (byte := connection.recv(1)):
            return None
        head += byte
    first, *lines = head.decode("latin-1").rstrip().split("\r\n")
    headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
    method, target, _ = first.split(" ")
    if "chunked" in headers.get("transfer-encoding", ""):
        body = _read_chunks(connection)
    else:
        body = _read(connection, int(headers.get("content-length", "0")))
    return Request(method, target, headers, body)


def _read_chunks(connection: socket.socket) -> bytes:
    body = b""
    while True:
        line = b""
        while not line.endswith(b"\r\n"):
            line += _read(connection, 1)
        length = int(line, 16)
        body += _read(connection, length + 2)[:-2]
        if length == 0:
            return body


def _read(connection: socket.socket, count: int) -> bytes:
    data = b""
    while len(data) < count:
        if not (part := connection.recv(count - len(data))):
            raise OSError("the client went away")
        data += part
    return data
