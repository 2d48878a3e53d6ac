"""Networks of containers: bridges, interfaces, translation of addresses, and a rootless engine's way out."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path

from knarr.doctor import remedies
from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject
from knarr.doctor.trial import open_device, tried
from knarr.kernel import rtnetlink
from knarr.kernel.namespaces import CLONE_NEWNET, current_network
from knarr.kernel.netlink import NetlinkSocket
from knarr.kernel.nftables import Nftables
from knarr.network import foreign, sysctls

TITLE = "Network"

_TUN = "/dev/net/tun"
_MAC = "02:42:0a:00:00:01"
_MTU = 1500
_PARENT = "knarr0"
_RULES = """
add table inet knarr_doctor
add map inet knarr_doctor ports { type inet_proto . inet_service : ipv4_addr . inet_service; }
add chain inet knarr_doctor incoming { type nat hook prerouting priority dstnat; }
add rule inet knarr_doctor incoming fib daddr type local dnat ip to meta l4proto . th dport map @ports
add chain inet knarr_doctor outgoing { type nat hook postrouting priority srcnat; }
add rule inet knarr_doctor outgoing masquerade
"""
_NO_CONTAINER = "containers get no network but --network host and none"


def examine(subject: Subject) -> Iterator[Finding]:
    """All findings of the group."""
    yield tried(
        subject,
        "nftables",
        _translate,
        CLONE_NEWNET,
        effect="an engine cannot be started",
        remedy=lambda: f"{remedies.install('libnftables')}; a kernel with CONFIG_NF_TABLES and CONFIG_NFT_NAT",
        needed=True,
    )
    for kind, make in _LINKS.items():
        effect, needed = _EFFECTS[kind]
        yield tried(
            subject, kind, _links(make), CLONE_NEWNET, effect=effect, remedy=remedies.module(kind), needed=needed
        )
    yield tried(
        subject,
        "forwarding",
        _forward,
        CLONE_NEWNET,
        effect="containers reach each other only",
        remedy="run the engine where /proc/sys/net is writable (inside docker: --privileged)",
        needed=True,
    )
    yield tried(
        subject,
        "IPv6",
        _ipv6,
        CLONE_NEWNET,
        effect="networks have IPv4 alone",
        remedy="boot without ipv6.disable=1",
    )
    if subject.rootless:
        yield from _way_out(subject)
        yield _low_ports()
    else:
        yield _bridge_filter()
        yield _firewalls(subject)


def _translate() -> str:
    nftables = Nftables()
    nftables.run(_RULES)
    nftables.close()
    return ""


def _bridge(netlink: NetlinkSocket) -> None:
    netlink.request(rtnetlink.new_bridge("knarr1", _MAC, _MTU, 1))


def _veth(netlink: NetlinkSocket) -> None:
    netlink.request(rtnetlink.new_wire("knarr1", "knarr2", 1))


def _vlan(netlink: NetlinkSocket) -> None:
    netlink.request(rtnetlink.new_vlan("knarr1", _parent(netlink), 7, 1))


def _macvlan(netlink: NetlinkSocket) -> None:
    mode = rtnetlink.MACVLAN_MODES["bridge"]
    netlink.request(rtnetlink.new_macvlan("knarr1", _parent(netlink), current_network(), mode, _MAC))


def _ipvlan(netlink: NetlinkSocket) -> None:
    mode, flag = rtnetlink.IPVLAN_MODES["l2"], rtnetlink.IPVLAN_FLAGS["bridge"]
    netlink.request(rtnetlink.new_ipvlan("knarr1", _parent(netlink), current_network(), mode, flag))


def _parent(netlink: NetlinkSocket) -> int:
    """An interface for others to stand on."""
    netlink.request(rtnetlink.new_wire(_PARENT, "knarr9", 1))
    return rtnetlink.link(netlink, _PARENT).index


_LINKS: Mapping[str, Callable[[NetlinkSocket], None]] = {
    "bridge": _bridge,
    "veth": _veth,
    "8021q": _vlan,
    "macvlan": _macvlan,
    "ipvlan": _ipvlan,
}
"""How to make an interface of each kind, by the kernel module's name."""
_EFFECTS = {
    "bridge": (_NO_CONTAINER, True),
    "veth": (_NO_CONTAINER, True),
    "8021q": ("macvlan and ipvlan networks cannot have VLANs (-o parent=eth0.50)", False),
    "macvlan": ("no macvlan networks", False),
    "ipvlan": ("no ipvlan networks", False),
}


def _links(make: Callable[[NetlinkSocket], None]) -> Callable[[], str]:
    def work() -> str:
        with NetlinkSocket() as netlink:
            make(netlink)
        return ""

    return work


def _forward() -> str:
    sysctls.forward(4)
    return ""


def _ipv6() -> str:
    sysctls.write("ipv6/conf/lo/disable_ipv6", "0")
    with NetlinkSocket() as netlink:
        netlink.request(rtnetlink.set_link(1, up=True))
    with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as probe:
        probe.bind(("::1", 0))
    return ""


def _way_out(subject: Subject) -> Iterator[Finding]:
    """What connects a rootless engine's own network with the host's."""
    yield tried(
        subject,
        _TUN,
        lambda: open_device(_TUN),
        effect="containers reach each other only",
        remedy=lambda: remedies.device(_TUN, "tun"),
    )
    path = shutil.which("pasta")
    if path is None:
        effect = "containers reach each other and are reached at published ports, but reach nothing outside"
        yield missing("pasta", "not in PATH", effect, remedies.install("passt"))
        return
    yield ok("pasta", f"{path} {_version(path)}".rstrip())
    with NetlinkSocket() as netlink:
        routes = [route for route in rtnetlink.routes(netlink) if route.destination.prefixlen == 0]
    versions = sorted({f"IPv{route.destination.version}" for route in routes})
    if versions:
        yield ok("default route", " and ".join(versions))
    else:
        effect = "containers reach nothing outside: pasta goes the way of the host's default route"
        yield missing("default route", "the host has none", effect, "ip route add default via GATEWAY")


def _version(path: str) -> str:
    """A program's version by its own words; those of Debian 12 do not know theirs."""
    done = subprocess.run([path, "--version"], capture_output=True, text=True, check=False)
    words = done.stdout.split("\n", 1)[0].split()
    return words[-1] if words and words[-1] != "version" else ""


def _low_ports() -> Finding:
    first = int(Path("/proc/sys/net/ipv4/ip_unprivileged_port_start").read_text())
    if first <= 80:
        return ok("published ports", f"from {first} on")
    name = "net.ipv4.ip_unprivileged_port_start"
    effect = f"-p is refused for ports of the host below {first}"
    return missing("published ports", f"{name} is {first}", effect, remedies.sysctl(name, 80))


def _bridge_filter() -> Finding:
    if not os.path.exists("/proc/sys/net/bridge"):
        return ok("br_netfilter", "not loaded", "firewalls see nothing that stays within one bridge")
    return ok("br_netfilter", "loaded", "firewalls see what stays within one bridge, too")


def _firewalls(subject: Subject) -> Finding:
    """Others' firewalls, with which the engine comes to terms by itself."""
    if not subject.by_root:
        return unknown("other firewalls", "rules are root's to read", "sudo knarr doctor")
    found = foreign.obstacles()
    if not found:
        return ok("other firewalls", "none in the way")
    return ok("other firewalls", ", ".join(found), "the engine has them let its bridges through")
