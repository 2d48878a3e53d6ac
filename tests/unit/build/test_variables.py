"""Build arguments at the places of a Dockerfile."""

from __future__ import annotations

from knarr.build.variables import Arguments, of_platforms
from knarr.dockerfile.instructions import Arg
from knarr.dockerfile.locations import Location
from knarr.images.platforms import Platform


def arg(**names: str | None) -> Arg:
    return Arg(original="", location=Location(1, 1), names=list(names.items()))


def test_arguments_before_from_are_for_from() -> None:
    arguments = Arguments({"B": "given"}, {})
    arguments.add_global(arg(A="1", B="2"), "\\")
    arguments.add_global(arg(C="$A-$B"), "\\")
    assert arguments.for_from == {"A": "1", "B": "given", "C": "1-given"}
    assert arguments.in_scope() == {}


def test_a_stage_names_them_again() -> None:
    arguments = Arguments({}, {"TARGETOS": "linux"})
    arguments.add_global(arg(A="1"), "\\")
    arguments.begin_stage()
    arguments.add(arg(A=None, TARGETOS=None, X=None, D="d"))
    assert arguments.in_scope() == {"A": "1", "TARGETOS": "linux", "D": "d"}
    arguments.begin_stage()
    assert arguments.in_scope() == {}


def test_what_is_given_comes_first_unless_it_is_none() -> None:
    arguments = Arguments({"A": "given", "B": None}, {})
    arguments.add(arg(A="a", B="b"))
    assert arguments.in_scope() == {"A": "given", "B": "b"}


def test_proxies_need_no_declaration() -> None:
    arguments = Arguments({"HTTP_PROXY": "p", "no_proxy": None, "X": "1"}, {})
    assert arguments.proxies() == {"HTTP_PROXY": "p"}
    arguments.add(arg(HTTP_PROXY=None))
    assert (arguments.proxies(), arguments.in_scope()) == ({}, {"HTTP_PROXY": "p"})


def test_what_nobody_has_asked_for() -> None:
    arguments = Arguments({"A": "1", "B": "2", "http_proxy": "p"}, {})
    arguments.add(arg(A=None))
    assert arguments.unused() == ["B"]


def test_platforms() -> None:
    found = of_platforms(Platform("linux", "arm", "v7"), Platform("linux", "amd64"))
    assert found["TARGETPLATFORM"] == "linux/arm/v7"
    assert (found["TARGETARCH"], found["TARGETVARIANT"], found["BUILDPLATFORM"]) == ("arm", "v7", "linux/amd64")
