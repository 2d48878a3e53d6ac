"""Load balancing by the kernel: which addresses and ports lead to several containers, and to which. Pure.

A network's option `knarr.loadbalance` names aliases ("web api") that get a virtual address in it, over which new
connections are spread; ports that several containers with such an alias publish are spread in the same way. With
`knarr.loadbalance.affinity=source` all connections from one address go to one container, as long as those that are
ready stay the same.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from ipaddress import ip_address

from msgspec import Struct

from knarr.network.model import Endpoint
from knarr.network.rules import BridgeRules

_SEED = 0x6B6E6172  # any number, as long as it stays the same: it decides which source goes where
_ANY = ("0.0.0.0", "::")
_PROTOCOLS = "meta l4proto { tcp, udp, sctp }"


class Balance(Struct, frozen=True):
    """A chain of the firewall that picks a container: the elements of maps that lead to it, and its rules."""

    chain: str
    elements: tuple[tuple[str, str], ...]
    rules: tuple[str, ...]


def of(bridge: BridgeRules, endpoints: Iterable[Endpoint]) -> list[Balance]:
    """All that is balanced in a network; `endpoints` are those of all networks."""
    members = [each for each in endpoints if each.network_id == bridge.network_id and each.services]
    members.sort(key=lambda each: each.endpoint_id)
    return [*_virtual(bridge, members), *_shared(members, bridge.by_source)]


def _virtual(bridge: BridgeRules, members: Sequence[Endpoint]) -> Iterable[Balance]:
    for number, (alias, addresses) in enumerate(bridge.virtual.items()):
        elements, rules = [], []
        for text in addresses:
            version = ip_address(text).version
            elements += [(f"virtual{version}", f'"{bridge.interface}" . {text}'), (f"virtual_here{version}", text)]
            targets = [each.ip for member in _ready(members, alias) if (each := member.address(version))]
            rules += _rule(version, targets, bridge.by_source)
        yield Balance(f"virtual_{bridge.network_id[:12]}_{number}", tuple(elements), tuple(rules))


def _ready(members: Sequence[Endpoint], alias: str) -> list[Endpoint]:
    return [member for member in members if member.ready and alias in member.services]


def _shared(members: Sequence[Endpoint], by_source: bool) -> Iterable[Balance]:
    """Ports on which more than one may be published."""
    targets: dict[tuple[str, str, int], list[str]] = {}
    for member in members:
        for port in member.ports:
            found = targets.setdefault((port.protocol, port.host_ip, port.host_port), [])
            address = member.address(ip_address(port.host_ip).version)
            if member.ready and address:
                found.append(f"{address.ip} . {port.container_port}")
    for (protocol, host_ip, host_port), found in targets.items():
        version = ip_address(host_ip).version
        key, name = f"{protocol} . {host_port}", f"shared{version}"
        element = (name, key) if host_ip in _ANY else (f"shared_at{version}", f"{host_ip} . {key}")
        chain = f"{name}_{protocol}_{host_port}_{host_ip.replace(':', '_').replace('.', '_')}"
        yield Balance(chain, (element,), tuple(_rule(version, found, by_source)))


def _rule(version: int, targets: Sequence[str], by_source: bool) -> list[str]:
    if not targets:
        return []
    family = "ip" if version == 4 else "ip6"
    count = f"mod {len(targets)}"
    pick = f"jhash {family} saddr {count} seed {_SEED:#x}" if by_source else f"numgen inc {count}"
    elements = ", ".join(f"{number} : {target}" for number, target in enumerate(targets))
    return [f"{_PROTOCOLS} dnat {family} to {pick} map {{ {elements} }}"]


def difference(table: str, before: dict[str, Balance], after: dict[str, Balance]) -> list[str]:
    """The nft commands that lead from one state to another, by chain."""
    gone = [before[name] for name in before.keys() - after.keys()]
    commands = [f"delete element inet {table} {map} {{ {key} }}" for each in gone for map, key in each.elements]
    commands += [command for each in gone for command in _emptied(table, each.chain)]
    commands += [f"delete chain inet {table} {each.chain}" for each in gone]
    for name, wanted in after.items():
        present = before.get(name)
        if present == wanted:
            continue
        commands += [f"add chain inet {table} {name}", *_emptied(table, name)]
        commands += [f"add rule inet {table} {name} {rule}" for rule in wanted.rules]
        if present is None:
            commands += [f"add element inet {table} {map} {{ {key} : jump {name} }}" for map, key in wanted.elements]
    return commands


def _emptied(table: str, chain: str) -> list[str]:
    return [f"flush chain inet {table} {chain}"]
