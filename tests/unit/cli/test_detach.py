from __future__ import annotations

import pytest

from knarr.cli.detach import KeyScanner, parse_keys


@pytest.mark.parametrize(
    ("text", "keys"), [("ctrl-p,ctrl-q", b"\x10\x11"), ("a,ctrl-[", b"a\x1b"), ("ctrl-@", b"\0"), ("ctrl-\\", b"\x1c")]
)
def test_keys(text: str, keys: bytes) -> None:
    assert parse_keys(text) == keys


@pytest.mark.parametrize("text", ["", "ab", "ctrl-", "ctrl-1", "a,,b", "é"])
def test_what_are_no_keys(text: str) -> None:
    with pytest.raises(ValueError, match="Unknown character"):
        parse_keys(text)


def test_keys_are_found_across_reads() -> None:
    scanner = KeyScanner(b"\x10\x11")
    assert scanner.feed(b"ab\x10") == (b"ab", False)
    assert scanner.feed(b"\x11rest") == (b"", True)


def test_half_of_the_keys_is_passed_on_when_something_else_follows() -> None:
    scanner = KeyScanner(b"\x10\x11")
    assert scanner.feed(b"\x10") == (b"", False)
    assert scanner.feed(b"x") == (b"\x10x", False)


def test_a_repeated_beginning_still_matches() -> None:
    assert KeyScanner(b"\x10\x11").feed(b"\x10\x10\x11") == (b"\x10", True)


def test_what_is_held_back_comes_at_the_end() -> None:
    scanner = KeyScanner(b"\x10\x11")
    scanner.feed(b"\x10")
    assert scanner.end() == b"\x10"
