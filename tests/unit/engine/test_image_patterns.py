"""Patterns for image names."""

from __future__ import annotations

import pytest

from knarr.engine.image_patterns import compile_pattern, matches
from knarr.errors import InvalidParameter


@pytest.mark.parametrize(
    ("pattern", "name", "expected"),
    [
        ("busybox", "busybox:1", True),
        ("busybox:*", "busybox:1", True),
        ("busy*", "busybox:1", True),
        ("*box", "a/busybox:1", False),
        ("*/busybox", "a/busybox:1", True),
        ("b?sybox", "busybox:1", True),
        ("[a-c]usybox", "busybox:1", True),
        ("[^b]usybox", "busybox:1", False),
        (r"\busybox", "busybox:1", True),
        ("quay.example:5000/*:1", "quay.example:5000/app:1", True),
        ("busybox:2", "busybox:1", False),
    ],
)
def test_matches(pattern: str, name: str, expected: bool) -> None:
    assert matches([compile_pattern(pattern)], name) is expected


@pytest.mark.parametrize("pattern", ["[", "[]", "[a", "a\\", "[z-a]", "[-a]", "[a-]"])
def test_bad_patterns(pattern: str) -> None:
    with pytest.raises(InvalidParameter, match="syntax error in pattern"):
        compile_pattern(pattern)


def test_a_pattern_that_would_take_for_ever() -> None:
    assert not matches([compile_pattern("*a" * 30 + "b")], "a" * 100)
