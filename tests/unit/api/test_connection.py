"""HTTP on a real socket: keep-alive, pipelining, bodies, streams, clients that leave."""

from __future__ import annotations

import asyncio
import hashlib
import socket
import threading
from collections.abc import AsyncGenerator, Callable
from typing import Any

import pytest

from knarr.api.messages import Answer, Request, Response, Stream, json_answer
from knarr.api.routing import Route
from knarr.engine.config import CreateBody
from knarr.errors import Conflict, KnarrError, NotModified

Serve = Callable[..., Any]


async def echo(request: Request) -> Answer:
    return Response(body=await request.body.read())


async def path(request: Request) -> Answer:
    return Response(body=request.path.encode())


async def digest(request: Request) -> Answer:
    """Reads in a thread, in small pieces."""
    file = request.body.file()
    return Response(body=(await asyncio.to_thread(_sha256, file)).encode())


def _sha256(file: Any) -> str:
    total = hashlib.sha256()
    while piece := file.read(1000):
        total.update(piece)
    return total.hexdigest()


async def image(request: Request) -> Answer:
    return json_answer((await request.json(CreateBody, required=True)).image)


def bodies(answer: bytes) -> bytes:
    return answer.partition(b"\r\n\r\n")[2]


LAST = b"Host: x\r\nConnection: close\r\n"


def test_keep_alive(serve: Serve) -> None:
    server = serve(Route("GET", "/a", path), Route("GET", "/b", path))
    with server.connect() as client:
        for name in (b"/a", b"/b", b"/a"):
            client.sendall(b"GET %b HTTP/1.1\r\nHost: x\r\n\r\n" % name)
            answer = client.recv(4096)
            assert answer.startswith(b"HTTP/1.1 200 OK\r\n")
            assert bodies(answer) == name


def test_pipelined_requests_are_answered_in_order(serve: Serve) -> None:
    server = serve(Route("GET", "/n/{n}", path), Route("POST", "/n/{n}", echo))
    data = b"".join(
        b"GET /n/%d HTTP/1.1\r\nHost: x\r\n\r\nPOST /n/x HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\n\r\n<%d>" % (n, n)
        for n in range(9)
    )
    answer = server.ask(data + b"GET /n/end HTTP/1.1\r\n" + LAST + b"\r\n")
    assert [part.rpartition(b"\r\n\r\n")[2] for part in answer.split(b"HTTP/1.1 200 OK\r\n")[1:]] == [
        *(word for n in range(9) for word in (b"/n/%d" % n, b"<%d>" % n)),
        b"/n/end",
    ]


def test_a_request_in_single_bytes(serve: Serve) -> None:
    server = serve(Route("POST", "/echo", echo))
    with server.connect() as client:
        for byte in b"POST /echo HTTP/1.1\r\n" + LAST + b"Content-Length: 4\r\n\r\nbody":
            client.sendall(bytes([byte]))
        assert bodies(client.recv(4096)) == b"body"


def test_a_client_that_finishes_sending_is_answered(serve: Serve) -> None:
    server = serve(Route("GET", "/a", path))
    with server.connect() as client:
        client.sendall(b"GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        client.shutdown(socket.SHUT_WR)
        assert bodies(client.recv(4096)) == b"/a"
        assert client.recv(1) == b""


def test_head_has_the_length_only(serve: Serve) -> None:
    answer = serve(Route("HEAD", "/a", path)).ask(b"HEAD /a HTTP/1.1\r\n" + LAST + b"\r\n")
    assert b"Content-Length: 2\r\n" in answer
    assert bodies(answer) == b""


def test_http_1_0(serve: Serve) -> None:
    answer = serve(Route("GET", "/a", path)).ask(b"GET /a HTTP/1.0\r\n\r\n")
    assert bodies(answer) == b"/a"


def test_a_chunked_body_read_by_a_thread(serve: Serve) -> None:
    server = serve(Route("POST", "/digest", digest))
    data = bytes(range(256)) * 5000
    with server.connect() as client:
        client.sendall(b"POST /digest HTTP/1.1\r\n" + LAST + b"Transfer-Encoding: chunked\r\n\r\n")
        for at in range(0, len(data), 32 << 10):
            piece = data[at : at + (32 << 10)]
            client.sendall(b"%x\r\n%b\r\n" % (len(piece), piece))
        client.sendall(b"0\r\n\r\n")
        assert bodies(client.recv(4096)) == hashlib.sha256(data).hexdigest().encode()


def test_nobody_reads_ahead_of_a_slow_handler(serve: Serve) -> None:
    """A client cannot send more than the sockets and the read-ahead hold while nothing is taken."""
    go = threading.Event()

    async def slow(request: Request) -> Answer:
        await asyncio.to_thread(go.wait)
        await request.body.discard(1 << 30)
        return Response()

    with serve(Route("POST", "/slow", slow)).connect() as client:
        client.sendall(b"POST /slow HTTP/1.1\r\n" + LAST + b"Content-Length: 8000000\r\n\r\n")
        client.settimeout(0.3)
        with pytest.raises(TimeoutError):
            client.sendall(bytes(8_000_000))
        go.set()


def test_expect_100_continue(serve: Serve) -> None:
    server = serve(Route("POST", "/echo", echo))
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\n" + LAST + b"Expect: 100-continue\r\nContent-Length: 2\r\n\r\n")
        assert client.recv(4096) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"hi")
        assert bodies(client.recv(4096)) == b"hi"


