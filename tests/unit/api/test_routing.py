"""Which handler a method and a path lead to."""

from __future__ import annotations

from typing import Any, cast

import pytest

from knarr.api.body import Body
from knarr.api.messages import Answer, Request, Response
from knarr.api.routing import Route, Router
from knarr.errors import InvalidParameter, NotFound


async def first(request: Request) -> Answer:
    return Response()


async def second(request: Request) -> Answer:
    return Response()


ROUTER = Router(
    [
        Route("GET", "/images/json", first),
        Route("GET", "/images/{name*}/json", second),
        Route("DELETE", "/images/{name*}", second),
        Route("POST", "/containers/{id}/start", first),
        Route("POST", "/containers/{id}/start", second),
        Route("GET", "/images/json", second),
    ]
)


def request(method: str, path: str) -> Request:
    async def nothing() -> bytes:
        return b""

    return Request(cast(Any, None), method, path, "", {}, Body(nothing, empty=True))


@pytest.mark.parametrize("path", ["/images/json", "/v1.41/images/json", "//images//json", "/v1.24/images/json"])
def test_fixed_paths(path: str) -> None:
    assert ROUTER.route(request("GET", path)) is first


@pytest.mark.parametrize(
    ("path", "name"),
    [
        ("/images/busybox/json", "busybox"),
        ("/v1.50/images/example.org:5000/a/b:tag/json", "example.org:5000/a/b:tag"),
        ("/images/a%2Fb%3Atag/json", "a/b:tag"),
        ("/images/json/json", "json"),
    ],
)
def test_names_with_slashes(path: str, name: str) -> None:
    asked = request("GET", path)
    assert ROUTER.route(asked) is second
    assert asked.names == {"name": name}


def test_the_first_of_two_routes_serves() -> None:
    asked = request("POST", "/containers/abc/start")
    assert ROUTER.route(asked) is first
    assert asked.names == {"id": "abc"}


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/"),
        ("GET", "/nothing"),
        ("GET", "/v1.41/nothing"),
        ("GET", "/v1.41"),
        ("GET", "/vx/images/json"),
        ("PUT", "/images/json"),
        ("GET", "/images/json/"),
        ("POST", "/containers/a/b/start"),
        ("POST", "/containers/abc/start\n"),
    ],
)
def test_unknown_paths(method: str, path: str) -> None:
    with pytest.raises(NotFound, match=r"\Apage not found\Z"):
        ROUTER.route(request(method, path))


@pytest.mark.parametrize(
    ("path", "version"), [("/images/json", (1, 50)), ("/v1.24/images/json", (1, 24)), ("/v1.41/images/json", (1, 41))]
)
def test_versions(path: str, version: tuple[int, ...]) -> None:
    asked = request("GET", path)
    ROUTER.route(asked)
    assert asked.version == version


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("1.51", "client version 1.51 is too new. Maximum supported API version is 1.50"),
        ("9.99", "client version 9.99 is too new. Maximum supported API version is 1.50"),
        ("1.10", "client version 1.10 is too old. Minimum supported API version is 1.24, please upgrade your client"),
        ("1", "client version 1 is too old."),
        ("..", "client version .. is too old."),
        ("1." + "9" * 9000, "is too new"),
    ],
)
def test_versions_that_are_not_served(text: str, words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        ROUTER.route(request("GET", f"/v{text}/images/json"))
    assert words in str(caught.value)
