"""Frames that are joined: h2 sees the same bytes of each stream, whatever pieces they came in."""

from __future__ import annotations

import random

import pytest
from h2.config import H2Configuration
from h2.connection import H2Connection
from h2.events import DataReceived, StreamEnded
from h2.exceptions import FrameTooLargeError

from knarr.buildkit.frames import LARGEST_JOINED, FrameJoiner


@pytest.mark.parametrize("seed", range(10))
def test_streams_stay_the_same(seed: int) -> None:
    numbers = random.Random(seed)
    server = H2Connection(H2Configuration(client_side=False))
    client = H2Connection(H2Configuration(client_side=True))
    client.initiate_connection()
    server.initiate_connection()
    for stream in (1, 3):
        client.send_headers(stream, [(":method", "POST"), (":scheme", "http"), (":path", "/"), (":authority", "x")])
    server.receive_data(client.data_to_send())
    sent = {1: b"", 3: b""}
    for stream in (1, 3):
        server.send_headers(stream, [(":status", "200")])
    for _ in range(100):
        stream = numbers.choice((1, 3))
        data = numbers.randbytes(numbers.choice((0, 1, 60, 2000)))
        if len(sent[stream] + data) < 30000:
            sent[stream] += data
            server.send_data(stream, data, pad_length=numbers.choice((None, None, 5)))
    server.end_stream(1)
    server.send_headers(3, [("grpc-status", "0")], end_stream=True)
    wire = server.data_to_send()

    joiner, received, ended = FrameJoiner(), {1: b"", 3: b""}, []
    client.max_inbound_frame_size = LARGEST_JOINED
    while wire:
        size = numbers.randrange(1, 5000)
        for event in client.receive_data(joiner.join(wire[:size])):
            if isinstance(event, DataReceived):
                received[event.stream_id] += event.data
            elif isinstance(event, StreamEnded):
                ended.append(event.stream_id)
        wire = wire[size:]
    assert received == sent
    assert sorted(ended) == [1, 3]


def test_small_frames_become_one() -> None:
    frame = b"\0\0\1\0\0\0\0\0\5x"
    assert FrameJoiner().join(frame * 1000) == b"\0\3\xe8\0\0\0\0\0\5" + b"x" * 1000


def test_a_frame_that_is_too_large() -> None:
    with pytest.raises(FrameTooLargeError):
        FrameJoiner().join(b"\1\0\0\0\0\0\0\0\5")
