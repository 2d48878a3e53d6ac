"""WWW-Authenticate."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.images.registry.challenges import Challenge, parse


@pytest.mark.parametrize(
    ("header", "expected"),
    [
        ('Basic realm="here"', [Challenge("basic", {"realm": "here"})]),
        ("Negotiate", [Challenge("negotiate", {})]),
        (
            'Bearer realm="https://a/token",service="s",scope="repository:a/b:pull,push"',
            [Challenge("bearer", {"realm": "https://a/token", "service": "s", "scope": "repository:a/b:pull,push"})],
        ),
        (
            'Bearer realm="x", error=invalid_token , Basic realm="a\\"b"',
            [Challenge("bearer", {"realm": "x", "error": "invalid_token"}), Challenge("basic", {"realm": 'a"b'})],
        ),
        ("", []),
    ],
)
def test_forms(header: str, expected: list[Challenge]) -> None:
    assert parse([header]) == expected


@given(st.text())
def test_anything_is_read(header: str) -> None:
    parse([header])
