"""The pump between a socket pair and the process's own standard streams (redirected to files and pipes)."""

from __future__ import annotations

import os
import signal
import socket
import threading
from collections.abc import Iterator
from typing import Any

import pytest

from knarr.cli.detach import KeyScanner
from knarr.cli.pump import Detached, Pump
from knarr.cli.signals import Interrupted, SignalPipe
from knarr.client.calls import Takeover
from knarr.client.decoders import Frames, OneStream
from knarr.client.synchronous import Channel


@pytest.fixture
def sides() -> Iterator[tuple[Channel, socket.socket]]:
    """(our end as a channel, the container's end)"""
    ours, theirs = socket.socketpair()
    with ours, theirs:
        yield Channel(ours, Takeover(b"", "")), theirs


@pytest.fixture
def typed() -> Iterator[tuple[int, Any]]:
    """(a descriptor to read from, where the test writes)"""
    reader, writer = os.pipe()
    file = os.fdopen(writer, "wb", buffering=0)
    yield reader, file
    os.close(reader)
    file.close()


def _frame(stream: int, data: bytes) -> bytes:
    return bytes([stream, 0, 0, 0]) + len(data).to_bytes(4, "big") + data


def test_streams_are_told_apart(sides: tuple[Channel, socket.socket], capfd: pytest.CaptureFixture[str]) -> None:
    channel, container = sides
    container.sendall(_frame(1, b"out") + _frame(2, b"err") + _frame(1, b"!"))
    container.shutdown(socket.SHUT_WR)
    Pump(channel, Frames(), stdin=None).run()
    assert capfd.readouterr() == ("out!", "err")


def test_early_bytes_come_first(capfd: pytest.CaptureFixture[str]) -> None:
    ours, container = socket.socketpair()
    with ours, container:
        container.sendall(b"later")
        container.shutdown(socket.SHUT_WR)
        Pump(Channel(ours, Takeover(b"early ", "")), OneStream(), stdin=None).run()
    assert capfd.readouterr().out == "early later"


def test_the_end_of_input_leaves_output_open(
    sides: tuple[Channel, socket.socket], typed: tuple[int, Any], capfd: pytest.CaptureFixture[str]
) -> None:
    channel, container = sides
    stdin, keyboard = typed
    keyboard.write(b"x" * 50_000)
    keyboard.close()

    def echo() -> None:
        received = 0
        while data := container.recv(65536):
            received += len(data)
        container.sendall(b"%d bytes" % received)
        container.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=echo)
    thread.start()
    Pump(channel, OneStream(), stdin=stdin).run()
    thread.join()
    assert capfd.readouterr().out == "50000 bytes"


def test_input_flows_while_nobody_reads_our_output(
    sides: tuple[Channel, socket.socket], typed: tuple[int, Any]
) -> None:
    channel, container = sides
    stdin, keyboard = typed
    reader, writer = os.pipe()
    saved = os.dup(1)
    os.dup2(writer, 1)
    os.close(writer)
    try:
        pump = Pump(channel, OneStream(), stdin=stdin)
        thread = threading.Thread(target=pump.run)
        thread.start()
        container.sendall(b"o" * 150_000)  # more than our output's pipe takes
        keyboard.write(b"still heard")
        assert container.recv(100) == b"still heard"
        container.shutdown(socket.SHUT_WR)
        received = 0
        while received < 150_000:
            received += len(os.read(reader, 65536))
        thread.join()
    finally:
        os.dup2(saved, 1)
        os.close(saved)
        os.close(reader)


def test_detach_keys_end_it(sides: tuple[Channel, socket.socket], typed: tuple[int, Any]) -> None:
    channel, _ = sides
    stdin, keyboard = typed
    keyboard.write(b"ab\x10\x11")
    with pytest.raises(Detached):
        Pump(channel, OneStream(), stdin=stdin, keys=KeyScanner(b"\x10\x11")).run()


def test_a_signal_is_forwarded_or_ends_it(sides: tuple[Channel, socket.socket]) -> None:
    channel, container = sides
    seen: list[int] = []

    def forward(number: int) -> None:
        seen.append(number)
        container.shutdown(socket.SHUT_RDWR)

    with SignalPipe(frozenset({signal.SIGUSR1})) as signals:
        os.kill(os.getpid(), signal.SIGUSR1)
        Pump(channel, OneStream(), stdin=None, signals=signals, on_signal=forward).run()
    assert seen == [signal.SIGUSR1]


def test_a_signal_without_a_receiver_interrupts(sides: tuple[Channel, socket.socket]) -> None:
    channel, _ = sides
    with SignalPipe(frozenset({signal.SIGTERM})) as signals:
        os.kill(os.getpid(), signal.SIGTERM)
        with pytest.raises(Interrupted):
            Pump(channel, OneStream(), stdin=None, signals=signals).run()


def test_handlers_are_put_back() -> None:
    before = signal.getsignal(signal.SIGTERM)
    with SignalPipe(frozenset({signal.SIGTERM})):
        assert signal.getsignal(signal.SIGTERM) != before
    assert signal.getsignal(signal.SIGTERM) == before
