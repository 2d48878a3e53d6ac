"""The daemon's nftables table as nft(8) text: which packets reach containers, and how they are translated. Pure.

A published port is one element of a map, so that a packet's way is equally short with one port and with thousands.
A bridge is some elements too, and a short chain that only packets from its own subnet pass.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence

from msgspec import Struct

from knarr.network.model import VERSIONS, BoundPort, Endpoint, IPNetwork

_ANY = ("0.0.0.0", "::")
_OPEN_MODES = {"nat-unprotected": "unprotected", "routed": "routed"}
"""Gateway modes that let packets in, and the sets of the bridges that have them."""


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
    maps = "".join(_maps(version) for version in VERSIONS)
    sources = _sources(bridges)
    chains = "\n".join(
        f"    chain {_chain(bridge, subnet)} {{ {'; '.join(_masquerade(bridge, subnet))}; }}"
        for subnet, bridge in sources.items()
    )
    elements = "\n".join(_element_commands(table, "add", _elements(bridges, sources)))
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    set bridges {{ type ifname; }}
    set within {{ type ifname . ifname; }}
    set internal {{ type ifname; }}
    set unprotected {{ type ifname . nf_proto; }}
    set routed {{ type ifname . nf_proto; }}
    set trusted {{ type ifname . ifname; }}
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

    # Nobody is ready behind a virtual address: the host, whose address it is, is not meant either.
    chain input {{
        type filter hook input priority filter; policy accept;
        ip daddr @refused4 ct state new jump refusal
        ip6 daddr @refused6 ct state new jump refusal
    }}
    chain refusal {{
        meta l4proto tcp reject with tcp reset
        meta l4proto {{ udp, sctp }} reject with icmpx port-unreachable
    }}

    chain masquerade_source {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
        ip saddr vmap @sources4
        ip6 saddr vmap @sources6
    }}
{chains}
}}
{elements}
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
    set refused{version} {{ type {address}; }}
    map sources{version} {{ type {address} : verdict; flags interval; }}
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


def additions(table: str, bridge: BridgeRules) -> list[str]:
    """The commands that bring a bridge into the table; they fail if its subnets overlap another's."""
    chains = {f"inet {table} {_chain(bridge, subnet)}": _masquerade(bridge, subnet) for subnet in bridge.subnets}
    return [
        *(f"add chain {chain}" for chain in chains),
        *(f"add rule {chain} {rule}" for chain, rules in chains.items() for rule in rules),
        *_element_commands(table, "add", _elements([bridge], dict.fromkeys(bridge.subnets, bridge))),
    ]


def removals(table: str, bridge: BridgeRules) -> list[str]:
    """The commands that take a bridge out whose subnets overlap no other's."""
    chains = [f"inet {table} {_chain(bridge, subnet)}" for subnet in bridge.subnets]
    return [
        *_element_commands(table, "delete", _elements([bridge], dict.fromkeys(bridge.subnets, bridge))),
        *(f"flush chain {chain}" for chain in chains),
        *(f"delete chain {chain}" for chain in chains),
    ]


def overlap(one: BridgeRules, other: BridgeRules) -> bool:
    """Whether bridges have addresses in common: a default bridge that was given another subnet may."""
    return any(
        mine.version == theirs.version and mine.overlaps(theirs) for mine in one.subnets for theirs in other.subnets
    )


def _elements(bridges: Iterable[BridgeRules], sources: Mapping[IPNetwork, BridgeRules]) -> dict[str, list[str]]:
    """What is in sets and maps because of bridges."""
    elements: dict[str, list[str]] = {}
    for name, element in dict.fromkeys(each for bridge in bridges for each in _memberships(bridge)):
        elements.setdefault(name, []).append(element)
    for subnet, bridge in sources.items():
        elements.setdefault(f"sources{subnet.version}", []).append(f"{subnet} : jump {_chain(bridge, subnet)}")
    return elements


def _memberships(bridge: BridgeRules) -> Iterator[tuple[str, str]]:
    """Sets and a bridge's elements of them."""
    name = f'"{bridge.interface}"'
    yield "bridges", name
    if bridge.connected:
        yield "within", f"{name} . {name}"
    if bridge.internal:
        yield "internal", name
    for version in VERSIONS:
        if where := _OPEN_MODES.get(bridge.mode(version)):
            yield where, f"{name} . ipv{version}"
    for interface in bridge.trusted:
        yield "trusted", f'"{interface}" . {name}'
    for text in (text for texts in bridge.virtual.values() for text in texts):
        yield f"refused{6 if ':' in text else 4}", text


def _sources(bridges: Iterable[BridgeRules]) -> dict[IPNetwork, BridgeRules]:
    """Whose the subnets are. The kernel takes no overlapping ones: of these the largest counts."""
    owners = {subnet: bridge for bridge in reversed(list(bridges)) for subnet in bridge.subnets}
    sources: dict[IPNetwork, BridgeRules] = {}
    last: IPNetwork | None = None
    for subnet in sorted(owners, key=lambda each: (each.version, int(each.network_address), each.prefixlen)):
        if last is None or last.version != subnet.version or not last.overlaps(subnet):
            sources[subnet] = owners[subnet]
            last = subnet
    return sources


def _chain(bridge: BridgeRules, subnet: IPNetwork) -> str:
    return f"source{subnet.version}_{bridge.network_id[:12]}"


def _masquerade(bridge: BridgeRules, subnet: IPNetwork) -> list[str]:
    """Out of another interface containers have the host's address. To a published port of their own bridge they have
    the gateway's, or the answer would go directly to them, from an address that they have not called."""
    rules = [f'oifname "{bridge.interface}" ct status dnat masquerade']
    if bridge.masquerade and not bridge.internal and bridge.mode(subnet.version) != "routed":
        host_address = bridge.host_addresses.get(subnet.version)
        target = f"snat {'ip6' if subnet.version == 6 else 'ip'} to {host_address}" if host_address else "masquerade"
        rules.append(f'oifname != "{bridge.interface}" {target}')
    return rules


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
    return _element_commands(table, verb, elements)


def _element_commands(table: str, verb: str, elements: Mapping[str, Sequence[str]]) -> list[str]:
    return [f"{verb} element inet {table} {name} {{ {', '.join(keys)} }}" for name, keys in elements.items()]


def _key(port: BoundPort, anywhere: bool) -> str:
    key = f"{port.protocol} . {port.host_port}"
    return key if anywhere else f"{port.host_ip} . {key}"
