"""Addresses, sources, histories and keys of builds."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.build import cache, fetching, histories, selection
from knarr.build.fetching import Repository
from knarr.dockerfile import reading
from knarr.dockerfile.locations import Location
from knarr.errors import InvalidParameter
from knarr.images import changes
from knarr.images.config import ContainerDefaults


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("https://h/r.git", Repository("https://h/r.git", "", "")),
        ("https://h/r.git#ref", Repository("https://h/r.git", "ref", "")),
        ("git@h:r.git#ref:dir/e", Repository("git@h:r.git", "ref", "dir/e")),
        ("https://h/r.git?branch=b&subdir=d/e", Repository("https://h/r.git", "refs/heads/b", "d/e")),
        ("https://h/r.git?ref=v1", Repository("https://h/r.git", "v1", "")),
        ("github.com/a/b#:dir", Repository("https://github.com/a/b", "", "dir")),
    ],
)
def test_git_addresses(text: str, expected: Repository) -> None:
    assert fetching.is_git(text)
    assert fetching.parse_git(text) == expected


@pytest.mark.parametrize("text", ["https://h/r.tar", "http://h/", "dir/r.git", "./a", "a@b"])
def test_what_is_no_git_address(text: str) -> None:
    assert not fetching.is_git(text)


def test_a_git_address_is_no_option() -> None:
    with pytest.raises(InvalidParameter):
        fetching.parse_git("git://h/r#--upload-pack=x")


@pytest.mark.parametrize(("source", "expected"), [("/a//b/./c/", "a/b/c"), ("a/../b", "b"), (".", ""), ("/", "")])
def test_sources_are_cleaned(source: str, expected: str) -> None:
    assert selection.cleaned(source, "COPY") == expected


def test_sources_do_not_lead_out() -> None:
    with pytest.raises(InvalidParameter, match=r"forbidden path outside the build context: a/\.\./\.\./b"):
        selection.cleaned("a/../../b", "COPY")


def test_patterns_of_sources(tmp_path: Path) -> None:
    for name in ("a.c", "b.c", "d/x.c", "d/y.h", "e/x.c"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    fd = os.open(tmp_path, os.O_RDONLY)
    try:
        assert selection.matches(fd, "*.c") == ["a.c", "b.c"]
        assert selection.matches(fd, "*/x.?") == ["d/x.c", "e/x.c"]
        assert selection.matches(fd, "[^a-b]/*") == ["d/x.c", "d/y.h", "e/x.c"]
        assert selection.matches(fd, "none*/x") == []
    finally:
        os.close(fd)


@pytest.mark.parametrize(
    ("line", "text"),
    [
        ("ENV A=1 B='2 3'", "/bin/sh -c #(nop)  ENV A=1 B=2 3"),
        ('CMD ["a", "b\\"c"]', '/bin/sh -c #(nop)  CMD ["a" "b\\"c"]'),
        ("WORKDIR w", "/bin/sh -c #(nop) WORKDIR /w"),
        ("VOLUME /a /b", "/bin/sh -c #(nop)  VOLUME [/a /b]"),
        ('SHELL ["x", "-y"]', "x -y #(nop)  SHELL [x -y]"),
        ("ARG X=1", "/bin/sh -c #(nop)  ARG X=1"),
        (
            "HEALTHCHECK --interval=1500ms --retries=3 CMD x",
            '/bin/sh -c #(nop)  HEALTHCHECK &{["CMD-SHELL" "x"] "1.5s" "0s" "0s" "0s" \'\\x03\'}',
        ),
    ],
)
def test_histories(line: str, text: str) -> None:
    defaults = ContainerDefaults()
    instruction = changes.expanded(reading.read_line(line, Location(1, 1)), {})
    changes.perform(defaults, instruction)
    assert histories.of_change(instruction, defaults) == text


def test_the_history_of_a_command_has_its_arguments() -> None:
    assert histories.of_command(["sh", "-c", "x"], {"b": "2", "a": "1"}) == "|2 a=1 b=2 sh -c x"
    assert histories.of_command(["x"], {}) == "x"


def test_keys_tell_lists_apart() -> None:
    assert len({cache.key("ab", "c"), cache.key("a", "bc"), cache.key("abc"), cache.key("abc", "")}) == 4
