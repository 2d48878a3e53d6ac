"""The daemon's nftables table as nft(8) text: which packets reach containers, and how they are translated. Pure.

A published port is one element of a map, so that a packet's way is equally short with one port and with thousands.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct

from knarr.network.model import VERSIONS, BoundPort, Endpoint, IPNetwork

_ANY = ("0.0.0.0", "::")


class BridgeRules(Struct, frozen=True):
    """What the firewall must know of a bridge network.

    `internal` ones reach nothing outside; with `connected` containers reach each other; `masquerade` gives them the
    host's address outside, the one of `host_addresses` if there is one. `modes` (see `options.GATEWAY_MODES`) and
    `host_addresses` are by IP version. Published ports are reached at their containers' addresses from `trusted`
    interfaces, and from all where the mode is routed. The `virtual` addresses of an alias stand for several
    containers, chosen `by_source` or in turn.
    """

    interface: str
    subnets: Sequence[IPNetwork]
    internal: bool = False
    connected: bool = True
    masquerade: bool = True
    modes: Mapping[int, str] = {}
    host_addresses: Mapping[int, str] = {}
    trusted: Sequence[str] = ()
    network_id: str = ""
    virtual: Mapping[str, Sequence[str]] = {}
    by_source: bool = False

    def mode(self, version: int) -> str:
        """How containers and the world reach each other with that IP version."""
        return self.modes.get(version, "nat")


def table_text(table: str, bridges: Sequence[BridgeRules]) -> str:
    """The whole table, in place of a former one, without a published port."""
    names = ", ".join(f'"{bridge.interface}"' for bridge in bridges)
    inside = _elements_of(f'"{bridge.interface}" . "{bridge.interface}"' for bridge in bridges if bridge.connected)
    internal = _elements_of(f'"{bridge.interface}"' for bridge in bridges if bridge.internal)
    unprotected, routed = _in_mode(bridges, "nat-unprotected"), _in_mode(bridges, "routed")
    trusted = _elements_of(f'"{name}" . "{bridge.interface}"' for bridge in bridges for name in bridge.trusted)
    masquerade = "\n".join(_masquerade(bridge) for bridge in bridges)
    maps = "".join(_maps(version) for version in VERSIONS)
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    set bridges {{ type ifname; elements = {{ {names} }}; }}
    set within {{ type ifname . ifname; {inside}}}
    set internal {{ type ifname; {internal}}}
    set unprotected {{ type ifname . nf_proto; {unprotected}}}
    set routed {{ type ifname . nf_proto; {routed}}}
    set trusted {{ type ifname . ifname; {trusted}}}
{maps}
    # Containers reach a bridge with route_localnet, so that loopback can reach them: nothing may use it the other
    # way, and nothing from outside may be translated before the kernel would have dropped it as a martian.
    chain loopback {{
        type filter hook prerouting priority raw; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 drop
        iifname @bridges ip saddr 127.0.0.0/8 drop
    }}

    # IPv6 has no route_localnet, and link-local clients are not forwarded: these two are relayed.
    chain translate {{
        ip6 daddr {{ ::1, fe80::/10 }} return
{_translations()}
    }}
    chain incoming {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local iifname . ip daddr vmap @virtual4
        fib daddr type local iifname . ip6 daddr vmap @virtual6
        fib daddr type local jump translate
    }}
    chain outgoing {{
        type nat hook output priority -100; policy accept;
        ip daddr vmap @virtual_here4
        ip6 daddr vmap @virtual_here6
        fib daddr type local jump translate
    }}

    # Into a bridge: its own containers, answers, and what a published port has let in.
    chain forward {{
        type filter hook forward priority filter; policy accept;
        iifname . oifname @within accept
        iifname @internal drop
        oifname != @bridges accept
        oifname @internal drop
        oifname . meta nfproto @unprotected accept
        ct state established,related accept
        ct status dnat accept
        oifname . meta nfproto @routed meta l4proto {{ icmp, icmpv6 }} accept
        oifname . meta nfproto @routed jump opened
        iifname . oifname @trusted jump opened
        drop
    }}
    chain opened {{
        ip daddr . meta l4proto . th dport @opened4 accept
        ip6 daddr . meta l4proto . th dport @opened6 accept
    }}
{_refusal(bridges)}
    chain masquerade_source {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
{masquerade}
    }}
}}
"""


