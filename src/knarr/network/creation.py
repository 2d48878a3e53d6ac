"""What a network may be: requests for one are checked and completed here. Pure."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Iterable, Iterator, Sequence
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from knarr.errors import Conflict, Forbidden, InvalidParameter, KnarrError
from knarr.network.model import (
    PREDEFINED,
    VERSIONS,
    IPAddress,
    IPNetwork,
    NetworkInfo,
    NetworkRequest,
    PortMapping,
    Subnet,
)
from knarr.network.plumbing import MTU_OPTION, OPTIONS, parse_flag

_FLAGS = (f"{OPTIONS}.enable_icc", f"{OPTIONS}.enable_ip_masquerade")
_BINDING = f"{OPTIONS}.host_binding_ipv4"
_INTERFACE = re.compile(r"[^/\s:]{1,15}")
_MOST_MTU = 65535
_LEAST_MTU = 68


def check(request: NetworkRequest, networks: Sequence[NetworkInfo]) -> None:
    """Raises InvalidParameter, Forbidden, Conflict (the name), in dockerd's words."""
    if not request.name.strip():
        raise InvalidParameter("invalid name: name is empty")
    if request.name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
    if any(network.name == request.name for network in networks):
        raise Conflict(f"network with name {request.name} already exists")
    if not (request.ipv4 or request.ipv6):
        raise InvalidParameter("IPv4 or IPv6 must be enabled")
    _check_options(request.options)
    subnets = [subnet for subnet in request.subnets if request.ipv6 or subnet.version != 6]
    if problems := [problem for subnet in subnets for problem in _problems(subnet)]:
        raise InvalidParameter("\n".join(("invalid network config:", *problems)))
    if not request.ipv4 and any(subnet.version == 4 for subnet in subnets):
        raise InvalidParameter("IPv4 subnet specified but IPv4 is not enabled")
    if any(len([subnet for subnet in subnets if subnet.version == version]) > 1 for version in VERSIONS):
        raise Forbidden("bridge driver doesn't support multiple subnets")
    _check_overlap(subnets, networks)


def _check_options(options: dict[str, str]) -> None:
    for name, value in options.items():
        if name in _FLAGS:
            try:
                parse_flag(value)
            except ValueError:
                raise InvalidParameter(f'failed to parse {name} value: "{value}"') from None
    mtu = options.get(MTU_OPTION)
    if mtu and not (mtu.isdecimal() and _LEAST_MTU <= int(mtu) <= _MOST_MTU):
        raise InvalidParameter(f'failed to parse {MTU_OPTION} value: "{mtu}"')
    interface = options.get(f"{OPTIONS}.name")
    if interface and not (_INTERFACE.fullmatch(interface) and interface not in (".", "..")):
        raise InvalidParameter(f"invalid interface name: {interface}")
    if (binding := options.get(_BINDING)) and _address(binding) is None:
        raise InvalidParameter(f"invalid IP address: {binding}")


def _problems(asked: Subnet) -> Iterator[str]:
    """What is wrong with a subnet."""
    subnet = _network(asked.subnet)
    if subnet is None:
        yield f"invalid subnet {asked.subnet}: invalid CIDR block notation"
        return
    if str(subnet) != asked.subnet and asked.subnet != subnet.exploded:
        yield f"invalid subnet {asked.subnet}: it should be {subnet}"
    if subnet.prefixlen > subnet.max_prefixlen - 2:
        yield f"invalid subnet {subnet}: no room for a gateway and a container"
    if asked.ip_range:
        yield from _range_problems(asked.ip_range, subnet)
    named = [(f"gateway {asked.gateway}", asked.gateway)] if asked.gateway else []
    named += [(f"auxiliary address {name}", text) for name, text in asked.reserved.items()]
    for what, text in named:
        if problem := _address_problem(text, subnet):
            yield f"invalid {what}: {problem}"
    if asked.gateway and _address(asked.gateway) in _not_for_hosts(subnet):
        yield f"invalid gateway {asked.gateway}: not the address of a host in {subnet}"


