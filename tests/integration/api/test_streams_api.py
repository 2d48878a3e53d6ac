"""Hijacked connections and streams of real containers: attach, exec, wait, logs."""

from __future__ import annotations

import base64
import json
import os
import socket
import struct
from typing import Any

import pytest
from raw_http import frames, read_all, read_head

UPGRADE = ("Connection: Upgrade", "Upgrade: tcp")
CAT = {"OpenStdin": True, "StdinOnce": True, "AttachStdin": True}


def start(api: Any, id: str) -> None:
    assert api.request("POST", f"/containers/{id}/start")[0] == 204


@pytest.mark.parametrize("headers", [UPGRADE, ()])
@pytest.mark.parametrize("ahead", [b"", b"early\n"])
def test_attach_before_start(api: Any, headers: tuple[str, ...], ahead: bytes) -> None:
    id = api.create("cat", **CAT)
    path = f"/v1.42/containers/{id}/attach?stream=1&stdin=1&stdout=1&stderr=1"
    with api.open("POST", path, *headers, ahead=ahead) as client:
        head = read_head(client)
        start(api, id)
        client.sendall(b"late\n")
        client.shutdown(socket.SHUT_WR)
        assert frames(read_all(client)) == [(1, ahead + b"late\n")]
    assert head.startswith(b"HTTP/1.1 101 UPGRADED\r\n" if headers else b"HTTP/1.1 200 OK\r\n")
    assert b"Content-Type: application/vnd.docker.multiplexed-stream\r\n" in head


@pytest.mark.parametrize("path", ["attach?stream=1&stdout=1&detachKeys=zz", "start?detachKeys=zz"])
def test_keys_that_are_none(api: Any, path: str) -> None:
    status, answer = api.request("POST", f"/containers/{api.create('true')}/{path}")
    assert (status, "zz" in answer["message"]) == (400, True)


def test_two_streams(api: Any) -> None:
    id = api.create("sh", "-c", "echo out; sleep 0.1; echo err >&2")
    with api.open("POST", f"/v1.41/containers/{id}/attach?stream=1&stdout=1&stderr=1", *UPGRADE) as client:
        assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in read_head(client)
        start(api, id)
        assert frames(read_all(client)) == [(1, b"out\n"), (2, b"err\n")]


def test_a_terminal_is_raw(api: Any) -> None:
    id = api.create("sh", "-c", "test -t 1 && echo yes", Tty=True)
    with api.open("POST", f"/containers/{id}/attach?stream=1&stdout=1", *UPGRADE) as client:
        assert b"Content-Type: application/vnd.docker.raw-stream\r\n" in read_head(client)
        start(api, id)
        assert read_all(client) == b"yes\r\n"


def test_attach_to_a_paused_container_is_refused(api: Any) -> None:
    id = api.run("sleep", "60")
    assert api.request("POST", f"/containers/{id}/pause")[0] == 204
    with api.open("POST", f"/containers/{id}/attach?stream=1&stdout=1", *UPGRADE) as client:
        assert read_head(client).startswith(b"HTTP/1.1 409 Conflict\r\n")
    assert api.request("POST", f"/containers/{id}/unpause")[0] == 204


def test_much_data_through_attach(api: Any) -> None:
    id = api.create("cat", **CAT)
    data = os.urandom(50_000)
    with api.open("POST", f"/containers/{id}/attach?stream=1&stdin=1&stdout=1", *UPGRADE) as client:
        read_head(client)
        start(api, id)
        for _ in range(20):
            client.sendall(data)
        client.shutdown(socket.SHUT_WR)
        assert frames(read_all(client)) == [(1, data * 20)]


