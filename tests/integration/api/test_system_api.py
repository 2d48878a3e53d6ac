"""Requests that need no container: ping, versions, unknown paths, swarm, events, broken bodies."""

from __future__ import annotations

import json
import socket
import time
from pathlib import Path
from typing import Any

import pytest

CLOSE = b" HTTP/1.1\r\nHost: x\r\nConnection: close\r\n"


@pytest.mark.parametrize("prefix", [b"", b"/v1.24", b"/v1.50"])
@pytest.mark.parametrize(("method", "body"), [(b"GET", b"OK"), (b"HEAD", b"")])
def test_ping(api: Any, prefix: bytes, method: bytes, body: bytes) -> None:
    head, content = api.ask(method + b" " + prefix + b"/_ping" + CLOSE + b"\r\n")
    lines = head.split(b"\r\n")
    assert lines[0] == b"HTTP/1.1 200 OK"
    assert {
        b"Api-Version: 1.50",
        b"Ostype: linux",
        b"Docker-Experimental: false",
        b"Builder-Version: 1",
        b"Swarm: inactive",
        b"Cache-Control: no-cache, no-store, must-revalidate",
    } <= set(lines)
    assert content == body


def test_version(api: Any) -> None:
    status, version = api.request("GET", "/v1.41/version")
    assert status == 200
    assert (version["ApiVersion"], version["MinAPIVersion"], version["Os"]) == ("1.50", "1.24", "linux")


@pytest.mark.parametrize(("version", "words"), [("1.51", "is too new"), ("1.23", "is too old")])
def test_versions_that_are_not_served(api: Any, version: str, words: str) -> None:
    status, answer = api.request("GET", f"/v{version}/info")
    assert status == 400
    assert answer["message"].startswith(f"client version {version} {words}")


@pytest.mark.parametrize(
    ("method", "path", "status", "words"),
    [
        ("GET", "/nothing", 404, "page not found"),
        ("PUT", "/v1.41/containers/json", 404, "page not found"),
        ("GET", "/containers/nobody/json", 404, "No such container: nobody"),
        ("GET", "/images/nothing/json", 404, "No such image: nothing:latest"),
        ("GET", "/networks/nothing", 404, "network nothing not found"),
        ("GET", "/volumes/nothing", 404, "nothing"),
        ("GET", "/exec/nobody/json", 404, "No such exec instance: nobody"),
        ("GET", "/containers/nobody/logs", 400, "you must choose at least one stream"),
        ("GET", "/containers/nobody/logs?stdout=1", 404, "No such container: nobody"),
        ("POST", "/containers/nobody/attach", 404, "No such container: nobody"),
        ("POST", "/containers/nobody/wait", 404, "No such container: nobody"),
        ("POST", "/containers/nobody/stop?t=soon", 400, 'parsing "soon": invalid syntax'),
        ("POST", "/containers/nobody/resize?h=a&w=1", 400, 'parsing "a": invalid syntax'),
        ("GET", "/containers/nobody/attach/ws", 400, "not a WebSocket handshake"),
        ("GET", "/containers/json?limit=few", 400, 'parsing "few": invalid syntax'),
        ("GET", '/containers/json?filters={"colour":["red"]}', 400, "invalid filter 'colour'"),
        ("GET", "/containers/json?filters=xx", 400, "invalid"),
        ("GET", '/events?filters={"colour":["red"]}', 400, "invalid filter 'colour'"),
        ("GET", "/nodes", 503, "This node is not a swarm manager."),
        ("POST", "/services/create", 503, "This node is not a swarm manager."),
        ("POST", "/swarm/leave", 503, "This node is not part of a swarm"),
        ("POST", "/build", 400, "unexpected EOF"),
        ("POST", "/build?squash=1", 400, "squash is not supported"),
        (
            "POST",
            "/build?buildargs=x",
            400,
            "error reading build args: invalid character 'x' looking for beginning of value",
        ),
        ("POST", "/build?t=A:b:c", 400, "invalid reference format"),
        ("POST", "/images/create?fromImage=localhost:1/busybox", 500, "connect: connection refused"),
    ],
)
def test_errors(api: Any, method: str, path: str, status: int, words: str) -> None:
    got, answer = api.request(method, path)
    assert (got, words in answer["message"]) == (status, True), answer


def test_no_plugins(api: Any) -> None:
    assert api.request("GET", "/plugins") == (200, [])


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"null",
        b"{}",
        b"[]",
        b'"busybox"',
        b'{"Image":"busybox"} {}',
        b'{"Image":["busybox"]}',
        b'{"Image":"busybox","HostConfig":{"Memory":"much"}}',
        b'{"Image":"busybox","HostConfig":{"Memory":1e300}}',
        b'{"Image":"busybox","HostConfig":{"PortBindings":{"80/tcp":{"HostPort":"1"}}}}',
        b'{"Image":"busybox","Labels":["a=b"]}',
        b'{"Image":"' + b"a" * (5 << 20) + b'"}',
        b"[" * 1_000_000,
        b"\x00\xff",
    ],
)
def test_bodies_that_make_no_container(api: Any, body: bytes) -> None:
    head, answer = api.ask(
        b"POST /containers/create"
        + CLOSE
        + b"Content-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(body)
        + body
    )
    assert head.startswith(b"HTTP/1.1 4")
    assert json.loads(answer)["message"]
    assert api.request("GET", "/containers/json?all=1") == (200, [])


def test_an_archive_that_is_none(api: Any) -> None:
    head, answer = api.ask(b"POST /images/load" + CLOSE + b"Content-Length: 2000000\r\n\r\n" + bytes(2_000_000))
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b'"errorDetail"' in answer


def test_an_archive_whose_client_leaves(api: Any) -> None:
    with api.connect() as client:
        client.sendall(b"POST /images/load" + CLOSE + b"Content-Length: 2000000\r\n\r\n" + bytes(1_000_000))
    assert api.request("GET", "/_ping") == (200, b"OK")


def test_past_events_end_with_until(api: Any) -> None:
    api.create("true")
    head, body = api.ask(b"GET /events?since=0&until=%.9f" % time.time() + CLOSE + b"\r\n")
    assert b"Content-Type: application/json\r\n" in head
    assert b'"Action":"create"' in body


def test_events_are_sent_as_they_happen(api: Any) -> None:
    with api.open("GET", '/events?filters={"type":["container"]}') as client:
        stream = client.makefile("rb")
        while stream.readline() != b"\r\n":
            pass
        id = api.create("true")
        size = int(stream.readline(), 16)
        event = json.loads(stream.read(size))
    assert (event["Type"], event["Action"], event["Actor"]["ID"], event["id"]) == ("container", "create", id, id)


def test_descriptors_are_not_leaked_by_clients_that_leave(api: Any, daemon: Any) -> None:
    def count() -> int:
        return len(list(Path(f"/proc/{daemon.process.pid}/fd").iterdir()))

    before = count()
    for _ in range(20):
        client = api.open("GET", "/events")
        client.recv(100)
        client.shutdown(socket.SHUT_WR)
        client.close()
    api.request("GET", "/_ping")
    assert count() <= before + 2