def _range_problems(text: str, subnet: IPNetwork) -> Iterator[str]:
    part = _network(text)
    if part is None:
        yield f"invalid ip-range {text}: invalid CIDR block notation"
    elif part.version != subnet.version:
        yield f"invalid ip-range {text}: parent subnet is an IPv{subnet.version} block"
    elif part.prefixlen < subnet.prefixlen:
        yield f"invalid ip-range {text}: CIDR block is bigger than its parent subnet {subnet}"
    elif not part.overlaps(subnet):
        yield f"invalid ip-range {text}: parent subnet {subnet} doesn't contain ip-range"
    elif str(part) != text:
        yield f"invalid ip-range {text}: it should be {part}"


def _address_problem(text: str, subnet: IPNetwork) -> str | None:
    address = _address(text)
    if address is None:
        return "invalid address"
    if address.version != subnet.version:
        return f"parent subnet is an IPv{subnet.version} block"
    return None if address in subnet else f"parent subnet {subnet} doesn't contain this address"


def _check_overlap(subnets: Sequence[Subnet], networks: Sequence[NetworkInfo]) -> None:
    taken = [ip_network(subnet.subnet) for network in networks for subnet in network.subnets]
    for asked in subnets:
        subnet = ip_network(asked.subnet)
        if any(subnet.version == other.version and subnet.overlaps(other) for other in taken):
            raise Forbidden("Pool overlaps with other one on this address space")
        taken.append(subnet)


def missing(request: NetworkRequest) -> list[int]:
    """The IP versions for which a checked request leaves the subnet open."""
    wanted = [version for version, on in zip(VERSIONS, (request.ipv4, request.ipv6), strict=True) if on]
    named = {subnet.version for subnet in request.subnets}
    return [version for version in wanted if version not in named]


def network(request: NetworkRequest, chosen: Sequence[IPNetwork]) -> NetworkInfo:
    """A checked request with all that was left open; `chosen` are the subnets of versions for which it names none.

    Raises KnarrError if there is no address for a gateway.
    """
    subnets = [subnet for subnet in request.subnets if request.ipv6 or subnet.version != 6]
    subnets += [Subnet(str(subnet), chosen=True) for subnet in chosen]
    return NetworkInfo(
        id=secrets.token_hex(32),
        name=request.name,
        driver="bridge",
        created=time.time_ns(),
        subnets=[_with_gateway(subnet) for subnet in sorted(subnets, key=lambda subnet: subnet.version)],
        internal=request.internal,
        options=request.options,
        labels=request.labels,
        attachable=request.attachable,
    )


def _with_gateway(asked: Subnet) -> Subnet:
    """A subnet with everything in its shortest spelling, and with a gateway."""
    subnet = ip_network(asked.subnet)
    reserved = {name: ip_address(text) for name, text in asked.reserved.items()}
    gateway = ip_address(asked.gateway) if asked.gateway else _first_free(asked, subnet, reserved.values())
    return replace(
        asked,
        subnet=str(subnet),
        gateway=str(gateway),
        reserved={name: str(address) for name, address in reserved.items()},
    )


def _first_free(asked: Subnet, subnet: IPNetwork, reserved: Iterable[IPAddress]) -> IPAddress:
    part = ip_network(asked.ip_range) if asked.ip_range else subnet
    taken = {*reserved, *_not_for_hosts(subnet)}
    for number in range(len(taken) + 1):
        candidate = part.network_address + number
        if candidate not in part:
            break
        if candidate not in taken:
            return candidate
    raise KnarrError(f"no available IPv{subnet.version} addresses on this network's address pools: {subnet}")


def _not_for_hosts(subnet: IPNetwork) -> tuple[IPAddress, ...]:
    """The address of the network itself (in IPv6: of all its routers) and of all its hosts."""
    if subnet.version == 6:
        return (subnet.network_address,)
    return subnet.network_address, subnet.broadcast_address


def port_mappings(network: NetworkInfo, asked: Sequence[PortMapping]) -> list[PortMapping]:
    """The ports that a container publishes in that network, on the host address that the network names for them."""
    if network.internal:
        return []
    binding = "" if network.predefined else network.options.get(_BINDING, "")
    if binding in ("", "0.0.0.0"):
        return list(asked)
    return [replace(mapping, host_ip=mapping.host_ip or binding) for mapping in asked]


def _address(text: str) -> IPAddress | None:
    try:
        return ip_address(text)
    except ValueError:
        return None


def _network(text: str) -> IPNetwork | None:
    try:
        return ip_network(text, strict=False) if "/" in text else None
    except ValueError:
        return None