def test_attach_by_websocket(api: Any) -> None:
    id = api.create("sh", "-c", "read x; echo got $x", OpenStdin=True)
    key = base64.b64encode(os.urandom(16)).decode()
    handshake = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {key}")
    with api.open("GET", f"/containers/{id}/attach/ws?stream=1&stdin=1&stdout=1", *handshake) as client:
        assert read_head(client).startswith(b"HTTP/1.1 101 ")
        start(api, id)
        client.sendall(struct.pack("!BB4s", 0x82, 0x80 | 5, bytes(4)) + b"word\n")
        assert read_all(client) == b"\x82\x09got word\n" + b"\x88\x02\x03\xe8"


def exec_create(api: Any, id: str, *command: str, **options: Any) -> str:
    body = {"Cmd": [*command], "AttachStdout": True, "AttachStderr": True, **options}
    status, answer = api.request("POST", f"/containers/{id}/exec", body)
    assert status == 201, answer
    return str(answer["Id"])


@pytest.mark.parametrize("headers", [UPGRADE, ()])
def test_exec(api: Any, headers: tuple[str, ...]) -> None:
    id = exec_create(api, api.run("sleep", "60"), "sh", "-c", "cat; exit 3", AttachStdin=True)
    path, body = f"/exec/{id}/start", b'{"Detach":false,"Tty":false}'
    with api.open("POST", path, "Content-Type: application/json", *headers, body=body, ahead=b"in") as client:
        read_head(client)
        client.sendall(b"put")
        client.shutdown(socket.SHUT_WR)
        assert frames(read_all(client)) == [(1, b"input")]
    assert api.request("GET", f"/exec/{id}/json")[1]["ExitCode"] == 3


def test_exec_detached(api: Any) -> None:
    id = exec_create(api, api.run("sleep", "60"), "sleep", "60")
    assert api.request("POST", f"/exec/{id}/start", {"Detach": True})[0] == 200
    assert api.request("GET", f"/exec/{id}/json")[1]["Running"] is True
    assert api.request("POST", f"/exec/{id}/start", {"Detach": True})[0] == 409


def test_wait_tells_that_it_waits(api: Any) -> None:
    id = api.create("sh", "-c", "exit 5")
    with api.open("POST", f"/containers/{id}/wait?condition=next-exit", "Connection: close") as client:
        assert read_head(client).startswith(b"HTTP/1.1 200 OK\r\n")
        start(api, id)
        assert json.loads(read_all(client).split(b"\r\n")[1]) == {"StatusCode": 5}


@pytest.mark.parametrize(
    ("version", "tty", "kind"),
    [("1.41", False, b"raw"), ("1.42", False, b"multiplexed"), ("1.50", True, b"raw")],
)
def test_logs(api: Any, version: str, tty: bool, kind: bytes) -> None:
    id = api.run("echo", "text", Tty=tty)
    api.request("POST", f"/containers/{id}/wait")
    head, body = api.ask(f"GET /v{version}/containers/{id}/logs?stdout=1 HTTP/1.0\r\nHost: x\r\n\r\n".encode())
    assert b"Content-Type: application/vnd.docker.%b-stream\r\n" % kind in head
    assert body == b"text\r\n" if tty else frames(body) == [(1, b"text\n")]


def test_followed_logs_end_with_the_container(api: Any) -> None:
    id = api.run("sh", "-c", "echo one; read x", OpenStdin=True)
    with api.open("GET", f"/containers/{id}/logs?stdout=1&follow=1", "Connection: close") as client:
        read_head(client)
        assert client.recv(100).endswith(b"one\n\r\n")
        api.request("POST", f"/containers/{id}/kill")
        assert read_all(client) == b"0\r\n\r\n"


def test_start_and_stop_twice(api: Any) -> None:
    id = api.run("sleep", "60")
    assert api.request("POST", f"/containers/{id}/start") == (304, b"")
    assert api.request("POST", f"/containers/{id}/stop?t=0") == (204, b"")
    assert api.request("POST", f"/containers/{id}/stop") == (304, b"")


def test_start_with_a_body(api: Any) -> None:
    id = api.create("true")
    assert api.request("POST", f"/containers/{id}/start", {"Binds": []})[0] == 400
    assert api.request("POST", f"/containers/{id}/start", {})[0] == 204
