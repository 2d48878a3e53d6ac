"""Both clients against a server that answers as each test says: one behaviour, two transports."""

from __future__ import annotations

import asyncio
import select
import socket
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from stub_engine import Handler, Request, StubEngine, answer

from knarr.client import AsyncClient, Client, containers, images, system
from knarr.client.errors import Conflict, ConnectionFailed, EngineError, NotFound
from knarr.errors import NotFound as EngineNotFound

Serve = Callable[[Handler], StubEngine]


@pytest.fixture
def serve(tmp_path: Path) -> Iterator[Serve]:
    running: list[StubEngine] = []

    def start(handler: Handler) -> StubEngine:
        running.append(StubEngine(tmp_path, handler).__enter__())
        return running[-1]

    yield start
    for engine in running:
        engine.__exit__()


class _Sync:
    """The synchronous client behind the tests' little interface."""

    @staticmethod
    def call(host: str, *calls: Any) -> list[Any]:
        with Client(host) as client:
            return [client.call(call) for call in calls]

    @staticmethod
    def stream(host: str, feed: Any, version: str | None = None) -> list[Any]:
        with Client(host, version=version) as client, client.stream(feed) as items:
            return list(items)

    @staticmethod
    def hijack(host: str, call: Any, typed: bytes) -> bytes:
        with Client(host) as client:
            channel = client.hijack(call)
            channel.socket.sendall(typed)
            channel.finish_writing()
            received = channel.early
            while data := channel.socket.recv(100):
                received += data
            channel.close()
            return received


class _Async:
    """The asyncio client behind the same."""

    @staticmethod
    def call(host: str, *calls: Any) -> list[Any]:
        async def run() -> list[Any]:
            async with AsyncClient(host) as client:
                return [await client.call(call) for call in calls]

        return asyncio.run(run())

    @staticmethod
    def stream(host: str, feed: Any, version: str | None = None) -> list[Any]:
        async def run() -> list[Any]:
            async with AsyncClient(host, version=version) as client, await client.stream(feed) as items:
                return [item async for item in items]

        return asyncio.run(run())

    @staticmethod
    def hijack(host: str, call: Any, typed: bytes) -> bytes:
        async def run() -> bytes:
            async with AsyncClient(host) as client:
                channel = await client.hijack(call)
                channel.writer.write(typed)
                channel.finish_writing()
                received = channel.early + await channel.reader.read()
                channel.close()
                return received

        return asyncio.run(run())


@pytest.fixture(params=[_Sync, _Async], ids=["sync", "async"])
def client(request: pytest.FixtureRequest) -> Any:
    return request.param


def _says(*parts: bytes) -> Handler:
    def handler(request: Request, connection: socket.socket) -> None:
        for part in parts:
            connection.sendall(part)

    return handler


def test_the_version_is_negotiated_once(client: Any, serve: Serve) -> None:
    engine = serve(_says(answer(200, b"[]")))
    assert client.call(engine.host, containers.list_all(), images.list_all()) == [[], []]
    targets = [(request.method, request.target) for request in engine.requests]
    assert targets == [("HEAD", "/_ping"), ("GET", "/v1.50/containers/json"), ("GET", "/v1.50/images/json")]


def test_an_older_engine_is_spoken_to_in_its_version() -> None:
    response = type("R", (), {"headers": {"api-version": "1.9"}})()
    assert system._common_version(response) == "1.9"
    response.headers = {"api-version": "1.99"}
    assert system._common_version(response) == "1.50"


def test_a_body_is_json(client: Any, serve: Serve) -> None:
    engine = serve(_says(answer(201, b'{"Id":"x","Warnings":[]}')))
    [made] = client.call(engine.host, containers.create({"Image": "å"}, name="n", platform=None))
    assert made == {"Id": "x", "Warnings": []}
    sent = engine.requests[-1]
    assert (sent.target, sent.headers["content-type"]) == ("/v1.50/containers/create?name=n", "application/json")
    assert sent.body == b'{"Image": "\\u00e5"}'


@pytest.mark.parametrize(
    ("status", "body", "kind", "words"),
    [
        (404, b'{"message":"No such container: x"}\n', NotFound, "No such container: x"),
        (409, b'{"message":"busy"}', Conflict, "busy"),
        (418, b"a teapot", EngineError, "a teapot"),
        (500, b"", EngineError, "request returned status 500"),
    ],
)
def test_errors(client: Any, serve: Serve, status: int, body: bytes, kind: type[EngineError], words: str) -> None:
    engine = serve(_says(answer(status, body)))
    with pytest.raises(kind) as caught:
        client.call(engine.host, containers.inspect("x"))
    assert (caught.value.status, str(caught.value)) == (status, words)


def test_an_error_is_the_engines_class_too(serve: Serve) -> None:
    engine = serve(_says(answer(404, b"{}")))
    with pytest.raises(EngineNotFound):
        _Sync.call(engine.host, containers.inspect("x"))


