"""Connections given away: the plain socket, with bytes that came too early, and WebSockets."""

from __future__ import annotations

import asyncio
import os
import queue
import socket
import stat
import struct
from collections.abc import Callable
from typing import Any

import pytest

from knarr.api.messages import Answer, Hijack, Request
from knarr.api.routing import Route
from knarr.errors import Conflict

Serve = Callable[..., Any]

ATTACH = b"POST /attach HTTP/1.1\r\nHost: x\r\n"
UPGRADE = ATTACH + b"Connection: Upgrade\r\nUpgrade: tcp\r\n"


class Taker:
    """Keeps the socket that it is given, for the test to play the container."""

    def __init__(self, *, websocket: bool = False) -> None:
        self._websocket = websocket
        self._taken: queue.Queue[socket.socket] = queue.Queue()

    async def __call__(self, request: Request) -> Answer:
        return Hijack(self._take, "application/vnd.docker.raw-stream", self._websocket)

    async def _take(self, fd: int) -> None:
        self._taken.put(socket.socket(fileno=fd))

    def socket(self) -> socket.socket:
        result = self._taken.get(timeout=10)
        result.settimeout(10)
        return result


def read_head(client: socket.socket) -> bytes:
    data = b""
    while not data.endswith(b"\r\n\r\n"):
        data += client.recv(1)
    return data


def read_all(client: socket.socket) -> bytes:
    data = b""
    while piece := client.recv(1 << 16):
        data += piece
    return data


def test_a_client_that_asks_is_upgraded(serve: Serve) -> None:
    with serve(Route("POST", "/attach", Taker())).connect() as client:
        client.sendall(UPGRADE + b"Content-Length: 0\r\n\r\n")
        lines = read_head(client).split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 101 UPGRADED"
    assert {b"Content-Type: application/vnd.docker.raw-stream", b"Connection: Upgrade", b"Upgrade: tcp"} <= set(lines)


def test_one_that_does_not_gets_200(serve: Serve) -> None:
    with serve(Route("POST", "/attach", Taker())).connect() as client:
        client.sendall(ATTACH + b"\r\n")
        head = read_head(client)
    assert head.startswith(b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Length" not in head
    assert b"chunked" not in head


@pytest.mark.parametrize("early", [b"", b"early "])
def test_both_directions_end_by_themselves(serve: Serve, early: bytes) -> None:
    taker = Taker()
    server = serve(Route("POST", "/attach", taker))
    with server.connect() as client:
        client.sendall(UPGRADE + b"\r\n" + early)
        read_head(client)
        with taker.socket() as container:
            client.sendall(b"input")
            client.shutdown(socket.SHUT_WR)
            assert read_all(container) == early + b"input"
            container.sendall(b"output")
            assert client.recv(100) == b"output"
        assert client.recv(1) == b""


def test_all_in_one_write(serve: Serve) -> None:
    """Request, input and its end are there before the server has read anything."""
    taker = Taker()
    server = serve(Route("POST", "/attach", taker))
    with server.connect() as client:
        client.sendall(ATTACH + b"Content-Length: 0\r\n\r\ninput")
        client.shutdown(socket.SHUT_WR)
        with taker.socket() as container:
            assert read_all(container) == b"input"
            container.sendall(b"output")
        assert read_all(client).endswith(b"\r\n\r\noutput")


def test_the_body_is_not_input(serve: Serve) -> None:
    taker = Taker()
    server = serve(Route("POST", "/attach", taker))
    with server.connect() as client:
        client.sendall(ATTACH + b"Content-Length: 4\r\n\r\nbodyinput")
        client.shutdown(socket.SHUT_WR)
        with taker.socket() as container:
            assert read_all(container) == b"input"


def test_output_may_end_before_input(serve: Serve) -> None:
    taker = Taker()
    server = serve(Route("POST", "/attach", taker))
    with server.connect() as client:
        client.sendall(UPGRADE + b"\r\nearly")
        read_head(client)
        with taker.socket() as container:
            container.shutdown(socket.SHUT_WR)
            assert client.recv(1) == b""
            client.sendall(b" input")
            client.shutdown(socket.SHUT_WR)
            assert read_all(container) == b"early input"


def test_the_socket_itself_is_given_away(serve: Serve) -> None:
    """Nothing of the server's stays between: its descriptors are closed, and only ours ends the connection."""
    taker = Taker()
    server = serve(Route("POST", "/attach", taker))
    with server.connect() as client:
        client.sendall(UPGRADE + b"\r\n")
        read_head(client)
        with taker.socket() as container:
            assert container.getsockname() == str(server.path)
            assert not os.get_inheritable(container.fileno())
        assert client.recv(1) == b""


def test_an_error_comes_before_the_upgrade(serve: Serve) -> None:
    async def refuse(request: Request) -> Answer:
        raise Conflict("it is paused")

    with serve(Route("POST", "/attach", refuse)).connect() as client:
        client.sendall(UPGRADE + b"\r\n")
        assert read_head(client).startswith(b"HTTP/1.1 409 Conflict\r\n")


def test_much_input_before_anybody_reads(serve: Serve) -> None:
    taker = Taker()
    server = serve(Route("POST", "/attach", taker))
    data = os.urandom(3_000_000)
    with server.connect() as client:
        client.sendall(UPGRADE + b"\r\n" + data[:5])
        read_head(client)
        with taker.socket() as container:
            sending = asyncio.run_coroutine_threadsafe(asyncio.to_thread(client.sendall, data[5:]), server.loop)
            received = b""
            while len(received) < len(data):
                received += container.recv(1 << 16)
            sending.result(10)
            assert received == data


HANDSHAKE = (
    b"GET /ws HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
)


def frame(opcode: int, payload: bytes) -> bytes:
    return struct.pack("!BB4s", 0x80 | opcode, 0x80 | len(payload), bytes(4)) + payload


def test_a_websocket(serve: Serve) -> None:
    taker = Taker(websocket=True)
    server = serve(Route("GET", "/ws", taker))
    with server.connect() as client:
        client.sendall(HANDSHAKE + frame(2, b"early "))
        assert b"Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in read_head(client)
        with taker.socket() as container:
            client.sendall(frame(1, b"input") + frame(9, b"?"))
            assert client.recv(100) == b"\x8a\x01?"
            assert container.recv(100) == b"early input"
            container.sendall(b"output")
            assert client.recv(100) == b"\x82\x06output"
        assert client.recv(100) == b"\x88\x02\x03\xe8"
        assert client.recv(100) == b""


@pytest.mark.parametrize("ending", [frame(8, b"\x03\xe8"), b"\x82\x05plain", b""])
def test_the_end_of_a_websocket_is_the_end_of_input(serve: Serve, ending: bytes) -> None:
    taker = Taker(websocket=True)
    server = serve(Route("GET", "/ws", taker))
    with server.connect() as client:
        client.sendall(HANDSHAKE)
        read_head(client)
        with taker.socket() as container:
            assert stat.S_ISSOCK(os.fstat(container.fileno()).st_mode)
            client.sendall(ending)
            client.shutdown(socket.SHUT_WR)
            assert read_all(container) == b""
