"""TLS: plain requests, streams that are given away, clients that end one direction or just leave."""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
import ssl
import subprocess
import threading
from collections.abc import AsyncGenerator, Callable
from pathlib import Path
from typing import Any

import pytest

from knarr.api.messages import Answer, Hijack, Request, Response, Stream
from knarr.api.routing import Route

Serve = Callable[..., Any]

pytestmark = pytest.mark.skipif(shutil.which("openssl") is None, reason="openssl makes the certificate")


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    directory = tmp_path_factory.mktemp("tls")
    pair = directory / "cert.pem", directory / "key.pem"
    command = "openssl req -x509 -newkey ec -pkeyopt ec_paramgen_curve:prime256v1 -nodes -days 2 -subj /CN=localhost"
    subprocess.run([*command.split(), "-out", pair[0], "-keyout", pair[1]], check=True, capture_output=True)
    return pair


@pytest.fixture
def context(certificate: tuple[Path, Path]) -> ssl.SSLContext:
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*certificate)
    return context


class Client:
    """TLS by hand over a plain socket: Python's own cannot end one direction only."""

    def __init__(self, server: Any) -> None:
        self._socket: socket.socket = server.connect()
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
        self._tls = context.wrap_bio(self._in, self._out)
        self._do(self._tls.do_handshake)

    def _do(self, call: Callable[..., Any], *arguments: Any) -> Any:
        while True:
            try:
                result = call(*arguments)
                self._flush()
                return result
            except ssl.SSLWantReadError:
                self._flush()
                self._in.write(self._socket.recv(1 << 16))

    def _flush(self) -> None:
        if data := self._out.read():
            self._socket.sendall(data)

    def send(self, data: bytes) -> None:
        self._do(self._tls.write, data)

    def receive(self) -> bytes:
        try:
            result: bytes = self._do(self._tls.read, 1 << 16)
        except ssl.SSLZeroReturnError:
            return b""
        return result

    def finish(self) -> None:
        """Send a close_notify and nothing else."""
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            self._flush()

    def close(self) -> None:
        self._socket.close()


def test_a_request(serve: Serve, context: ssl.SSLContext) -> None:
    async def echo(request: Request) -> Answer:
        return Response(body=await request.body.read())

    client = Client(serve(Route("POST", "/echo", echo), tls=context))
    data = os.urandom(100_000)
    client.send(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n" + data)
    answer = b""
    while not answer.endswith(data):
        answer += client.receive()
    client.close()


def test_both_directions_end_by_themselves(serve: Serve, context: ssl.SSLContext) -> None:
    async def reverse(fd: int) -> None:
        await asyncio.to_thread(_reverse, socket.socket(fileno=fd))

    async def attach(request: Request) -> Answer:
        return Hijack(reverse)

    client = Client(serve(Route("POST", "/attach", attach), tls=context))
    client.send(b"POST /attach HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n")
    assert client.receive().endswith(b"\r\n\r\n")
    client.send(b"input")
    client.finish()
    assert client.receive() == b"tupni"
    assert client.receive() == b""
    client.close()


def _reverse(container: socket.socket) -> None:
    with container:
        container.setblocking(True)
        data = b""
        while piece := container.recv(100):
            data += piece
        container.sendall(data[::-1])


@pytest.mark.parametrize("politely", [True, False])
def test_a_stream_ends_with_its_client(serve: Serve, context: ssl.SSLContext, politely: bool) -> None:
    ended = threading.Event()

    async def stream(request: Request) -> Answer:
        return Stream(chunks())

    async def chunks() -> AsyncGenerator[bytes, None]:
        try:
            yield b"some"
            await asyncio.Event().wait()
        finally:
            ended.set()

    client = Client(serve(Route("GET", "/stream", stream), tls=context))
    client.send(b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
    client.receive()
    if politely:
        client.finish()
    client.close()
    assert ended.wait(5)


def test_a_client_without_tls(serve: Serve, context: ssl.SSLContext) -> None:
    answer = serve(tls=context).ask(b"GET / HTTP/1.1\r\nHost: x\r\n\r\n")
    assert not answer.startswith(b"HTTP/")
