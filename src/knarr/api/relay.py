"""Two sockets joined: what one receives the other sends, ends of data included, as fast as the slower one goes."""

from __future__ import annotations

import asyncio
import select
import socket
from typing import cast


class End(asyncio.Protocol):
    """One of the two. What arrives goes to `other`, set by `join`; subclasses translate on the way in or out."""

    other: End
    transport: asyncio.Transport

    def __init__(self) -> None:
        self.finished = False
        """Nothing more will arrive."""

    # What the transport calls

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self.transport = cast(asyncio.Transport, transport)

    def data_received(self, data: bytes) -> None:
        self.other.send(data)

    def eof_received(self) -> bool:
        self.end_of_data()
        return not _hung_up(self.transport)

    def connection_lost(self, exc: Exception | None) -> None:
        self.other.close()

    def pause_writing(self) -> None:
        self.other.transport.pause_reading()

    def resume_writing(self) -> None:
        self.other.transport.resume_reading()

    # What subclasses and the other end call

    def end_of_data(self) -> None:
        """Tell the other end that nothing more will arrive here."""
        if not self.finished:
            self.finished = True
            self.other.finish()
        if self.other.finished:
            self.close()
            self.other.close()

    def send(self, data: bytes) -> None:
        """Send, or keep until it can be sent."""
        self.transport.write(data)

    def finish(self) -> None:
        """Send what is left, then the end of data; go on receiving."""
        if not self.transport.is_closing():
            self.transport.write_eof()

    def close(self) -> None:
        """Send what is left, then close. May be called more than once."""
        self.transport.close()


async def join(
    first: End, first_socket: socket.socket, second: End, second_socket: socket.socket, ahead: bytes
) -> None:
    """Make a relay of two connected sockets, which it owns from here. `ahead` counts as received by `first`."""
    first.other, second.other = second, first
    loop = asyncio.get_running_loop()
    await loop.connect_accepted_socket(lambda: second, second_socket)
    second.transport.pause_reading()
    await loop.connect_accepted_socket(lambda: first, first_socket)
    if ahead:
        first.data_received(ahead)
    second.transport.resume_reading()


async def behind(end: End, client: socket.socket, ahead: bytes) -> socket.socket:
    """Put a relay in front of `client` and return the socket behind it. On failure `client` stays the caller's."""
    ours, theirs = socket.socketpair()
    try:
        await join(end, client, End(), ours, ahead)
    except BaseException:
        ours.close()
        theirs.close()
        raise
    return theirs


def _hung_up(transport: asyncio.Transport) -> bool:
    """Whether the peer of a unix socket has closed it, instead of having finished sending only."""
    poll = select.poll()
    poll.register(transport.get_extra_info("socket").fileno(), 0)
    return any(events & select.POLLHUP for _, events in poll.poll(0))
