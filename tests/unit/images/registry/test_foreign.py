"""Addresses and numbers from elsewhere."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.images.platforms import Platform
from knarr.images.registry import foreign
from knarr.images.registry.failures import Unreachable


@pytest.mark.parametrize(
    ("text", "value"), [("0", 0), ("12", 12), ("", None), ("-1", None), ("²", None), ("1_0", None), ("9" * 19, None)]
)
def test_numbers(text: str, value: int | None) -> None:
    assert foreign.number(text) == value


def test_addresses() -> None:
    assert foreign.joined("http://a/v2/x", "../y?z=1") == "http://a/y?z=1"
    with pytest.raises(Unreachable, match="unsupported protocol"):
        foreign.joined("http://a/", "file:///x")
    with pytest.raises(Unreachable, match="Port out of range"):
        foreign.checked("http://a:99999/")


@given(st.text() | st.text("/:[]@?#%.ahtp0123456789²", max_size=20).map(lambda text: f"http://{text}"))
def test_any_address(text: str) -> None:
    with suppress(Unreachable):
        foreign.joined("http://a/", text)


@given(st.text("0123456789.²a"))
def test_any_version_of_a_system(text: str) -> None:
    assert Platform("windows", "amd64", "", text).preference
