"""Names in user-defined networks: /etc/hosts, /etc/resolv.conf and the name server, through the docker command."""

from __future__ import annotations

import os
import signal
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from harness import Daemon

Docker = Callable[..., str]


@pytest.fixture
def network(docker: Docker) -> Iterator[str]:
    name = f"n-{uuid.uuid4().hex[:8]}"
    docker("network", "create", name)
    yield name
    docker("network", "rm", name)


@pytest.fixture
def up(docker: Docker) -> Iterator[str]:
    """A running container, on the default bridge."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    docker("run", "-d", "--name", name, "busybox", "sleep", "1000")
    yield name
    docker("rm", "-f", name)


def test_hosts_lines_of_ones_own_outlive_a_connection(docker: Docker, network: str, up: str) -> None:
    docker("exec", up, "sh", "-c", "echo 10.9.9.9 mine >> /etc/hosts")
    before = docker("exec", up, "cat", "/etc/hosts")
    docker("network", "connect", network, up)
    connected = docker("exec", up, "cat", "/etc/hosts")
    assert connected.startswith(before) and len(connected.splitlines()) == len(before.splitlines()) + 1
    docker("network", "disconnect", network, up)
    assert docker("exec", up, "cat", "/etc/hosts") == before


def test_resolv_conf_follows_unless_somebody_has_changed_it(docker: Docker, network: str, up: str) -> None:
    docker("network", "connect", network, up)
    assert "nameserver 127.0.0.11" in docker("exec", up, "cat", "/etc/resolv.conf")
    docker("exec", up, "sh", "-c", "echo nameserver 192.0.2.7 > /etc/resolv.conf")
    docker("network", "disconnect", network, up)
    assert docker("exec", up, "cat", "/etc/resolv.conf") == "nameserver 192.0.2.7"


def _name_server(daemon: Daemon) -> int:
    wanted = f"knarr.network.resolver\0{daemon.run_root}/dns".encode()
    return next(int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if wanted in path.read_bytes())


def test_names_are_found_after_everything_was_killed(new_daemon: Callable[..., Daemon], busybox_archive: bytes) -> None:
    daemon = new_daemon()
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    daemon.text("network", "create", "n")
    for name in ("one", "two"):
        daemon.text("run", "-d", "--name", name, "--network", "n", "busybox", "sleep", "1000")
    daemon.kill()
    os.kill(_name_server(daemon), signal.SIGKILL)
    daemon.start()
    assert "Name:\ttwo" in daemon.text("exec", "one", "nslookup", "two", "127.0.0.11")
