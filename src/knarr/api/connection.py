"""One HTTP/1.1 connection: requests are read, answered in their order, and streams are fed as fast as they are read.

h11 parses requests and their bodies, a new parser for each; answers are written here, at a fifth of h11's price.
One task per connection. What becomes of a request when its client goes away: an answer that streams is cancelled,
anything else is carried through.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import select
import socket
from collections.abc import Awaitable, Callable
from http import HTTPStatus
from typing import TYPE_CHECKING, Any, cast

import h11

from knarr.api import hijacking, writing
from knarr.api.body import Body
from knarr.api.encoding import error_answer
from knarr.api.messages import Answer, Hijack, Request, Response, Stream
from knarr.api.uploading import Upload
from knarr.errors import InvalidParameter

if TYPE_CHECKING:
    from knarr.engine.engine import Engine

_log = logging.getLogger(__name__)

Dispatch = Callable[[Request], Awaitable[Answer]]

_HEADER_LIMIT = 64 << 10
_LENGTH_DIGITS = 18  # of a body, in bytes
_READ_AHEAD = 64 << 10  # what a client may send before anybody wants it
_WRITE_AHEAD = 256 << 10  # what a slow client leaves in our memory
_PIECE = 256 << 10  # of a body, at most, at once
_DISCARD_LIMIT = 256 << 20  # an unwanted body up to here is read, so that the client gets to the answer


class Connection(asyncio.Protocol):
    """Serves requests with `dispatch`. `on_end` is called when the connection has gone, or is somebody else's."""

    def __init__(self, engine: Engine, dispatch: Dispatch, on_end: Callable[[Connection], None]) -> None:
        self._engine = engine
        self._dispatch = dispatch
        self._on_end = on_end
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_LIMIT)
        self._arrived = asyncio.Event()  # bytes or their end
        self._writable = asyncio.Event()
        self._writable.set()
        self._unread = 0
        self._expects_100 = False  # the client waits for our 100 before it sends the body
        self._chunked = True
        self._half_closed = False
        self._lost = False
        self._idle = True
        self._streaming = False
        self._last = False
        self._hang_up: _HangUp | None = None

    def close(self) -> None:
        """End an idle connection or a stream now, anything else after its answer."""
        self._last = True
        if self._idle or self._streaming:
            self._task.cancel()

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)
        self._transport.set_write_buffer_limits(_WRITE_AHEAD)
        self._task = asyncio.get_running_loop().create_task(self._serve())

    def data_received(self, data: bytes) -> None:
        self._parser.receive_data(data)
        self._unread += len(data)
        if self._unread > _READ_AHEAD:
            self._transport.pause_reading()
        self._arrived.set()

    def eof_received(self) -> bool:
        """A client may have finished sending and go on reading."""
        self._parser.receive_data(b"")
        self._half_closed = True
        self._arrived.set()
        if self._streaming:
            self._watch_for_hang_up()
        return True

    def pause_writing(self) -> None:
        self._writable.clear()

    def resume_writing(self) -> None:
        self._writable.set()

    def connection_lost(self, exc: Exception | None) -> None:
        self._lost = True
        self._arrived.set()
        self._writable.set()
        if self._streaming:
            self._task.cancel()

    # Its task

    async def _serve(self) -> None:
        try:
            while await self._serve_one():
                self._begin_next()
        except h11.RemoteProtocolError as error:
            self._refuse(error)
        except ConnectionError:
            pass  # the client has gone, or cannot be answered any more
        finally:
            self._transport.close()
            self._on_end(self)

    async def _serve_one(self) -> bool:
        """Read and answer one request; False if it was the last."""
        self._idle = True
        head = await self._next_event()
        if not isinstance(head, h11.Request):
            return False
        self._idle = False
        request = self._request(head)
        try:
            return await self._handle(request)
        finally:
            request.body.close()

    async def _handle(self, request: Request) -> bool:
        answer = await self._answer(request)
        if isinstance(answer, Hijack):
            await self._hand_over(request, answer)
            return False
        if self._expects_100:
            self._last = True  # whether the body comes is open
        if isinstance(answer, Stream):
            await self._send_stream(request, answer)
        else:
            self._send(request, answer)
        return await self._finish(request)

    def _request(self, head: h11.Request) -> Request:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in head.headers}
        length = headers.get("content-length")
        _check_head(head.http_version, length)
        empty = length == "0" if length else "transfer-encoding" not in headers
        if empty:
            self._parser.next_event()  # the end of the message, which is there already
        self._expects_100 = not empty and self._parser.they_are_waiting_for_100_continue
        self._chunked = head.http_version != b"1.0"
        if not self._chunked or "close" in headers.get("connection", "").lower():
            self._last = True
        path, _, query = _origin_form(head.target.decode("latin-1")).partition("?")
        content_length = None if "transfer-encoding" in headers else int(length or 0)
        body = Body(self._next_piece, empty=empty, take_over=lambda: self._take_over(content_length))
        return Request(self._engine, head.method.decode("ascii"), path, query, headers, body)

    async def _answer(self, request: Request) -> Answer:
        try:
            return await self._dispatch(request)
        except Exception as error:  # whatever a handler raises is this request's failure, not the connection's
            if self._lost:
                raise ConnectionResetError("the client has gone") from error
            return error_answer(error)

    # Reading

    async def _next_event(self) -> Any:
        while True:
            event = self._parser.next_event()
            if event is not h11.NEED_DATA:
                return event
            if self._lost:
                raise ConnectionResetError("the client has gone")
            if self._expects_100:
                self._expects_100 = False
                self._write(writing.CONTINUE)
            self._arrived.clear()
            self._unread = 0
            self._transport.resume_reading()
            await self._arrived.wait()

    async def _next_piece(self) -> bytes:
        """As much of the body as is there: chunks of a client's small writes are handed on together."""
        pieces: list[bytes] = []
        size = 0
        try:
            while size < _PIECE and self._parser.their_state is h11.SEND_BODY:
                event = self._parser.next_event() if pieces else await self._next_event()
                if event is h11.NEED_DATA:
                    break
                if isinstance(event, h11.Data):
                    pieces.append(bytes(event.data))
                    size += len(event.data)
        except h11.RemoteProtocolError as error:
            self._last = True  # where the next request would begin is not known
            raise InvalidParameter(f"cannot read the request's body: {error}") from None
        return b"".join(pieces)

    def _take_over(self, length: int | None) -> Upload:
        """Let a thread read this request's body from the socket. What comes behind it is for a new parser."""
        if self._expects_100:
            self._expects_100 = False
            self._write(writing.CONTINUE)
        self._transport.pause_reading()
        ahead, ended = self._parser.trailing_data
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_LIMIT)
        loop = asyncio.get_running_loop()

        def go_on(rest: bytes) -> None:
            if rest:
                self._parser.receive_data(rest)
            if ended:
                self._parser.receive_data(b"")
            self._transport.resume_reading()

        client: socket.socket = self._transport.get_extra_info("socket").dup()
        return Upload(client, length, ahead, lambda rest: loop.call_soon_threadsafe(go_on, rest))

    # Writing

    def _write(self, data: bytes) -> None:
        if self._lost or self._transport.is_closing():
            raise ConnectionResetError("the client has gone")
        self._transport.write(data)

    def _send(self, request: Request, answer: Response) -> None:
        length = None
        if answer.status not in (HTTPStatus.NO_CONTENT, HTTPStatus.NOT_MODIFIED):
            length = len(answer.body)
        head = writing.head(answer.status, answer.headers, length=length, last=self._last)
        self._write(head if request.method == "HEAD" else head + answer.body)

    async def _send_stream(self, request: Request, answer: Stream) -> None:
        frame = writing.chunk if self._chunked else bytes
        headers = [("Content-Type", answer.content_type), *answer.headers]
        self._streaming = True
        try:
            async with contextlib.aclosing(answer.chunks) as chunks:
                self._write(writing.head(answer.status, headers, chunked=self._chunked, last=self._last))
                if self._half_closed:
                    self._watch_for_hang_up()
                async for data in chunks:
                    if data:
                        self._write(frame(data))
                    await self._writable.wait()
            if self._chunked:
                self._write(writing.LAST_CHUNK)
        except ConnectionResetError:
            raise  # nobody is left to be told
        except Exception as error:  # the status is out: all that can be done is to not end the answer properly
            if not self._lost:
                _log.error("%s %s is cut off", request.method, request.path, exc_info=error)
                self._transport.abort()
            raise ConnectionAbortedError("the answer is cut off") from error
        finally:
            self._streaming = False
            if self._hang_up is not None:
                self._hang_up.close()

    async def _finish(self, request: Request) -> bool:
        """Read what is left of the request; whether there may be another."""
        if self._expects_100:
            return False
        try:
            read = await request.body.discard(_DISCARD_LIMIT)
        except InvalidParameter:
            return False
        return read and not self._last

    def _begin_next(self) -> None:
        """The next request gets a parser of its own, and what has arrived of it."""
        ahead, ended = self._parser.trailing_data
        self._parser = h11.Connection(h11.SERVER, max_incomplete_event_size=_HEADER_LIMIT)
        if ahead:
            self._parser.receive_data(ahead)
        if ended:
            self._parser.receive_data(b"")

    def _refuse(self, error: h11.RemoteProtocolError) -> None:
        """Answer what is not HTTP."""
        if self._lost:
            return
        body = f"{error}\n".encode()
        headers = [("Content-Type", "text/plain; charset=utf-8")]
        self._write(writing.head(error.error_status_hint, headers, length=len(body), last=True) + body)

    # Endings

    async def _hand_over(self, request: Request, answer: Hijack) -> None:
        """Send the answer's head, let go of the socket, and give it away along with what was read too much."""
        await request.body.discard(_DISCARD_LIMIT)
        self._transport.pause_reading()
        self._transport.set_write_buffer_limits(0)
        self._write(hijacking.head(request, answer))
        await self._writable.wait()
        if self._lost:
            raise ConnectionResetError("the client has gone")
        ahead = self._parser.trailing_data[0]
        client: socket.socket = self._transport.get_extra_info("socket").dup()
        self._transport.abort()  # closes its own descriptor only
        await hijacking.hand_over(client, ahead, answer)

    def _watch_for_hang_up(self) -> None:
        if self._hang_up is None:
            self._hang_up = _HangUp(self._transport.get_extra_info("socket"), self._task)


