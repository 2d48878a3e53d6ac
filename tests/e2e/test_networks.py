"""Networks, as the docker command and knarr make and use them."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor, as_completed

import knarr_program
import pytest
from harness import Daemon

from knarr.kernel import rtnetlink
from knarr.kernel.netlink import NetlinkSocket

Docker = Callable[..., str]


@pytest.fixture
def name(engine_host: Daemon) -> Iterator[str]:
    """For a network and its containers NAME-1, NAME-2, which are removed."""
    name = f"n{uuid.uuid4().hex[:8]}"
    yield name
    for kind, names in (("rm", [f"{name}-1", f"{name}-2"]), ("network", [name, f"{name}-more"])):
        command = ["rm", "-f"] if kind == "rm" else ["network", "rm"]
        for each in names:
            engine_host.docker(*command, each, check=False)


def inspect(docker: Docker, kind: str, name: str) -> dict:
    return json.loads(docker(kind, "inspect", name))[0]


def test_ipv6_is_in_inspect_and_in_the_container(docker: Docker, name: str) -> None:
    docker("network", "create", "--ipv6", "--subnet", "fd77::/64", name)
    docker("run", "-d", "--name", f"{name}-1", "--network", name, "--ip6", "fd77::9", "busybox", "sleep", "1000")
    place = inspect(docker, "container", f"{name}-1")["NetworkSettings"]["Networks"][name]
    assert (place["GlobalIPv6Address"], place["GlobalIPv6PrefixLen"]) == ("fd77::9", 64)
    assert place["IPv6Gateway"] == "fd77::1"
    assert place["DNSNames"][0] == f"{name}-1"
    assert "fd77::9\t" in docker("exec", f"{name}-1", "cat", "/etc/hosts")
    shown = inspect(docker, "network", name)
    assert [shown["EnableIPv4"], shown["EnableIPv6"]] == [True, True]
    assert [entry["IPv6Address"] for entry in shown["Containers"].values()] == ["fd77::9/64"]


def test_a_network_of_ipv6_alone(docker: Docker, name: str) -> None:
    docker("network", "create", "--ipv4=false", "--ipv6", name)
    assert "inet 1" not in docker("run", "--rm", "--network", name, "busybox", "ip", "-4", "addr", "show", "eth0")
    script = "ping -6 -c1 -w5 $(ip -6 route | sed -n 's/default via \\([^ ]*\\).*/\\1/p')"
    assert "1 packets received" in docker("run", "--rm", "--network", name, "busybox", "sh", "-c", script)


def test_endpoint_options_and_gateway_priority(docker: Docker, name: str) -> None:
    for network, subnet in ((name, "10.171.1.0/24"), (f"{name}-more", "10.171.2.0/24")):
        docker("network", "create", "--subnet", subnet, network)
    options = (
        f"name={name},driver-opt=com.docker.network.endpoint.ifname=front,"
        '"driver-opt=com.docker.network.endpoint.sysctls=net.ipv4.conf.IFNAME.log_martians=1"'
    )
    script = "ls /sys/class/net; cat /proc/sys/net/ipv4/conf/front/log_martians; ip route show default"
    second = f"name={name}-more,gw-priority=1"
    shown = docker("run", "--rm", "--network", options, "--network", second, "busybox", "sh", "-c", script)
    assert shown.split()[:3] == ["eth0", "front", "lo"]
    assert shown.split()[3] == "1"
    assert "default via 10.171.2.1" in shown


def test_a_restarted_container_keeps_its_address(docker: Docker, name: str) -> None:
    docker("network", "create", "--subnet", "10.172.1.0/24", name)
    flags = ["--network", name, "--ip", "10.172.1.7"]
    docker("run", "-d", "--name", f"{name}-1", *flags, "busybox", "sleep", "1000")
    docker("restart", "-t", "0", f"{name}-1")
    places = inspect(docker, "container", f"{name}-1")["NetworkSettings"]["Networks"]
    assert places[name]["IPAddress"] == "10.172.1.7"


def test_macvlan_through_the_docker_command(docker: Docker, name: str) -> None:
    docker("network", "create", "-d", "macvlan", "--subnet", "10.173.1.0/24", name)
    docker("run", "-d", "--name", f"{name}-1", "--network", name, "busybox", "sleep", "1000")
    asked = ["ping", "-c1", "-w5", f"{name}-1"]
    assert "1 packets received" in docker("run", "--rm", "--network", name, "busybox", *asked)


def test_configurations(docker: Docker, engine_host: Daemon, name: str) -> None:
    docker("network", "create", "--config-only", "--subnet", "10.174.1.0/24", f"{name}-more")
    docker("network", "create", "--config-from", f"{name}-more", name)
    shown = inspect(docker, "network", name)
    assert (shown["IPAM"]["Config"][0]["Subnet"], shown["ConfigFrom"]) == (
        "10.174.1.0/24",
        {"Network": f"{name}-more"},
    )
    assert inspect(docker, "network", f"{name}-more")["ConfigOnly"] is True
    refused = engine_host.docker("network", "rm", f"{name}-more", check=False)
    assert b"is in use" in refused.stderr
    docker("network", "rm", name)


@pytest.mark.parametrize(
    ("flags", "words"),
    [
        (["-d", "overlay"], b"This node is not a swarm manager"),
        (["--ingress"], b"Ingress network can only be global scope network"),
        (["--scope", "swarm"], b"cannot create a swarm scoped network when swarm is not active"),
        (["-d", "nosuch"], b"could not find plugin nosuch"),
        (["-o", "com.docker.network.bridge.nosuch=1"], b"unknown option com.docker.network.bridge.nosuch"),
        (["--subnet", "10.175.1.0/24", "--subnet", "10.175.2.0/24"], b"doesn't support multiple subnets"),
    ],
)
def test_what_cannot_be_made(engine_host: Daemon, name: str, flags: list[str], words: bytes) -> None:
    refused = engine_host.docker("network", "create", *flags, name, check=False)
    assert refused.returncode == 1
    assert words in refused.stderr


def test_knarr_makes_and_connects(engine_host: Daemon, docker: Docker, name: str) -> None:
    host = engine_host.host
    subnets = ["--subnet", "10.176.1.0/24", "--subnet", "fd76::/64", "--gateway", "fd76::fe", "--ipv6"]
    knarr_program.text(host, "network", "create", *subnets, "--aux-address", "x=10.176.1.5", name)
    knarr_program.text(host, "run", "-d", "--name", f"{name}-1", "busybox", "sleep", "1000")
    flags = ["--ip", "10.176.1.9", "--ip6", "fd76::9", "--gw-priority", "3"]
    flags += ["--driver-opt", "com.docker.network.endpoint.ifname=back"]
    knarr_program.text(host, "network", "connect", *flags, name, f"{name}-1")
    shown = docker(
        "exec", f"{name}-1", "sh", "-c", "ip addr show back; ip route show default; ip -6 route show default"
    )
    for part in ("10.176.1.9/24", "fd76::9/64", "default via 10.176.1.1", "default via fd76::fe"):
        assert part in shown
    config = inspect(docker, "network", name)["IPAM"]["Config"]
    assert [entry.get("AuxiliaryAddresses") for entry in config] == [{"x": "10.176.1.5"}, None]
    missing = knarr_program.run(host, "network", "rm", "-f", f"{name}-none")
    assert missing.returncode == 0


def test_killed_while_networks_are_made(new_daemon: Callable[..., Daemon]) -> None:
    """At any moment: what is there afterwards is what the engine knows, and all of it works."""
    daemon = new_daemon()
    daemon.start()
    before = bridges()
    with ThreadPoolExecutor(4) as pool:
        makers = [pool.submit(daemon.docker, "network", "create", f"k{i}", check=False) for i in range(12)]
        next(as_completed(makers))
        daemon.kill()
    answered = [f"k{i}" for i, maker in enumerate(makers) if maker.result().returncode == 0]
    daemon.start()
    known = daemon.text("network", "ls", "--format", "{{.Name}}", "--filter", "type=custom").split()
    assert set(answered) <= set(known)
    daemon.text("network", "rm", *known)
    assert bridges() - before <= {daemon.bridge}


def bridges() -> set[str]:
    """The links that belong to networks, of any engine here."""
    with NetlinkSocket() as sock:
        return {link.name for link in rtnetlink.links(sock) if link.kind == "bridge"}


def test_a_macvlan_container_restarts_with_its_own_mac(docker: Docker, name: str) -> None:
    docker("network", "create", "-d", "macvlan", "--subnet", "10.177.1.0/24", name)
    place = f"name={name},mac-address=02:42:0a:00:00:99"
    docker("run", "-d", "--name", f"{name}-1", "--network", place, "busybox", "sleep", "1000")
    for _ in range(3):
        docker("restart", "-t", "0", f"{name}-1")
    assert "02:42:0a:00:00:99" in docker("exec", f"{name}-1", "ip", "link", "show", "eth0")
