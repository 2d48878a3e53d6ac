"""What a client sends reaches the process, whenever it was sent."""

from __future__ import annotations

import os
import pty
import socket
from collections.abc import Iterator

import pytest

from knarr.compute.native.messages import AttachSpec
from knarr.compute.native.reactor import Reactor
from knarr.compute.native.streams import Streams


@pytest.fixture
def attached() -> Iterator[tuple[Streams, Reactor, socket.socket]]:
    """Streams without a process yet, and the client that is attached to them."""
    client, theirs = socket.socketpair()
    reactor = Reactor()
    streams = Streams(reactor)
    streams.attach(AttachSpec(stdin=True, stdin_once=True, framed=False), theirs.detach())
    yield streams, reactor, client
    streams.drain()
    streams.hang_up()
    reactor.close()
    client.close()


def test_input_waits_for_the_terminal(attached: tuple[Streams, Reactor, socket.socket]) -> None:
    streams, reactor, client = attached
    client.sendall(b"early\n")
    master, slave = pty.openpty()
    streams.use_terminal(master)
    reactor.poll_once()
    assert os.read(slave, 100) == b"early\n"
    os.close(slave)


def test_the_end_of_input_waits_for_the_pipes(attached: tuple[Streams, Reactor, socket.socket]) -> None:
    streams, reactor, client = attached
    client.sendall(b"early")
    client.shutdown(socket.SHUT_WR)
    (stdin, our_stdin), (our_stdout, stdout), (our_stderr, stderr) = os.pipe(), os.pipe(), os.pipe()
    streams.use_pipes(our_stdin, our_stdout, our_stderr)
    for _ in range(2):
        reactor.poll_once()
    assert (os.read(stdin, 100), os.read(stdin, 100)) == (b"early", b"")
    for fd in (stdin, stdout, stderr):
        os.close(fd)
