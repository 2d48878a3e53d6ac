"""What clients ask of a Dockerfile besides building it, and what builds warn of."""

from __future__ import annotations

import json
from typing import Any

import pytest
from buildkit_client import Build

TEXT = """ARG BASE=busybox
ARG UNUSED
FROM $BASE AS first
# OWN is an argument of the stage
ARG OWN=1
RUN --mount=type=secret,id=k,required --mount=type=ssh --mount=type=cache,target=/c true
FROM first AS second
maintainer me
"""


def ask(build: Any, text: str, request: str, **options: str) -> dict[str, bytes]:
    done: Build = build(text, exporter="", requestid=f"frontend.{request}", **options)
    assert done.error is None
    return done.metadata


def test_checks(build: Any) -> None:
    answer = ask(build, TEXT, "lint")
    found = json.loads(answer["result.json"])["warnings"]
    assert [(each["ruleName"], each["location"]["ranges"][0]["start"]["line"]) for each in found] == [
        ("ConsistentInstructionCasing", 8),
        ("MaintainerDeprecated", 8),
    ]
    assert found[1]["url"] == "https://docs.docker.com/go/dockerfile/rule/maintainer-deprecated/"
    assert answer["result.statuscode"] == b"1"


def test_checks_of_what_is_no_dockerfile(build: Any) -> None:
    document = json.loads(ask(build, "FROM busybox\nBOGUS\n", "lint")["result.json"])
    assert document["buildError"]["message"] == "dockerfile parse error on line 2: unknown instruction: BOGUS"


def test_an_outline(build: Any) -> None:
    outline = json.loads(ask(build, TEXT, "outline", target="first", **{"build-arg:OWN": "2"})["result.json"])
    assert outline["name"] == "first"
    assert [(each["name"], each.get("value"), each.get("description")) for each in outline["args"]] == [
        ("BASE", "busybox", None),
        ("OWN", "2", "is an argument of the stage"),
    ]
    assert outline["secrets"][0]["name"] == "k"
    assert outline["secrets"][0]["required"] is True
    assert outline["ssh"][0]["name"] == "default"
    assert outline["cache"][0]["ID"] == "/c"


def test_targets(build: Any) -> None:
    found = json.loads(ask(build, TEXT, "targets")["result.json"])["targets"]
    assert [(each["name"], each.get("default", False)) for each in found] == [("first", False), ("second", True)]


def test_a_question_that_nobody_knows(build: Any) -> None:
    assert (
        build(TEXT, exporter="", requestid="frontend.nothing").error.message == "unsupported request frontend.nothing"
    )


def test_nothing_has_a_path_too(build: Any) -> None:
    assert json.loads(ask(build, "FROM scratch\nENV PATH=$PATH:/b\n", "lint")["result.json"])["warnings"] == []


def test_builds_warn(build: Any) -> None:
    done = build("FROM busybox AS unused\nMAINTAINER me\nFROM busybox as last\n", platform="linux/amd64,linux/amd64")
    assert done.error is None
    (warning,) = done.status.warnings
    assert warning.short == b"FromAsCasing: 'as' and 'FROM' keywords' casing do not match (line 3)"
    assert warning.vertex in {vertex.digest for vertex in done.status.vertexes}


def test_checks_that_are_failures(build: Any) -> None:
    done = build("# check=error=true\nFROM busybox as last\nRUN exit 1\n")
    assert done.error.message == "lint violation found for rules: FromAsCasing"
    assert (
        build("# check=error=true\nFROM busybox as last\n", **{"build-arg:BUILDKIT_DOCKERFILE_CHECK": ""}).error is None
    )


def test_arguments_are_inherited(build: Any) -> None:
    done = build("FROM busybox AS base\nARG X=1\nFROM base\nRUN echo x$X\nFROM busybox\nARG X\nRUN echo x$X\n")
    assert done.log == "x\n"
    assert build("FROM busybox AS base\nARG X=1\nFROM base\nRUN echo x$X\n").log == "x1\n"


def test_a_target_that_there_is_not(build: Any) -> None:
    done = build("FROM busybox AS build\n", target="buidl")
    assert done.error.message == 'target stage "buidl" could not be found (did you mean build?)'


@pytest.mark.parametrize("platform", ["$NOTHING", "${NOTHING}"])
def test_an_empty_platform(build: Any, platform: str) -> None:
    done = build(f"FROM --platform={platform} busybox\n")
    assert done.error.message == f"empty platform value from expression {platform}"