def test_already_so_is_no_error(client: Any, serve: Serve) -> None:
    engine = serve(_says(b"HTTP/1.1 304 Not Modified\r\n\r\n"))
    assert client.call(engine.host, containers.start("x"), containers.start("y")) == [None, None]


def test_items_of_a_stream(client: Any, serve: Serve) -> None:
    head = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
    engine = serve(_says(head + b"5\r\n{}\n{}\r\n", b"9\r\n\n[1]\n[2]\n\r\n", b"0\r\n\r\n"))
    assert client.stream(engine.host, system.events()) == [{}, {}, [1], [2]]


def test_a_stream_that_breaks(client: Any, serve: Serve) -> None:
    def handler(request: Request, connection: socket.socket) -> None:
        connection.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\n{}\n{}\r\n")
        connection.shutdown(socket.SHUT_RDWR)

    engine = serve(handler)
    with pytest.raises(ConnectionFailed):
        client.stream(engine.host, system.events())


def test_logs_are_told_apart(client: Any, serve: Serve) -> None:
    frames = b"\1\0\0\0\0\0\0\2ab\2\0\0\0\0\0\0\1c"
    engine = serve(_says(answer(200, frames)))
    assert client.stream(engine.host, containers.logs("x", tty=False)) == [(1, b"ab"), (2, b"c")]
    assert client.stream(engine.host, containers.logs("x", tty=True)) == [(1, frames)]


def test_an_upload_is_sent_in_chunks(client: Any, serve: Serve) -> None:
    engine = serve(_says(answer(200, b'{"stream":"Loaded"}\n')))
    assert client.stream(engine.host, images.load(iter([b"abc", b"", b"d" * 70_000]))) == [{"stream": "Loaded"}]
    assert engine.requests[-1].body == b"abc" + b"d" * 70_000


def test_an_upload_that_is_refused_early(client: Any, tmp_path: Path) -> None:
    """The answer is read although not all could be sent; when the connection is reset first, that is told."""
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(tmp_path / "refusing"))
        listener.listen()
        thread = threading.Thread(target=_refuse_uploads, args=(listener,))
        thread.start()
        pieces = iter([b"x" * 100_000] * 100)
        with pytest.raises((NotFound, ConnectionFailed)):
            client.stream(f"unix://{tmp_path}/refusing", images.load(pieces), version="1.50")
        thread.join()


def _refuse_uploads(listener: socket.socket) -> None:
    connection, _ = listener.accept()
    with connection:
        connection.recv(1000)
        connection.sendall(answer(404, b'{"message":"no"}'))


@pytest.mark.parametrize("head", [b"HTTP/1.1 101 UPGRADED\r\nUpgrade: tcp\r\n\r\n", b"HTTP/1.1 200 OK\r\n\r\n"])
def test_a_taken_over_connection(client: Any, serve: Serve, head: bytes) -> None:
    def handler(request: Request, connection: socket.socket) -> None:
        connection.sendall(head + b"early ")
        typed = b""
        while data := connection.recv(100):
            typed += data
        connection.sendall(b"got " + typed)
        connection.shutdown(socket.SHUT_RDWR)

    engine = serve(handler)
    assert client.hijack(engine.host, containers.attach("x", stdin=True, stdout=True), b"typed") == b"early got typed"
    assert engine.requests[-1].headers["upgrade"] == "tcp"
    assert engine.requests[-1].target == "/v1.50/containers/x/attach?stdin=1&stdout=1&stream=1"


def test_a_connection_that_was_closed_meanwhile_is_not_used_again(serve: Serve) -> None:
    def handler(request: Request, connection: socket.socket) -> None:
        connection.sendall(answer(200, b"[]"))
        connection.shutdown(socket.SHUT_RDWR)

    with Client(serve(handler).host) as client:
        for _ in range(3):
            assert client.call(containers.list_all()) == []
            assert client._idle is not None
            select.select([client._idle], [], [], 5)  # until the close is there


def test_a_connection_that_is_to_be_closed_is_not_kept(client: Any, serve: Serve) -> None:
    engine = serve(_says(answer(200, b"[]", headers="Connection: close\r\n")))
    assert client.call(engine.host, *[containers.list_all()] * 3) == [[]] * 3
    assert len(engine.requests) == 4


def test_nobody_answers(client: Any, tmp_path: Path) -> None:
    with pytest.raises(ConnectionFailed, match="Is the docker daemon running"):
        client.call(f"unix://{tmp_path}/nothing", system.version())


def test_an_empty_answer(client: Any, serve: Serve) -> None:
    engine = serve(lambda request, connection: connection.shutdown(socket.SHUT_RDWR))
    with pytest.raises(ConnectionFailed):
        client.call(engine.host, system.version())
