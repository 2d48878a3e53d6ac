from __future__ import annotations

import pytest

from knarr.cli import references
from knarr.cli.errors import CommandError

_DIGEST = "sha256:" + "a" * 64


@pytest.mark.parametrize(
    ("text", "name", "tag", "digest"),
    [
        ("busybox", "busybox", "", ""),
        ("busybox:1.36", "busybox", "1.36", ""),
        ("a/b_c/d__e-f--g.h", "a/b_c/d__e-f--g.h", "", ""),
        ("localhost:5000/x:T_1", "localhost:5000/x", "T_1", ""),
        ("Host.Example/x", "Host.Example/x", "", ""),
        ("[::1]:5000/x", "[::1]:5000/x", "", ""),
        (f"x@{_DIGEST}", "x", "", _DIGEST),
        (f"x:1@{_DIGEST}", "x", "1", _DIGEST),
        (_DIGEST, "sha256", "a" * 64, ""),
    ],
)
def test_parts(text: str, name: str, tag: str, digest: str) -> None:
    found = references.parse(text)
    assert (found.name, found.tag, found.digest) == (name, tag, digest)


@pytest.mark.parametrize("text", ["", ":", "a:", "a//b", "-a", "a.", "a..b", "a___b", "a@b", "a:b:c", "a b", "/a", "é"])
def test_what_is_no_reference(text: str) -> None:
    with pytest.raises(CommandError, match=r"^invalid reference format$"):
        references.parse(text)


def test_capital_letters_are_named() -> None:
    with pytest.raises(CommandError, match=r"repository name \(library/App\) must be lowercase"):
        references.parse("App:1")


def test_the_default_tag() -> None:
    assert references.parse("app").tagged == "app:latest"
    assert references.parse(f"app@{_DIGEST}").tagged == f"app@{_DIGEST}"
