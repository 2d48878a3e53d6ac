"""Which subnets the default bridge has. Pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from ipaddress import ip_interface, ip_network

from knarr.errors import InvalidParameter
from knarr.network.model import IPInterface, IPNetwork, NetworkSettings, Subnet
from knarr.network.pool import choose_subnet, pools


def choose(
    settings: NetworkSettings,
    version: int,
    own: Sequence[IPInterface],
    taken: Collection[IPNetwork],
    stored: Subnet | None,
    in_use: bool,
    host_id: str,
) -> Subnet:
    """The subnet of one IP version: as configured, else as it is, else as it was, else a free one.

    `own` are the addresses that the bridge's interface has, `taken` are others' subnets, `stored` is what it was; that
    is kept while endpoints are `in_use`, and when nothing else has that subnet now. Raises InvalidParameter for a wrong
    setting, KnarrError if no subnet is free.
    """
    bip, part = _configured(settings, version)
    present = next((address for address in own if address.version == version and not address.ip.is_link_local), None)
    gateway = _parse_bip(bip, version) if bip else present
    if gateway is not None:
        return Subnet(str(gateway.network), str(gateway.ip), _part(part, gateway.network))
    if part:
        subnet = _parse_cidr(part)
    elif stored and (in_use or not _overlaps(ip_network(stored.subnet), taken)):
        return stored
    else:
        subnet = choose_subnet(pools(settings.address_pools, version, host_id), taken)
    return Subnet(str(subnet), str(subnet.network_address + 1))


def _configured(settings: NetworkSettings, version: int) -> tuple[str, str]:
    return (settings.bip, settings.fixed_cidr) if version == 4 else (settings.bip6, settings.fixed_cidr_v6)


def _parse_bip(text: str, version: int) -> IPInterface:
    example = "10.1.0.1/24" if version == 4 else "fd00:1::1/64"
    try:
        gateway = ip_interface(text)
    except ValueError as error:
        raise InvalidParameter(f"invalid bip {text!r}: an address with a prefix length, as {example}") from error
    if gateway.version != version:
        raise InvalidParameter(f"invalid bip {text!r}: an IPv{version} address with a prefix length, as {example}")
    network = gateway.network
    last = network.broadcast_address if version == 4 else None
    if network.prefixlen > network.max_prefixlen - 2 or gateway.ip in (network.network_address, last):
        raise InvalidParameter(f"invalid bip {text!r}: not the address of a host in a subnet")
    return gateway


def _part(text: str, subnet: IPNetwork) -> str:
    """The range from which addresses are taken, "" for the whole subnet."""
    if not text:
        return ""
    part = _parse_cidr(text)
    if part.version != subnet.version or not (subnet.prefixlen <= part.prefixlen and part.overlaps(subnet)):
        raise InvalidParameter(f"invalid fixed-cidr {text}: it is not part of the bridge's subnet {subnet}")
    return str(part)


def _parse_cidr(text: str) -> IPNetwork:
    try:
        return ip_network(text, strict=False)
    except ValueError:
        raise InvalidParameter(f"invalid CIDR address: {text}") from None


def _overlaps(network: IPNetwork, others: Collection[IPNetwork]) -> bool:
    return any(network.version == other.version and network.overlaps(other) for other in others)
