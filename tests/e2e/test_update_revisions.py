"""Ports and mounts of containers that exist, changed by what knarr has added to POST /containers/ID/update."""

from __future__ import annotations

import socket
import subprocess
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import knarr_program
import pytest
from harness import Daemon

SERVE = "mkdir /www; echo one > /www/i; httpd -p 80 -h /www; httpd -p 81 -h /www; echo ready; exec sleep 1000"


@pytest.fixture
def web(engine_host: Daemon) -> Iterator[str]:
    """A container that serves on 80, which is published, and on 81, which is not."""
    name = f"t-{uuid.uuid4().hex[:8]}"
    engine_host.docker("run", "-d", "--name", name, "-p", "127.0.0.1::80", "busybox", "sh", "-c", SERVE)
    with engine_host.follow(name) as output:
        assert output.readline() == b"ready\n"
    yield name
    engine_host.docker("rm", "-f", "-v", name)


def update(daemon: Daemon, name: str, status: int = 200, **members: Any) -> str:
    """The error, if that is what is expected."""
    got, answer = daemon.request("POST", f"/containers/{name}/update", members)
    assert got == status, answer
    return str(answer.get("message", ""))


def port(daemon: Daemon, name: str, inside: int) -> int:
    """The host port of a published one."""
    return int(daemon.text("port", name, str(inside)).splitlines()[0].rpartition(":")[2])


def fetch(number: int) -> bytes:
    with socket.create_connection(("127.0.0.1", number), 10) as client:
        client.sendall(b"GET /i HTTP/1.0\r\n\r\n")
        return b"".join(iter(lambda: client.recv(4096), b""))


def is_open(number: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", number), 10).close()
    except ConnectionRefusedError:
        return False
    return True


def test_a_port_of_a_running_container(engine_host: Daemon, web: str) -> None:
    before = port(engine_host, web, 80)
    update(engine_host, web, AddPorts={"81/tcp": [{"HostIp": "127.0.0.1"}]})
    added = port(engine_host, web, 81)
    assert fetch(added).endswith(b"one\n")
    update(engine_host, web, RemovePorts={"80/tcp": None})
    assert not is_open(before)
    assert fetch(added).endswith(b"one\n")
    assert engine_host.text("port", web) == f"81/tcp -> 127.0.0.1:{added}"


def test_ports_hold_over_restarts(new_daemon: Callable[..., Daemon], busybox_archive: bytes) -> None:
    daemon = new_daemon()
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)
    daemon.docker("run", "-d", "--name", "web", "busybox", "sh", "-c", SERVE)
    update(daemon, "web", AddPorts={"81/tcp": [{"HostIp": "127.0.0.1"}]})
    number = port(daemon, "web", 81)
    daemon.kill()
    daemon.start()
    assert port(daemon, "web", 81) == number
    assert is_open(number)


def test_a_port_that_is_taken_changes_nothing(engine_host: Daemon, web: str) -> None:
    taken = port(engine_host, web, 80)
    wanted = {"81/tcp": [{"HostIp": "127.0.0.1", "HostPort": str(taken)}]}
    words = update(engine_host, web, 500, AddPorts=wanted, AddMounts=[{"Type": "tmpfs", "Target": "/t"}])
    assert words.endswith("failed: port is already allocated")
    assert engine_host.text("inspect", "-f", "{{len .Mounts}} {{len .HostConfig.PortBindings}}", web) == "0 1"


def test_ports_that_make_no_sense(engine_host: Daemon, web: str) -> None:
    assert update(engine_host, web, 400, RemovePorts={"99/udp": None}).endswith("does not publish port 99/udp")
    assert "invalid port specification" in update(engine_host, web, 400, AddPorts={"x": None})


def test_mounts_of_a_running_container(engine_host: Daemon, web: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("data")
    update(
        engine_host,
        web,
        AddMounts=[
            {"Type": "bind", "Source": str(tmp_path), "Target": "/m/a"},
            {"Type": "bind", "Source": str(tmp_path / "f"), "Target": "/etc/f", "ReadOnly": True},
            {"Type": "volume", "Source": f"{web}-v", "Target": "/www"},
        ],
    )
    assert engine_host.text("exec", web, "cat", "/m/a/f", "/etc/f", "/www/i") == "datadataone"
    assert engine_host.docker("exec", web, "sh", "-c", "echo x > /etc/f", check=False).returncode
    update(engine_host, web, RemoveMounts=["/m/a", "/etc/f/", "/www"])
    assert engine_host.text("exec", web, "sh", "-c", "ls /m/a; cat /etc/f; mount | grep -c -e /m/ -e /etc/f; :") == "0"
    engine_host.docker("volume", "rm", f"{web}-v")


def test_mounts_of_a_stopped_container(engine_host: Daemon, web: str) -> None:
    engine_host.docker("kill", web)
    update(engine_host, web, AddMounts=[{"Type": "tmpfs", "Target": "/t"}])
    engine_host.docker("start", web)
    assert engine_host.text("exec", web, "stat", "-f", "-c", "%T", "/t") == "tmpfs"


def test_a_mount_that_fails_takes_back_the_others(engine_host: Daemon, web: str, tmp_path: Path) -> None:
    mounts = [{"Type": "tmpfs", "Target": "/t"}, {"Type": "bind", "Source": str(tmp_path), "Target": "/proc/x"}]
    update(engine_host, web, 500, AddMounts=mounts)
    assert engine_host.text("exec", web, "sh", "-c", "mount | grep -c ' /t '; :") == "0"
    assert engine_host.text("inspect", "-f", "{{len .Mounts}}", web) == "0"


def test_mounts_that_make_no_sense(engine_host: Daemon, web: str) -> None:
    tmpfs = {"Type": "tmpfs", "Target": "/t"}
    assert update(engine_host, web, 400, AddMounts=[tmpfs, tmpfs]) == "Duplicate mount point: /t"
    assert update(engine_host, web, 400, RemoveMounts=["/t"]) == f"container {web} has no mount at /t"
    image = {"Type": "image", "Source": "busybox", "Target": "/i"}
    assert "cannot mount an image at /i while" in update(engine_host, web, 409, AddMounts=[image])


def test_with_another_containers_network_there_are_no_ports(engine_host: Daemon, web: str) -> None:
    id = engine_host.text("create", "--network", f"container:{web}", "busybox", "true")
    assert "port publishing and the network mode" in update(engine_host, id, 400, AddPorts={"80": None})
    engine_host.docker("rm", id)


def knarr(daemon: Daemon, *arguments: str) -> subprocess.CompletedProcess[bytes]:
    return knarr_program.run(daemon.host, "update", *arguments)


def test_with_knarr(engine_host: Daemon, web: str) -> None:
    number = port(engine_host, web, 80)
    done = knarr(engine_host, "--publish-add", "127.0.0.1::81", "--mount-add", "type=tmpfs,target=/t", web)
    assert (done.returncode, done.stdout.decode()) == (0, f"{web}\n"), done.stderr
    assert engine_host.text("exec", web, "stat", "-f", "-c", "%T", "/t") == "tmpfs"
    assert is_open(port(engine_host, web, 81))
    done = knarr(engine_host, "--publish-rm", f"{number}:80", "--publish-rm", "81", "--mount-rm", "/t", web)
    assert done.returncode == 0, done.stderr
    assert engine_host.text("port", web) == ""
    assert knarr(engine_host, "--mount-rm", "/t", web).returncode == 1
