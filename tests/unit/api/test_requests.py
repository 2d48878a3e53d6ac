"""Values of a query."""

from __future__ import annotations

from typing import Any, cast

import pytest

from knarr.api.body import Body
from knarr.api.messages import Request
from knarr.errors import InvalidParameter


def request(query: str) -> Request:
    async def nothing() -> bytes:
        return b""

    return Request(cast(Any, None), "GET", "/", query, {}, Body(nothing, empty=True))


@pytest.mark.parametrize("text", ["1", "true", "True", "yes", "banana"])
def test_true(text: str) -> None:
    assert request(f"all={text}").flag("all")


@pytest.mark.parametrize("query", ["", "all", "all=", "all=0", "all=false", "all=False", "all=no", "all=none", "x=1"])
def test_false(query: str) -> None:
    assert not request(query).flag("all")


def test_default_of_a_flag() -> None:
    assert request("").flag("stdout", True)
    assert not request("stdout=0").flag("stdout", True)


def test_texts_are_decoded() -> None:
    asked = request("filters=%7B%22a%22%3A1%7D&names=a&names=b%2Fc&plus=a+b")
    assert asked.text("filters") == '{"a":1}'
    assert asked.texts("names") == ["a", "b/c"]
    assert asked.text("plus") == "a b"


def test_numbers() -> None:
    assert request("t=-1").number("t") == -1
    assert request("t=").number("t") is None
    with pytest.raises(InvalidParameter, match="invalid syntax"):
        request("t=soon").number("t")
