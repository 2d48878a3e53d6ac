"""The daemon's own nftables table: which packets reach containers, and how published ports and masquerading work.

Everything is in one table; a published port is one element of a map, so that a packet's way is equally short with one
port and with thousands. `ruleset` makes the table from nothing, in the transaction that removes the former one.

A user's own filters belong into a table of their own, with a chain at another priority of the forward hook: what any
chain drops is dropped.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from msgspec import Struct
from msgspec.structs import replace

from knarr.kernel.nftables import Nftables, NftablesError
from knarr.network.model import VERSIONS, BoundPort, Endpoint, IPNetwork

_ANY = "0.0.0.0"


class BridgeRules(Struct, frozen=True):
    """What the firewall must know of a bridge network.

    `internal` ones reach nothing outside; with `connected` containers reach each other; `masquerade` gives them the
    host's address outside, the one of `host_addresses` if there is one. `modes` (see `options.GATEWAY_MODES`) and
    `host_addresses` are by IP version.
    """

    interface: str
    subnets: Sequence[IPNetwork]
    internal: bool = False
    connected: bool = True
    masquerade: bool = True
    modes: Mapping[int, str] = {}
    host_addresses: Mapping[int, str] = {}

    def mode(self, version: int) -> str:
        """How containers and the world reach each other with that IP version."""
        return self.modes.get(version, "nat")


class Firewall:
    """One daemon's table in the kernel. Every change is one transaction."""

    def __init__(self, nftables: Nftables, table: str, bridges: Sequence[BridgeRules]) -> None:
        self._nftables = nftables
        self._table = table
        self._bridges = bridges
        self._published: dict[str, Endpoint] = {}

    def serve(self, bridges: Sequence[BridgeRules]) -> None:
        """These are the bridges from now on. Raises NftablesError; then nothing has changed."""
        former, self._bridges = self._bridges, bridges
        try:
            self.rebuild(self._published.values())
        except NftablesError:
            self._bridges = former
            raise

    def rebuild(self, endpoints: Iterable[Endpoint]) -> None:
        """Replace the table, whatever is there; of all endpoints only these have ports. Raises NftablesError."""
        self._published = {endpoint.endpoint_id: endpoint for endpoint in endpoints if endpoint.ports}
        elements = [line for endpoint in self._published.values() for line in _elements(self._table, endpoint, "add")]
        self._nftables.run("\n".join((ruleset(self._table, self._bridges), *elements)))

    def publish(self, endpoint: Endpoint) -> None:
        """Let an endpoint's published ports in. Raises NftablesError."""
        commands = "\n".join(_elements(self._table, endpoint, "add"))
        if not commands:
            return
        try:
            self._nftables.run(commands)
        except NftablesError:  # somebody has flushed the rules: put all of them back
            self.rebuild([*self._published.values(), endpoint])
        self._published[endpoint.endpoint_id] = endpoint

    def change(self, former: Endpoint, endpoint: Endpoint) -> None:
        """Let the published ports of `endpoint` in, in place of those that it had; those in both stay open throughout.

        Raises NftablesError; then nothing has changed.
        """
        gone = [port for port in former.ports if port not in endpoint.ports]
        new = [port for port in endpoint.ports if port not in former.ports]
        commands = _elements(self._table, replace(former, ports=gone), "delete")
        commands += _elements(self._table, replace(endpoint, ports=new), "add")
        if commands:
            try:
                self._nftables.run("\n".join(commands))
            except NftablesError:  # somebody has flushed the rules: put all of them back
                others = [other for other in self._published.values() if other.endpoint_id != endpoint.endpoint_id]
                self.rebuild([*others, endpoint])
        self._published.pop(former.endpoint_id, None)
        if endpoint.ports:
            self._published[endpoint.endpoint_id] = endpoint

    def withdraw(self, endpoint: Endpoint) -> None:
        """Undo `publish`. Raises NftablesError if an element is not there."""
        self._published.pop(endpoint.endpoint_id, None)
        commands = "\n".join(_elements(self._table, endpoint, "delete"))
        if commands:
            self._nftables.run(commands)

    def remove(self) -> None:
        """Delete the table; a missing one is fine. Raises NftablesError."""
        self._nftables.run(f"table inet {self._table}\ndelete table inet {self._table}")


