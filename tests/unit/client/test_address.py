from __future__ import annotations

from pathlib import Path

import pytest

from knarr.client import address
from knarr.client.address import TLS
from knarr.client.errors import ConnectionFailed
from knarr.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "host", "port", "path"),
    [
        ("unix:///run/x.sock", "", 0, "/run/x.sock"),
        ("/run/x.sock", "", 0, "/run/x.sock"),
        ("tcp://box:1234", "box", 1234, ""),
        ("tcp://box", "box", 2375, ""),
        ("box:1", "box", 1, ""),
        ("tcp://[::1]:5/base/", "::1", 5, "/base"),
        ("tcp://:7", "127.0.0.1", 7, ""),
        ("http://box", "box", 2375, ""),
    ],
)
def test_forms(text: str, host: str, port: int, path: str) -> None:
    found = address.parse(text)
    assert (found.host, found.port, found.path, found.tls) == (host, port, path, None)


@pytest.mark.parametrize(
    "text",
    ["ssh://", "ssh://-oProxyCommand=x", "ssh://u:p@box", "unix://", "tcp://box:x", "tcp://box:99999", "npipe:////x"],
)
def test_what_is_no_address(text: str) -> None:
    with pytest.raises(InvalidParameter, match=r"unable to parse docker host|invalid SSH URL"):
        address.parse(text)


def test_the_port_of_tls() -> None:
    assert address.parse("tcp://box", TLS()).port == 2376
    assert address.parse("https://box").tls is not None


def test_the_environment() -> None:
    assert address.from_environment({}).text == address.default({})
    assert address.from_environment({"DOCKER_HOST": "unix:///d"}).path == "/d"
    assert address.from_environment({"DOCKER_HOST": "unix:///d", "KNARR_HOST": "unix:///k"}).path == "/k"


def test_tls_of_the_environment(tmp_path: Path) -> None:
    (tmp_path / "ca.pem").touch()
    tls = address.tls_from_environment({"DOCKER_TLS_VERIFY": "1", "DOCKER_CERT_PATH": str(tmp_path)})
    assert tls is not None
    assert (tls.verify, tls.ca, tls.cert) == (True, str(tmp_path / "ca.pem"), "")
    assert address.tls_from_environment({"DOCKER_TLS_VERIFY": ""}) is None


@pytest.mark.parametrize(("exists", "words"), [(False, "Is the docker daemon running"), (True, "Is the docker daemon")])
def test_nobody_there(tmp_path: Path, exists: bool, words: str) -> None:
    if exists:
        (tmp_path / "s").touch()
    with pytest.raises(ConnectionFailed, match=words):
        address.parse(f"unix://{tmp_path}/s").connect()


def test_wrong_certificates(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="TLS certificates"):
        TLS(ca=str(tmp_path / "missing")).context()


def test_who_may_use_a_socket_is_told(tmp_path: Path) -> None:
    socket = tmp_path / "s"
    socket.touch()
    error = address.unreachable(address.parse(f"unix://{socket}"), PermissionError())
    assert str(error).endswith(f"unix://{socket}: connect: permission denied\nUse sudo.") or "the group" in str(error)
