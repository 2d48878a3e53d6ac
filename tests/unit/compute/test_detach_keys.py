"""The key sequence that detaches a client."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from knarr.compute.native.streams import DetachKeys


def test_the_sequence_is_found_across_reads() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"ab\x10") == (b"ab", False)
    assert keys.feed(b"\x11rest") == (b"", True)


def test_an_unfinished_sequence_is_passed_on() -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(b"\x10") == (b"", False)
    assert keys.feed(b"x") == (b"\x10x", False)


def test_a_repeated_first_key_starts_anew() -> None:
    assert DetachKeys(b"\x10\x11").feed(b"\x10\x10\x11") == (b"\x10", True)


@given(st.binary(max_size=30).filter(lambda data: b"\x10" not in data), st.integers(0, 30))
def test_other_input_is_unharmed(data: bytes, cut: int) -> None:
    keys = DetachKeys(b"\x10\x11")
    assert keys.feed(data[:cut])[0] + keys.feed(data[cut:])[0] == data