def _check_head(version: bytes, length: str | None) -> None:
    """What h11 lets pass. Raises h11.RemoteProtocolError."""
    if version not in (b"1.0", b"1.1"):
        raise h11.RemoteProtocolError("unsupported protocol version", error_status_hint=505)
    if length is not None and len(length) > _LENGTH_DIGITS:
        raise h11.RemoteProtocolError("bad Content-Length")


def _origin_form(target: str) -> str:
    """A request's target as a path and a query: clients that take us for a proxy send whole URLs (RFC 9112, 3.2.2)."""
    if target.startswith(("http://", "https://")):
        return "/" + target.partition("://")[2].partition("/")[2]
    return target


class _HangUp:
    """Cancels a task once a client that has finished sending has stopped reading as well.

    A unix socket tells. TCP doesn't, before something is sent: there, as with dockerd, the first end is taken for both.
    """

    def __init__(self, client: socket.socket, task: asyncio.Task[None]) -> None:
        self._task = task
        self._epoll = select.epoll()
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(self._epoll.fileno(), self._hung_up)
        events = 0 if client.family == socket.AF_UNIX else select.EPOLLIN  # EPOLLHUP is always told
        self._epoll.register(client.fileno(), events)

    def _hung_up(self) -> None:
        self.close()
        self._task.cancel()

    def close(self) -> None:
        """Stop watching. May be called more than once."""
        if not self._epoll.closed:
            self._loop.remove_reader(self._epoll.fileno())
            self._epoll.close()
