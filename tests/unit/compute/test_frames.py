"""Frames on a stream socket, with descriptors."""

from __future__ import annotations

import os
import socket

import pytest

from knarr.compute.native import frames


def test_bodies_and_descriptors_arrive_together() -> None:
    left, right = socket.socketpair()
    reader, writer = os.pipe()
    with left, right:
        frames.send(left, b"first", [writer])
        frames.send(left, b"second")
        body, (fd,) = frames.receive(right)
        assert (body, frames.receive(right)) == (b"first", (b"second", []))
        os.write(fd, b"x")
        assert os.read(reader, 1) == b"x"
        assert not os.get_inheritable(fd)
        for number in (reader, writer, fd):
            os.close(number)


def test_the_end_of_the_stream_is_an_error_also_within_a_frame() -> None:
    for data in (b"", frames.pack(b"body")[:6], frames.pack(b"body")[:-1]):
        left, right = socket.socketpair()
        with left, right:
            left.sendall(data)
            left.shutdown(socket.SHUT_WR)
            with pytest.raises(EOFError):
                frames.receive(right)


def test_an_absurd_length_is_refused() -> None:
    left, right = socket.socketpair()
    with left, right:
        left.sendall(frames.HEADER.pack(frames.MAX_BODY + 1, 0))
        with pytest.raises(ValueError, match="a frame of"):
            frames.receive(right)