def _maps(version: int) -> str:
    address = f"ipv{version}_addr"
    port, target = "inet_proto . inet_service", f"{address} . inet_service"
    return f"""
    map published{version} {{ type {port} : {target}; }}
    map published_at{version} {{ type {address} . {port} : {target}; }}
    map shared{version} {{ type {port} : verdict; }}
    map shared_at{version} {{ type {address} . {port} : verdict; }}
    set opened{version} {{ type {address} . {port}; }}
    map virtual{version} {{ type ifname . {address} : verdict; }}
    map virtual_here{version} {{ type {address} : verdict; }}
"""


def _translations() -> str:
    lines = []
    for version in VERSIONS:
        family = "ip" if version == 4 else "ip6"
        only, port = f"meta nfproto ipv{version}", "meta l4proto . th dport"
        lines += [
            f"{family} daddr . {port} vmap @shared_at{version}",
            f"{only} {port} vmap @shared{version}",
            f"meta l4proto {{ tcp, udp, sctp }} dnat {family} to {family} daddr . {port} map @published_at{version}",
            f"{only} meta l4proto {{ tcp, udp, sctp }} dnat {family} to {port} map @published{version}",
        ]
    return "\n".join(f"        {line}" for line in lines)


def _refusal(bridges: Sequence[BridgeRules]) -> str:
    """Nobody is ready behind a virtual address: the host, whose address it is, is not meant either."""
    lines = []
    virtual = [text for bridge in bridges for texts in bridge.virtual.values() for text in texts]
    for version in VERSIONS:
        family = "ip" if version == 4 else "ip6"
        addresses = [text for text in virtual if (":" in text) is (version == 6)]
        if addresses:
            here = f"        ct state new {family} daddr {{ {', '.join(addresses)} }} meta l4proto"
            lines += [f"{here} tcp reject with tcp reset", f"{here} {{ udp, sctp }} reject with icmpx port-unreachable"]
    if not lines:
        return ""
    return "\n".join(("    chain input {", "        type filter hook input priority filter;", *lines, "    }"))


def _masquerade(bridge: BridgeRules) -> str:
    """Out of another interface containers have the host's address. To a published port of their own bridge they have
    the gateway's, or the answer would go directly to them, from an address that they have not called."""
    lines = []
    for subnet in bridge.subnets:
        source = f"{'ip6' if subnet.version == 6 else 'ip'} saddr {subnet}"
        lines.append(f'        oifname "{bridge.interface}" {source} ct status dnat masquerade')
        if bridge.masquerade and not bridge.internal and bridge.mode(subnet.version) != "routed":
            host_address = bridge.host_addresses.get(subnet.version)
            target = (
                f"snat {'ip6' if subnet.version == 6 else 'ip'} to {host_address}" if host_address else "masquerade"
            )
            lines.append(f'        oifname != "{bridge.interface}" {source} {target}')
    return "\n".join(lines)


def _in_mode(bridges: Sequence[BridgeRules], mode: str) -> str:
    return _elements_of(
        f'"{bridge.interface}" . ipv{version}'
        for bridge in bridges
        for version in VERSIONS
        if bridge.mode(version) == mode
    )


def _elements_of(items: Iterable[str]) -> str:
    """A set's elements; empty braces are no nft syntax."""
    text = ", ".join(items)
    return f"elements = {{ {text} }}; " if text else ""


def port_commands(table: str, endpoint: Endpoint, verb: str) -> list[str]:
    """`add` or `delete` commands for an endpoint's ports that are its alone, at most one a map or set."""
    elements: dict[str, list[str]] = {}
    for port in () if endpoint.services else endpoint.ports:
        version = 6 if ":" in port.host_ip else 4
        if address := endpoint.address(version):
            target = f" : {address.ip} . {port.container_port}" if verb == "add" else ""
            anywhere = port.host_ip in _ANY
            name = f"published{version}" if anywhere else f"published_at{version}"
            elements.setdefault(name, []).append(f"{_key(port, anywhere)}{target}")
    for address in endpoint.addresses if endpoint.opened else ():
        keys = [f"{address.ip} . {protocol} . {number}" for protocol, number in endpoint.opened]
        elements[f"opened{address.version}"] = keys
    return [f"{verb} element inet {table} {name} {{ {', '.join(keys)} }}" for name, keys in elements.items()]


def _key(port: BoundPort, anywhere: bool) -> str:
    key = f"{port.protocol} . {port.host_port}"
    return key if anywhere else f"{port.host_ip} . {key}"
