"""The patterns of .dockerignore."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr import ignore
from knarr.errors import InvalidParameter
from knarr.ignore import Patterns


@pytest.mark.parametrize(
    ("patterns", "path", "excluded"),
    [
        ("*.log", "x.log", True),
        ("*.log", "d/x.log", False),
        ("**/*.log", "x.log", True),
        ("**/*.log", "d/e/x.log", True),
        ("d", "d/e/f", True),
        ("d", "dd", False),
        ("/d/", "d/e", True),
        ("d/**", "d", False),
        ("d/**", "d/e", True),
        ("a/**/z", "a/z", True),
        ("a/**/z", "a/b/c/z", True),
        ("a?c", "a/c", False),
        ("[a-c]x", "bx", True),
        ("[^a-c]x", "bx", False),
        ("a[^b]c", "a/c", False),
        (r"\*", "*", True),
        (r"\*", "a", False),
        ("a.b+", "aXb+", False),
        ("*\n!keep", "keep", False),
        ("*\n!keep", "other", True),
        ("!keep\n*", "keep", True),
        ("d\n!d/k\nd/k/x", "d/k/x", True),
        ("d\n!d/k\nd/k/x", "d/k/y", False),
        (".", "anything", False),
        ("../x/../d", "d", False),
        ("./d", "d", True),
        ("# c\n\n  d  ", "d", True),
    ],
)
def test_which_paths_are_left_out(patterns: str, path: str, excluded: bool) -> None:
    assert Patterns(ignore.read(patterns)).excludes(path) is excluded


@given(st.text("a*?/", max_size=8), st.text("ab/", max_size=8))
def test_both_ways_to_match(pattern: str, path: str) -> None:
    tokens = ignore._tokens(pattern)
    expression = re.compile("".join(tokens) + ignore._END, re.DOTALL)
    assert ignore._Machine(tokens).match(path) == bool(expression.match(path))


@pytest.mark.parametrize(
    "pattern", ["**/" * 30 + "z", "*a" * 30 + "z", "**/*a" * 30 + "z", "***" * 2000 + "z", "a**" * 30 + "z"]
)
def test_patterns_that_would_take_for_ever(pattern: str) -> None:
    assert not Patterns([pattern]).excludes("a/" * 150 + "c" * 100)


@pytest.mark.parametrize(
    ("patterns", "directory", "may"),
    [
        ("d\n!d/k", "d", True),
        ("d\n!e", "d", False),
        ("*\n!**/k", "d", True),
        ("*\n!d*/k", "dir", True),
        ("*", "d", False),
    ],
)
def test_where_something_may_have_to_be_kept(patterns: str, directory: str, may: bool) -> None:
    assert Patterns(ignore.read(patterns)).may_except_below(directory) is may


@pytest.mark.parametrize("pattern", ["!", "[", "a[b", "a\\", "[z-a]"])
def test_refuses(pattern: str) -> None:
    with pytest.raises(InvalidParameter):
        Patterns([pattern])


@given(st.text("ab*?[]!^-\\/.", max_size=10), st.text("ab/.", max_size=8))
def test_any_pattern_is_used_or_refused(pattern: str, path: str) -> None:
    try:
        Patterns(ignore.read(pattern)).excludes(path)
    except InvalidParameter:
        pass
