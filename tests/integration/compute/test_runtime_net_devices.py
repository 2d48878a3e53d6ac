"""Interfaces of the host's that knarr-runtime gives to containers."""

from __future__ import annotations

import contextlib
import os
import subprocess
from collections.abc import Iterator
from ipaddress import ip_interface

import pytest
from compute_bench import runtime_spec
from runtime_bench import Runtime

from knarr.compute.spec import NetDevice
from knarr.kernel import rtnetlink
from knarr.kernel.netlink import NetlinkError, NetlinkSocket

NAME = f"kt{os.getpid()}"
PEER = f"kp{os.getpid()}"


@pytest.fixture
def device() -> Iterator[str]:
    """An interface with addresses."""
    with NetlinkSocket() as sock:
        sock.request(rtnetlink.new_wire(NAME, PEER, 0))
        try:
            index = rtnetlink.link(sock, NAME).index
            sock.request(rtnetlink.set_link(index, mtu=1300, mac="02:00:00:00:00:07"))
            for text in ("10.209.7.1/24", "fd00:209::7/64"):
                sock.request(rtnetlink.add_address(index, ip_interface(text)))
            yield NAME
        finally:
            with contextlib.suppress(NetlinkError):  # it goes with the namespace of its other end, after a while
                sock.request(rtnetlink.delete_link(PEER))


def run(runtime: Runtime, devices: dict[str, NetDevice], *args: str) -> subprocess.CompletedProcess[str]:
    spec = runtime_spec(*args)
    spec.linux.net_devices = devices
    runtime.configure(spec)
    return runtime("run", runtime.id)


@pytest.mark.parametrize(("new", "name"), [("", NAME), ("lan0", "lan0"), ("lan%d", "lan0")])
def test_an_interface_keeps_what_it_has(runtime: Runtime, device: str, new: str, name: str) -> None:
    done = run(runtime, {device: NetDevice(new)}, "ip", "address", "show", "dev", name)
    assert done.returncode == 0, done.stderr
    assert "mtu 1300" in done.stdout and "02:00:00:00:00:07" in done.stdout and ",UP" in done.stdout
    assert "inet 10.209.7.1/24" in done.stdout and "inet6 fd00:209::7/64" in done.stdout
    with NetlinkSocket() as sock:
        assert device not in {link.name for link in rtnetlink.links(sock)}


@pytest.mark.parametrize(
    ("devices", "words"),
    [
        ({"no-such": NetDevice()}, "moving network device no-such to the container: no such device"),
        ({NAME: NetDevice("lo")}, f"moving network device {NAME} to the container: file exists"),
        ({NAME: NetDevice("a/b")}, 'invalid network device name "a/b"'),
        ({NAME: NetDevice("a" * 16)}, 'invalid network device name "aaaaaaaaaaaaaaaa"'),
    ],
)
def test_what_cannot_be_moved_stays(runtime: Runtime, device: str, devices: dict[str, NetDevice], words: str) -> None:
    done = run(runtime, devices, "true")
    assert (done.returncode, words in done.stderr) == (1, True), done.stderr
    with NetlinkSocket() as sock:
        assert rtnetlink.link(sock, device).name == device


def test_the_hosts_own_network_needs_no_interfaces(runtime: Runtime) -> None:
    spec = runtime_spec("true")
    spec.linux.namespaces = [one for one in spec.linux.namespaces if one.type != "network"]
    spec.linux.net_devices = {"lo": NetDevice()}
    runtime.configure(spec)
    assert "without a private NET namespace" in runtime("run", runtime.id).stderr
