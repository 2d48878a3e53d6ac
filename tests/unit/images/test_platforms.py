"""Platform names."""

from __future__ import annotations

import pytest

from knarr.errors import InvalidParameter
from knarr.images import platforms
from knarr.images.platforms import Platform


def test_full_names() -> None:
    assert platforms.parse("linux/arm64/v8") == Platform("linux", "arm64", "v8")
    assert platforms.parse("Linux/x86_64") == Platform("linux", "amd64")
    assert platforms.parse("linux/armhf") == platforms.parse("linux/arm") == Platform("linux", "arm", "v7")
    assert platforms.parse("linux/arm/v6") == platforms.parse("linux/armel") == Platform("linux", "arm", "v6")


def test_what_is_left_out_is_the_machines() -> None:
    host = platforms.of_host()
    assert platforms.parse("linux") == host
    assert platforms.parse("s390x") == Platform(host.os, "s390x")


@pytest.mark.parametrize("text", ["a/b/c/d", "linux/", "/amd64", "li nux", "linux/ä"])
def test_forms_that_are_none(text: str) -> None:
    with pytest.raises(InvalidParameter, match="platform specifier"):
        platforms.parse(text)


def test_a_word_that_is_neither_system_nor_processor() -> None:
    with pytest.raises(InvalidParameter, match='"x": unknown operating system or architecture'):
        platforms.parse("x")


def test_older_variants_run() -> None:
    machine = Platform("linux", "arm", "v7")
    assert machine.runs(Platform("linux", "arm", "v6"))
    assert machine.runs(Platform("linux", "arm"))
    assert not machine.runs(Platform("linux", "arm", "v8"))
    assert not machine.runs(Platform("linux", "arm64"))
    assert Platform("linux", "arm64").runs(Platform("linux", "arm64", "v8"))
