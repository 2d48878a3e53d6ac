"""The client for ordinary code: one call after the other, on blocking sockets."""

from __future__ import annotations

import _socket
import os
import select

from knarr.client import address as addresses
from knarr.client import system
from knarr.client.calls import Wire, next_piece
from knarr.client.errors import ConnectionFailed

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from collections.abc import Iterator
    from typing import Generic, Self, TypeVar

    from knarr.client.address import Address
    from knarr.client.calls import Call, Conversation, Feed, Opened, Takeover

    T = TypeVar("T")
else:
    T = None

    class Generic:
        """Stands in for typing's, whose import takes longer than a command's own work."""

        def __class_getitem__(cls, _: object) -> type:
            return cls


_PIECE = 1 << 17


class Client:
    """An engine, reached at `address` (default: what the environment names; see address.from_environment).

    `version` is the API version to speak; without one it is negotiated before the first call. Not for several threads
    at once: each takes a client of its own. A context manager.
    """

    def __init__(self, address: Address | str | None = None, *, version: str | None = None) -> None:
        if address is None:
            address = addresses.from_environment(os.environ)
        self.address = addresses.parse(address) if isinstance(address, str) else address
        self._version = version
        self._idle: Socket | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection that is kept for the next call; streams and channels are their owners'."""
        if self._idle is not None:
            self._idle.close()
            self._idle = None

    @property
    def version(self) -> str:
        """The API version that is spoken. Raises as `call` does when it has to be negotiated."""
        if self._version is None:
            self._version = self._carry_out(system.negotiate(), system.OLDEST_VERSION)[0]
        return self._version

    def call(self, call: Call[T]) -> T:
        """Carry out a request and give its answer. Raises EngineError or ConnectionFailed."""
        return self._carry_out(call, self.version)[0]

    def stream(self, feed: Feed[T]) -> Stream[T]:
        """Carry out a request whose answer comes bit by bit. Returns when the answer's headers are there."""
        opened, connection = self._carry_out(feed, self.version, keep=True)
        assert connection is not None
        return Stream(connection, opened)

    def hijack(self, call: Call[Takeover]) -> Channel:
        """Carry out a request that turns its connection into a two-way stream."""
        taken, connection = self._carry_out(call, self.version, keep=True)
        assert connection is not None
        return Channel(connection, taken)

    def _carry_out(self, call: Call[T], version: str, *, keep: bool = False) -> tuple[T, Socket | None]:
        """The answer, and with `keep` the connection, which then is the caller's."""
        connection = self._connection()
        wire = Wire(self.address.host_header, self.address.prefix, version)
        try:
            answer = _drive(connection, call(wire))
        except BaseException:
            connection.close()
            raise
        if keep:
            return answer, connection
        if wire.reusable:
            self._idle = connection
        else:
            connection.close()
        return answer, None

    def _connection(self) -> Socket:
        connection, self._idle = self._idle, None
        if connection is None:
            return self.address.connect()
        if select.select([connection], [], [], 0)[0]:  # an idle connection has nothing to say: it was closed
            connection.close()
            return self.address.connect()
        return connection


def _drive(connection: Socket, conversation: Conversation[T]) -> T:
    try:
        step = next(conversation)
        while True:
            try:
                reply = _do(connection, step)
            except ConnectionError as error:
                step = conversation.throw(error)
            else:
                step = conversation.send(reply)
    except StopIteration as stop:
        return stop.value  # type: ignore[no-any-return]
    except ConnectionError as error:
        raise ConnectionFailed(f"the connection to the engine broke: {error.strerror}") from error


def _do(connection: Socket, step: bytes | Iterator[bytes] | None) -> bytes:
    if step is None:
        return connection.recv(_PIECE)
    if isinstance(step, bytes):
        connection.sendall(step)
        return b""
    return next_piece(step)


class Stream(Generic[T]):
    """An answer that comes bit by bit: an iterator, a context manager, and something to poll for reading."""

    def __init__(self, connection: Socket, opened: Opened[T]) -> None:
        self._connection = connection
        self._reader, self._decoder, rest = opened
        self._items = self._decode(rest) if rest else iter(())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    def fileno(self) -> int:
        return self._connection.fileno()

    def __iter__(self) -> Self:
        return self

    def __next__(self) -> T:
        while True:
            for item in self._items:
                return item
            if self._reader.finished:
                raise StopIteration
            self._items = self._receive()

    def _receive(self) -> Iterator[T]:
        try:
            return self._decode(self._connection.recv(_PIECE))
        except ConnectionError as error:
            raise ConnectionFailed(f"the connection to the engine broke: {error.strerror}") from error

    def _decode(self, data: bytes) -> Iterator[T]:
        items = list(self._decoder.feed(self._reader.feed(data)))
        if self._reader.finished:
            items.extend(self._decoder.end())
        return iter(items)


class Channel:
    """A connection that is a two-way stream now: `socket` is the caller's, `early` came before the first recv."""

    __slots__ = ("early", "media_type", "socket")

    def __init__(self, connection: Socket, taken: Takeover) -> None:
        self.socket = connection
        self.early = taken.early
        self.media_type = taken.media_type

    def finish_writing(self) -> None:
        """Close our half: the other side sees the end of its input and goes on writing."""
        try:
            if hasattr(self.socket, "unwrap"):
                self._send_close_notify()
            else:
                self.socket.shutdown(_socket.SHUT_WR)
        except OSError:
            pass  # the peer was faster

    def _send_close_notify(self) -> None:
        """TLS has no half-close, but a close_notify of ours leaves the other direction open."""
        import ssl

        blocking = self.socket.getblocking()
        self.socket.setblocking(False)
        try:
            self.socket.unwrap()  # type: ignore[attr-defined]
        except ssl.SSLWantReadError:
            pass  # sent; it would now wait for the peer's
        finally:
            self.socket.setblocking(blocking)

    def close(self) -> None:
        self.socket.close()
