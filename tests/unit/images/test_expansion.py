"""Words of a Dockerfile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.errors import InvalidParameter
from knarr.images.expansion import expand, split

VARIABLES = {"A": "a b", "EMPTY": "", "_x1": "y"}


@pytest.mark.parametrize(
    ("word", "expected"),
    [
        ("plain", "plain"),
        ("$A-${A}", "a b-a b"),
        ("$_x1$none.", "y."),
        ("'$A'", "$A"),
        ('"$A\'s \\$ \\" \\n"', "a b's $ \" \\n"),
        (r"\$A\\", "$A\\"),
        ("$", "$"),
        ("a$/b", "a$/b"),
        ("${EMPTY:-w}${EMPTY-w}", "w"),
        ("${none-w}${A-w}", "wa b"),
        ("${A:+w}${EMPTY:+w}${EMPTY+w}${none+w}", "ww"),
        ("${A:?missing}", "a b"),
        ("${none:-${A}x}", "a bx"),
    ],
)
def test_expands(word: str, expected: str) -> None:
    assert expand(word, VARIABLES) == expected


@pytest.mark.parametrize(
    ("word", "words"),
    [
        ("'a", "matching single-quote"),
        ('"a', "matching double-quote"),
        ("${A", "unsupported modifier"),
        ("${A:-x", "missing '}'"),
        ("${}", "bad substitution"),
        ("${A%x}", "unsupported modifier"),
        ("${none:?must be there}", "none: must be there"),
    ],
)
def test_refuses(word: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        expand(word, VARIABLES)


def test_words_keep_their_quotes() -> None:
    assert split("""a  b=\"c d\" e\\ f g='h "i'\tj""") == ["a", 'b="c d"', "e\\ f", "g='h \"i'", "j"]


@given(st.text(max_size=30))
def test_never_fails_otherwise(text: str) -> None:
    for word in split(text):
        try:
            expand(word, VARIABLES)
        except InvalidParameter:
            pass


@given(st.text(st.characters(exclude_characters="$'\"\\"), max_size=30))
def test_text_without_special_characters_stays(text: str) -> None:
    assert expand(text, VARIABLES) == text
