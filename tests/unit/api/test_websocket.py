"""RFC 6455: keys and frames."""

from __future__ import annotations

import os
import struct

import pytest

from knarr.api import websocket
from knarr.api.websocket import BINARY, CLOSE, PING, TEXT, FrameReader, ProtocolError


def masked(opcode: int, payload: bytes, key: bytes = b"\x01\x02\x03\x04") -> bytes:
    size = len(payload)
    if size < 126:
        head = struct.pack("!BB", 0x80 | opcode, 0x80 | size)
    elif size < 1 << 16:
        head = struct.pack("!BBH", 0x80 | opcode, 0x80 | 126, size)
    else:
        head = struct.pack("!BBQ", 0x80 | opcode, 0x80 | 127, size)
    return head + key + bytes(byte ^ key[at % 4] for at, byte in enumerate(payload))


def test_the_key_of_section_1_3() -> None:
    assert websocket.accept_key("dGhlIHNhbXBsZSBub25jZQ==") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="


def test_the_masked_text_of_section_5_7() -> None:
    frame = bytes.fromhex("818537fa213d7f9f4d5158")
    assert list(FrameReader().feed(frame)) == [(TEXT, b"Hello")]


@pytest.mark.parametrize("size", [0, 1, 3, 4, 125, 126, 65535, 65536, 1 << 20])
def test_sizes(size: int) -> None:
    payload = os.urandom(size)
    assert list(FrameReader().feed(masked(BINARY, payload))) == [(BINARY, payload)]


def test_frames_in_single_bytes() -> None:
    reader = FrameReader()
    data = masked(BINARY, b"x" * 200) + masked(PING, b"p") + masked(CLOSE, b"")
    frames = [frame for byte in data for frame in reader.feed(bytes([byte]))]
    assert frames == [(BINARY, b"x" * 200), (PING, b"p"), (CLOSE, b"")]


@pytest.mark.parametrize(
    ("data", "code"),
    [
        (bytes.fromhex("8105") + b"Hello", 1002),  # not masked
        (bytes.fromhex("c185") + b"mask" + b"Hello", 1002),  # an extension's bit
        (bytes.fromhex("89fe007e"), 1002),  # a ping of 126 bytes
        (bytes.fromhex("82ff7fffffffffffffff"), 1009),
        (struct.pack("!BBQ", 0x82, 0xFF, (1 << 20) + 1), 1009),
    ],
)
def test_what_is_refused(data: bytes, code: int) -> None:
    with pytest.raises(ProtocolError) as caught:
        list(FrameReader().feed(data))
    assert caught.value.code == code


@pytest.mark.parametrize(("size", "head"), [(5, "8205"), (126, "827e007e"), (70000, "827f0000000000011170")])
def test_frames_out(size: int, head: str) -> None:
    assert websocket.frame(BINARY, b"x" * size) == bytes.fromhex(head) + b"x" * size
