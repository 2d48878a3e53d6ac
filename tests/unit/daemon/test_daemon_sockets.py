"""Listening sockets: stale ones, modes, addresses that would be an open door, activation."""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest

from knarr.daemon.config import DaemonConfig
from knarr.daemon.sockets import Listener, listen
from knarr.errors import Conflict, InvalidParameter


@pytest.fixture
def short_path() -> Iterator[Path]:
    with TemporaryDirectory(prefix="k", dir="/tmp") as directory:
        yield Path(directory) / "deeper" / "s"


def bind(*addresses: str, **settings: object) -> list[Listener]:
    return listen(DaemonConfig(hosts=list(addresses), group="", **settings))  # type: ignore[arg-type]


def test_a_unix_socket_is_its_owners_only(short_path: Path) -> None:
    [listener] = bind(f"unix://{short_path}")
    assert stat.S_IMODE(short_path.stat().st_mode) == 0o600
    listener.close()
    assert not short_path.exists()


def test_a_stale_socket_is_replaced(short_path: Path) -> None:
    [first] = bind(f"unix://{short_path}")
    first.socket.close()
    [second] = bind(f"unix://{short_path}")
    second.close()


def test_a_socket_that_answers_is_left_alone(short_path: Path) -> None:
    [first] = bind(f"unix://{short_path}")
    with pytest.raises(Conflict, match="another process answers there"):
        bind(f"unix://{short_path}")
    assert short_path.exists()
    first.close()


def test_a_file_in_the_way_is_left_alone(short_path: Path) -> None:
    short_path.parent.mkdir()
    short_path.write_text("precious")
    with pytest.raises(Conflict, match="a file of another kind"):
        bind(f"unix://{short_path}")
    assert short_path.read_text() == "precious"


def test_all_addresses_are_bound_or_none(short_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="Invalid bind address format: bogus://x"):
        bind(f"unix://{short_path}", "bogus://x")
    assert not short_path.exists()


@pytest.mark.parametrize("address", ["tcp://0.0.0.0:0", "tcp://:0", "tcp://[::]:0", "tcp://192.0.2.1:0"])
def test_plain_tcp_is_refused_off_loopback(address: str) -> None:
    with pytest.raises(InvalidParameter, match="would be root on this host"):
        bind(address)
    with pytest.raises(InvalidParameter, match="would be root on this host"):
        bind(address, tls=True)


def test_plain_tcp_on_loopback() -> None:
    [listener] = bind("tcp://127.0.0.1:0")
    port = listener.socket.getsockname()[1]
    assert (listener.address, listener.tls) == (f"tcp://127.0.0.1:{port}", False)
    listener.close()


def test_a_taken_port_is_a_conflict() -> None:
    [listener] = bind("tcp://127.0.0.1:0")
    with pytest.raises(Conflict, match="bind: address already in use"):
        bind(listener.address)
    listener.close()


@pytest.mark.parametrize(
    "address", ["x", "unix://", "tcp://127.0.0.1:x", "tcp://127.0.0.1:70000", "tcp://127.0.0.1:1/x"]
)
def test_malformed_addresses(address: str) -> None:
    with pytest.raises(InvalidParameter, match="Invalid bind address format"):
        bind(address)


def test_a_path_too_long_for_the_kernel() -> None:
    with pytest.raises(InvalidParameter, match="at most 107 bytes"):
        bind("unix:///" + "x" * 107)


def test_activation_needs_sockets(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LISTEN_PID", str(os.getpid() + 1))
    monkeypatch.setenv("LISTEN_FDS", "1")
    with pytest.raises(InvalidParameter, match="no sockets found via socket activation"):
        bind("fd://")


def test_group_must_exist(short_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="group no-such-group not found"):
        listen(DaemonConfig(hosts=[f"unix://{short_path}"], group="no-such-group"))


def test_listening_sockets_are_not_inherited(short_path: Path) -> None:
    [listener] = bind(f"unix://{short_path}")
    assert not listener.socket.get_inheritable()
    with socket.socket(socket.AF_UNIX) as client:
        client.connect(str(short_path))
    listener.close()