def test_an_answer_instead_of_100_continue_ends_the_connection(serve: Serve) -> None:
    head = b"POST /nothing HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    answer = serve().ask(head)
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert b"Connection: close\r\n" in answer


def test_an_unread_body_does_not_hide_the_next_request(serve: Serve) -> None:
    server = serve(Route("GET", "/a", path))
    data = b"POST /nothing HTTP/1.1\r\nHost: x\r\nContent-Length: 1000000\r\n\r\n" + bytes(1_000_000)
    answer = server.ask(data + b"GET /a HTTP/1.1\r\n" + LAST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 404 ")
    assert answer.endswith(b"\r\n\r\n/a")


def test_json_beyond_the_limit(serve: Serve) -> None:
    size = (4 << 20) + 1
    head = b"POST /image HTTP/1.1\r\n" + LAST + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % size
    answer = serve(Route("POST", "/image", image)).ask(head + b" " * size)
    assert answer.startswith(b"HTTP/1.1 413 ")


@pytest.mark.parametrize(
    ("headers", "body", "status"),
    [
        (b"Content-Type: application/json\r\n", b'{"image":"a"}', 200),
        (b"Content-Type: text/plain\r\n", b'{"image":"a"}', 400),
        (b"", b'{"image":"a"}', 400),
        (b"Content-Type: application/json\r\n", b"", 400),
        (b"Content-Type: application/json\r\n", b"{", 400),
    ],
)
def test_json_bodies(serve: Serve, headers: bytes, body: bytes, status: int) -> None:
    head = b"POST /image HTTP/1.1\r\n" + LAST + headers + b"Content-Length: %d\r\n\r\n" % len(body)
    answer = serve(Route("POST", "/image", image)).ask(head + body)
    assert answer.startswith(b"HTTP/1.1 %d " % status)


@pytest.mark.parametrize(
    "data",
    [
        b"hello\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n",
        b"GET /a HTTP/1.1\r\nHost: x\r\nX: " + b"y" * 100_000,
        b"\x16\x03\x01\r\n\r\n",
        b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: " + b"9" * 20 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http(serve: Serve, data: bytes) -> None:
    assert serve(Route("GET", "/", path)).ask(data).startswith(b"HTTP/1.1 4")


def test_a_version_that_is_not_spoken(serve: Serve) -> None:
    server = serve(Route("GET", "/a", path))
    assert server.ask(b"GET /a HTTP/9.9\r\nHost: x\r\n\r\n").startswith(b"HTTP/1.1 505 ")


def test_a_whole_url_as_the_target(serve: Serve) -> None:
    server = serve(Route("GET", "/a", path))
    assert bodies(server.ask(b"GET http://localhost/a HTTP/1.1\r\n" + LAST + b"\r\n")) == b"/a"


@pytest.mark.parametrize("target", [b"*", b"x:1", b"http://"])
def test_a_target_that_is_no_path(serve: Serve, target: bytes) -> None:
    server = serve(Route("GET", "/a", path))
    assert server.ask(b"GET %b HTTP/1.1\r\n" % target + LAST + b"\r\n").startswith(b"HTTP/1.1 404 ")


def test_nothing_is_taken_for_a_request_after_a_broken_body(serve: Serve) -> None:
    server = serve(Route("POST", "/echo", echo))
    request = b"POST /echo HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n"
    answer = server.ask(request + b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n")
    assert answer.startswith(b"HTTP/1.1 400 ")
    assert b"Connection: close" in answer
    assert answer.count(b"HTTP/1.1") == 1


def test_a_body_that_ends_early(serve: Serve) -> None:
    server = serve(Route("POST", "/echo", echo))
    with server.connect() as client:
        client.sendall(b"POST /echo HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\nhalf")
        client.shutdown(socket.SHUT_WR)
        assert client.recv(4096).startswith(b"HTTP/1.1 400 ")
        assert client.recv(4096) == b""


@pytest.mark.parametrize(
    ("error", "status"),
    [(Conflict("in use"), b"409 Conflict"), (KnarrError("broken"), b"500 "), (ValueError("a defect"), b"500 ")],
)
def test_errors(serve: Serve, error: Exception, status: bytes) -> None:
    async def fail(request: Request) -> Answer:
        raise error

    answer = serve(Route("GET", "/a", fail)).ask(b"GET /a HTTP/1.1\r\n" + LAST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 " + status)
    assert bodies(answer) == b'{"message":"%b"}\n' % str(error).encode()


def test_not_modified_has_no_body(serve: Serve) -> None:
    async def same(request: Request) -> Answer:
        raise NotModified("already so")

    answer = serve(Route("POST", "/a", same)).ask(b"POST /a HTTP/1.1\r\n" + LAST + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 304 Not Modified\r\n")
    assert bodies(answer) == b""


class Tap:
    """A handler whose stream is fed by the test, and which tells when it has ended."""

    def __init__(self) -> None:
        self.ended = threading.Event()
        self.more = asyncio.Event()

    async def __call__(self, request: Request) -> Answer:
        return Stream(self._chunks(), "text/plain")

    async def _chunks(self) -> AsyncGenerator[bytes, None]:
        try:
            await self.more.wait()
            yield b"more"
            await asyncio.Event().wait()
        finally:
            self.ended.set()


STREAM = b"GET /stream HTTP/1.1\r\nHost: x\r\n\r\n"


def test_a_stream_sends_its_headers_at_once(serve: Serve) -> None:
    tap = Tap()
    server = serve(Route("GET", "/stream", tap))
    with server.connect() as client:
        client.sendall(STREAM)
        head = client.recv(4096)
        assert head.startswith(b"HTTP/1.1 200 OK\r\n")
        assert head.endswith(b"\r\n\r\n")
        server.loop.call_soon_threadsafe(tap.more.set)
        assert client.recv(4096) == b"4\r\nmore\r\n"


def test_a_stream_ends_with_its_client(serve: Serve) -> None:
    tap = Tap()
    with serve(Route("GET", "/stream", tap)).connect() as client:
        client.sendall(STREAM)
        client.recv(4096)
    assert tap.ended.wait(5)


def test_a_stream_goes_on_for_a_client_that_only_reads(serve: Serve) -> None:
    tap = Tap()
    server = serve(Route("GET", "/stream", tap))
    with server.connect() as client:
        client.sendall(STREAM)
        client.shutdown(socket.SHUT_WR)
        client.recv(4096)
        server.loop.call_soon_threadsafe(tap.more.set)
        assert client.recv(4096) == b"4\r\nmore\r\n"
        assert not tap.ended.is_set()
    assert tap.ended.wait(5)


def test_other_work_goes_on_without_its_client(serve: Serve) -> None:
    go, done = threading.Event(), threading.Event()

    async def work(request: Request) -> Answer:
        await asyncio.to_thread(go.wait)
        done.set()
        return Response()

    with serve(Route("POST", "/work", work)).connect() as client:
        client.sendall(b"POST /work HTTP/1.1\r\nHost: x\r\n\r\n")
    go.set()
    assert done.wait(5)


def test_a_stream_waits_for_a_slow_client(serve: Serve) -> None:
    made = 0

    async def flood(request: Request) -> Answer:
        return Stream(chunks())

    async def chunks() -> AsyncGenerator[bytes, None]:
        nonlocal made
        for _ in range(1000):
            made += 1
            yield bytes(64 << 10)
            await asyncio.sleep(0)

    server = serve(Route("GET", "/stream", flood))
    with server.connect() as client:
        client.sendall(STREAM)
        client.recv(10)
        server.run(asyncio.sleep(0.2))
        assert made < 50


def test_a_stream_that_fails_is_cut_off(serve: Serve) -> None:
    async def fail(request: Request) -> Answer:
        return Stream(chunks())

    async def chunks() -> AsyncGenerator[bytes, None]:
        yield b"some"
        raise KnarrError("no more")

    answer = serve(Route("GET", "/stream", fail)).ask(STREAM)
    assert answer.endswith(b"4\r\nsome\r\n")


def test_close_ends_streams_and_idle_connections(serve: Serve) -> None:
    tap = Tap()
    server = serve(Route("GET", "/stream", tap))
    with server.connect() as idle, server.connect() as streaming:
        streaming.sendall(STREAM)
        streaming.recv(4096)
        server.run(server.listening.close())
        assert tap.ended.is_set()
        assert idle.recv(1) == streaming.recv(1) == b""
