"""Filters in both of their forms."""

from __future__ import annotations

import pytest

from knarr.engine.filters import Filters
from knarr.errors import InvalidParameter


@pytest.mark.parametrize("text", ['{"label":["a"]}', '{"label":{"a":true}}', '{"label":{"a":true,"b":false}}'])
def test_both_forms(text: str) -> None:
    assert Filters.parse(text, {"label"})["label"] == ["a"]


@pytest.mark.parametrize("text", [None, "", "{}"])
def test_none(text: str | None) -> None:
    assert Filters.parse(text, {"label"}).exact("label", "x")


def test_unknown_name() -> None:
    with pytest.raises(InvalidParameter, match="invalid filter 'x'"):
        Filters.parse('{"x":["a"]}', {"label"})


@pytest.mark.parametrize("text", ["foo", "[]", '{"label":"a"}', '{"label":[1]}'])
def test_malformed(text: str) -> None:
    with pytest.raises(InvalidParameter):
        Filters.parse(text, {"label"})


@pytest.mark.parametrize(
    ("wanted", "has"), [(["a"], True), (["a=b"], True), (["a=c"], False), (["a", "z"], False), (["a="], False)]
)
def test_labels(wanted: list[str], has: bool) -> None:
    assert Filters({"label": wanted}).labels("label", {"a": "b"}) is has


@pytest.mark.parametrize(("value", "meaning"), [("1", True), ("True", True), ("false", False)])
def test_boolean(value: str, meaning: bool) -> None:
    assert Filters({"is-task": [value]}).boolean("is-task") is meaning


def test_boolean_that_is_none() -> None:
    with pytest.raises(InvalidParameter, match=r"invalid filter 'is-task=\[x\]'"):
        Filters({"is-task": ["x"]}).boolean("is-task")
