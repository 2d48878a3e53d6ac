"""Image names: grammar, defaults, the familiar form, dockerd's words."""

from __future__ import annotations

import re

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.errors import InvalidParameter
from knarr.images import references
from knarr.images.references import Reference, parse

HEX = "0123456789abcdef" * 4
DIGEST = f"sha256:{HEX}"


@pytest.mark.parametrize(
    ("text", "full", "familiar"),
    [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.35", "docker.io/library/busybox:1.35", "busybox:1.35"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("docker.io/library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("host:5000/app", "host:5000/app", "host:5000/app"),
        ("localhost/app:x", "localhost/app:x", "localhost/app:x"),
        ("Upper/app", "Upper/app", "Upper/app"),
        ("[::1]:5000/a/b", "[::1]:5000/a/b", "[::1]:5000/a/b"),
        ("a__b--c.d", "docker.io/library/a__b--c.d", "a__b--c.d"),
        (f"app@{DIGEST}", f"docker.io/library/app@{DIGEST}", f"app@{DIGEST}"),
        (f"app:1@{DIGEST}", f"docker.io/library/app:1@{DIGEST}", f"app:1@{DIGEST}"),
        ("sha256:abc", "docker.io/library/sha256:abc", "sha256:abc"),
    ],
)
def test_normalises_and_shortens(text: str, full: str, familiar: str) -> None:
    reference = parse(text)
    assert (str(reference), reference.familiar) == (full, familiar)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "invalid reference format"),
        ("-x", "invalid reference format"),
        ("a b", "invalid reference format"),
        ("a//b", "invalid reference format"),
        ("a___b", "invalid reference format"),
        ("x..y", "invalid reference format"),
        ("a:b:c", "invalid reference format"),
        ("a:", "invalid reference format"),
        ("a@sha256:12", "invalid reference format"),
        ("a\n", "invalid reference format"),
        (f"a:{'t' * 129}", "invalid reference format"),
        ("BAD:x", "invalid reference format: repository name (library/BAD) must be lowercase"),
        ("host:80/Bad", "invalid reference format: repository name (Bad) must be lowercase"),
        (HEX, f"invalid repository name ({HEX}), cannot specify 64-byte hexadecimal strings"),
        (f"a@sha256:{HEX}00", "invalid checksum digest length"),
        (f"a@md5:{HEX}", "unsupported digest algorithm"),
        ("a" * 256, "repository name must not be more than 255 characters"),
    ],
)
def test_refuses_in_dockerds_words(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=f"^{re.escape(words)}$"):
        parse(text)


def test_latest_is_the_default_tag_only_without_tag_and_digest() -> None:
    assert parse("a").with_default_tag().tag == "latest"
    assert parse("a:1").with_default_tag().tag == "1"
    assert parse(f"a@{DIGEST}").with_default_tag().tag == ""


def test_tag_parameter_beats_the_repositorys() -> None:
    assert references.parse_repository_tag("a:1", "2") == Reference("docker.io", "library/a", "2")
    assert references.parse_repository_tag("a:1", "") == Reference("docker.io", "library/a", "1")
    assert references.parse_repository_tag("", "") is None


@pytest.mark.parametrize(
    ("repository", "tag", "words"),
    [("a", "!", "invalid tag format"), (f"a@{DIGEST}", "", "refusing to create a tag with a digest reference")],
)
def test_tag_parameter_is_checked(repository: str, tag: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        references.parse_repository_tag(repository, tag)


def test_full_ids() -> None:
    assert references.as_id(HEX) == DIGEST == references.as_id(DIGEST)
    assert references.as_id(HEX[:12]) is None
    assert references.as_id(HEX.upper()) is None


COMPONENT = st.from_regex(r"[a-z0-9]{1,8}([._-][a-z0-9]{1,8}){0,2}", fullmatch=True)
DOMAIN = st.sampled_from(["docker.io", "localhost", "quay.example:443", "A", "127.0.0.1:5000"])
REFERENCE = st.builds(
    Reference,
    DOMAIN,
    st.lists(COMPONENT, min_size=2, max_size=4).map("/".join),
    st.from_regex(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,20}", fullmatch=True) | st.just(""),
    st.sampled_from(["", DIGEST]),
)


@given(REFERENCE)
def test_both_forms_parse_to_the_same(reference: Reference) -> None:
    assert parse(str(reference)) == reference == parse(reference.familiar)


@given(st.text(max_size=40))
def test_any_text_parses_or_is_refused(text: str) -> None:
    try:
        reference = parse(text)
    except InvalidParameter:
        return
    assert parse(str(reference)) == reference
