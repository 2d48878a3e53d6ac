"""Words of a Dockerfile."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.dockerfile import globs
from knarr.dockerfile.expansion import expand, expand_document, expand_words
from knarr.dockerfile.words import split
from knarr.errors import InvalidParameter

VARIABLES = {"A": "a b", "EMPTY": "", "_x1": "y", "P": "/usr/lib/x.tar.gz"}


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
        ("${P#*/}|${P##*/}|${P#x}", "usr/lib/x.tar.gz|x.tar.gz|/usr/lib/x.tar.gz"),
        ("${P%.*}|${P%%.*}|${P%?z}", "/usr/lib/x.tar|/usr/lib/x|/usr/lib/x.tar."),
        ("${P/r*b/R}|${P//\\//:}|${P/nope/x}", "/usR/x.tar.gz|:usr:lib:x.tar.gz|/usr/lib/x.tar.gz"),
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
        ("${A!x}", "unsupported modifier"),
        ("${A/x", "missing '}'"),
        ("${A:-" * 60, "nested too deeply"),
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


def test_a_value_falls_into_words_unless_quoted() -> None:
    assert expand_words('x$A "$A" $none', VARIABLES) == ["xa", "b", "a b"]


def test_another_escape_character() -> None:
    assert expand(r"C:\dir`$A", VARIABLES, "`") == r"C:\dir$A"


def test_quotes_mean_nothing_in_a_document() -> None:
    assert expand_document('it\'s "$A" \\$A \\n\n', VARIABLES) == 'it\'s "a b" $A \\n\n'


@given(st.text("ab/*?\\", max_size=12), st.text("ab/*?\\", max_size=6))
def test_cutting_never_adds(text: str, pattern: str) -> None:
    for cut in (globs.without_prefix, globs.without_suffix):
        short, long = (cut(text, pattern, longest=longest) for longest in (False, True))
        assert len(long) <= len(short) <= len(text)