def ruleset(table: str, bridges: Sequence[BridgeRules]) -> str:
    """The whole table as nft(8) text, without a published port."""
    names = ", ".join(f'"{bridge.interface}"' for bridge in bridges)
    inside = _elements_of(f'"{bridge.interface}" . "{bridge.interface}"' for bridge in bridges if bridge.connected)
    internal = _elements_of(f'"{bridge.interface}"' for bridge in bridges if bridge.internal)
    unprotected = _elements_of(
        f'"{bridge.interface}" . ipv{version}'
        for bridge in bridges
        for version in VERSIONS
        if bridge.mode(version) == "nat-unprotected"
    )
    masquerade = "\n".join(_masquerade(bridge) for bridge in bridges)
    return f"""
table inet {table}
delete table inet {table}
table inet {table} {{
    set bridges {{ type ifname; elements = {{ {names} }}; }}
    set within {{ type ifname . ifname; {inside}}}
    set internal {{ type ifname; {internal}}}
    set unprotected {{ type ifname . nf_proto; {unprotected}}}
    map published {{ type inet_proto . inet_service : ipv4_addr . inet_service; }}
    map published_at {{ type ipv4_addr . inet_proto . inet_service : ipv4_addr . inet_service; }}

    # Containers reach a bridge with route_localnet, so that loopback can reach them: nothing may use it the other
    # way, and nothing from outside may be translated before the kernel would have dropped it as a martian.
    chain loopback {{
        type filter hook prerouting priority raw; policy accept;
        iifname != "lo" ip daddr 127.0.0.0/8 drop
        iifname @bridges ip saddr 127.0.0.0/8 drop
    }}

    chain translate {{
        meta l4proto {{ tcp, udp, sctp }} dnat ip to ip daddr . meta l4proto . th dport map @published_at
        meta l4proto {{ tcp, udp, sctp }} dnat ip to meta l4proto . th dport map @published
    }}
    chain incoming {{
        type nat hook prerouting priority dstnat; policy accept;
        fib daddr type local jump translate
    }}
    chain outgoing {{
        type nat hook output priority -100; policy accept;
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
        drop
    }}

    chain masquerade_source {{
        type nat hook postrouting priority srcnat; policy accept;
        oifname @bridges ip saddr 127.0.0.0/8 masquerade
{masquerade}
    }}
}}
"""


def _masquerade(bridge: BridgeRules) -> str:
    """Out of another interface containers have the host's address. To a published port of their own bridge they have
    the gateway's, or the answer would go directly to them, from an address that they have not called."""
    lines = []
    for subnet in bridge.subnets:
        source = f"{'ip6' if subnet.version == 6 else 'ip'} saddr {subnet}"
        lines.append(f'        oifname "{bridge.interface}" {source} ct status dnat masquerade')
        if bridge.masquerade and not bridge.internal:
            host_address = bridge.host_addresses.get(subnet.version)
            target = (
                f"snat {'ip6' if subnet.version == 6 else 'ip'} to {host_address}" if host_address else "masquerade"
            )
            lines.append(f'        oifname != "{bridge.interface}" {source} {target}')
    return "\n".join(lines)


def _elements_of(items: Iterable[str]) -> str:
    """A set's elements; empty braces are no nft syntax."""
    text = ", ".join(items)
    return f"elements = {{ {text} }}; " if text else ""


def _elements(table: str, endpoint: Endpoint, verb: str) -> list[str]:
    """`add` or `delete` commands for an endpoint's IPv4 ports, at most one a map."""
    ports = [port for port in endpoint.ports if ":" not in port.host_ip] if endpoint.address(4) else []
    anywhere = [_key(port) + _target(port, endpoint, verb) for port in ports if port.host_ip == _ANY]
    somewhere = [
        f"{port.host_ip} . {_key(port)}{_target(port, endpoint, verb)}" for port in ports if port.host_ip != _ANY
    ]
    maps = (("published", anywhere), ("published_at", somewhere))
    return [f"{verb} element inet {table} {name} {{ {', '.join(keys)} }}" for name, keys in maps if keys]


def _key(port: BoundPort) -> str:
    return f"{port.protocol} . {port.host_port}"


def _target(port: BoundPort, endpoint: Endpoint, verb: str) -> str:
    address = endpoint.address(4)
    return f" : {address.ip} . {port.container_port}" if address and verb == "add" else ""
