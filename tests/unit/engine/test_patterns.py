"""Expressions of clients: Go's syntax, and no time that grows with what they ask for."""

from __future__ import annotations

import time

import pytest

from knarr.engine import patterns
from knarr.errors import InvalidParameter


def test_searches() -> None:
    assert patterns.compile("^we.$").search("web")
    assert not patterns.compile("^we$").search("web")


def test_nested_repetition_takes_no_time() -> None:
    began = time.process_time()
    assert not patterns.compile("^(a+)+$").search("a" * 5000 + "b")
    assert time.process_time() - began < 1


@pytest.mark.parametrize("expression", ["a[", "(?=a)", r"(a)\1"])
def test_what_go_does_not_have(expression: str) -> None:
    with pytest.raises(InvalidParameter, match="error parsing regexp"):
        patterns.compile(expression)
