"""What a network may be: requests for one are checked and completed here. Pure."""

from __future__ import annotations

import re
import secrets
import time
from collections.abc import Sequence
from ipaddress import IPv4Address, IPv4Network, ip_address, ip_network

from msgspec.structs import replace

from knarr.errors import Conflict, Forbidden, InvalidParameter, KnarrError, Unsupported
from knarr.network.model import PREDEFINED, NetworkInfo, NetworkRequest, PortMapping
from knarr.network.plumbing import MTU_OPTION, OPTIONS, parse_flag
from knarr.network.pool import AddressPool

_FLAGS = (f"{OPTIONS}.enable_icc", f"{OPTIONS}.enable_ip_masquerade")
_BINDING = f"{OPTIONS}.host_binding_ipv4"
_INTERFACE = re.compile(r"[^/\s:]{1,15}")
_MOST_MTU = 65535
_LEAST_MTU = 68


def check(request: NetworkRequest, networks: Sequence[NetworkInfo], subnets: Sequence[IPv4Network]) -> None:
    """Raises InvalidParameter, Forbidden, Conflict (the name), Unsupported, in dockerd's words."""
    if not request.name.strip():
        raise InvalidParameter("invalid name: name is empty")
    if request.name in PREDEFINED:
        raise Forbidden(f"operation is not permitted on predefined {request.name} network ")
    if any(network.name == request.name for network in networks):
        raise Conflict(f"network with name {request.name} already exists")
    _check_options(request.options)
    if request.subnet:
        _check_subnet(request, subnets)
    elif request.ip_range or request.gateway or request.reserved:
        raise InvalidParameter("invalid network config: a subnet is needed for its gateway, range and addresses")


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
    if binding := options.get(_BINDING):
        _address(binding)


def _check_subnet(request: NetworkRequest, subnets: Sequence[IPv4Network]) -> None:
    subnet = _network(request.subnet)
    if subnet.prefixlen > 30:
        raise InvalidParameter(f"invalid subnet {subnet}: no room for a gateway and a container")
    if any(subnet.overlaps(other) for other in subnets):
        raise Forbidden("Pool overlaps with other one on this address space")
    if request.ip_range and not _network(request.ip_range).subnet_of(subnet):
        raise InvalidParameter(f"invalid ip-range {request.ip_range}: it is not part of subnet {subnet}")
    named = [("gateway", request.gateway)] if request.gateway else []
    for what, text in [*named, *(("auxiliary address", text) for text in request.reserved.values())]:
        if _address(text) not in subnet:
            raise InvalidParameter(f"no matching subnet for {what} {text}")
    if request.gateway and _address(request.gateway) in (subnet.network_address, subnet.broadcast_address):
        raise InvalidParameter(f"invalid gateway {request.gateway}: not the address of a host in {subnet}")


def network(request: NetworkRequest, chosen: IPv4Network | None) -> NetworkInfo:
    """A checked request with all that was left open; `chosen` is the subnet if it names none."""
    subnet = chosen or _network(request.subnet)
    reserved = {_address(text) for text in request.reserved.values()}
    first = (_network(request.ip_range) if request.ip_range else subnet).network_address
    gateway = _address(request.gateway) if request.gateway else None
    candidate = max(first, subnet.network_address + 1)
    while gateway is None:
        if candidate >= subnet.broadcast_address:
            raise KnarrError(f"no available IPv4 addresses on this network's address pools: {subnet}")
        gateway = candidate if candidate not in reserved else None
        candidate += 1
    return NetworkInfo(
        id=secrets.token_hex(32),
        name=request.name,
        driver="bridge",
        created=time.time_ns(),
        subnet=str(subnet),
        gateway=str(gateway),
        internal=request.internal,
        options=request.options,
        labels=request.labels,
        ip_range=request.ip_range,
        reserved=request.reserved,
        chosen_subnet=chosen is not None,
        attachable=request.attachable,
    )


def address_pool(network: NetworkInfo) -> AddressPool:
    """The addresses of a network, none of them in use by a container."""
    return AddressPool(
        IPv4Network(network.subnet),
        IPv4Address(network.gateway),
        ip_range=_network(network.ip_range) if network.ip_range else None,
        reserved=[IPv4Address(text) for text in network.reserved.values()],
    )


def check_address(network: NetworkInfo, text: str) -> None:
    """Whether a container may ask for that address. Raises InvalidParameter."""
    if network.predefined:
        raise InvalidParameter("user specified IP address is supported on user defined networks only")
    if network.chosen_subnet:
        raise InvalidParameter(
            "user specified IP address is supported only when connecting to networks with user configured subnets"
        )
    if _address(text) not in IPv4Network(network.subnet):
        raise InvalidParameter(f"Invalid address {text}: It does not belong to any of this network's subnets")


def port_mappings(network: NetworkInfo, asked: Sequence[PortMapping]) -> list[PortMapping]:
    """The ports that a container publishes in that network, on the host address that the network names for them."""
    if network.internal:
        return []
    binding = "" if network.predefined else network.options.get(_BINDING, "")
    if binding in ("", "0.0.0.0"):
        return list(asked)
    return [replace(mapping, host_ip=mapping.host_ip or binding) for mapping in asked]


def _address(text: str) -> IPv4Address:
    try:
        address = ip_address(text)
    except ValueError:
        raise InvalidParameter(f"invalid IP address: {text}") from None
    if not isinstance(address, IPv4Address):
        raise Unsupported("IPv6 networks are not supported by this engine yet")
    return address


def _network(text: str) -> IPv4Network:
    try:
        network = ip_network(text, strict=False)
    except ValueError:
        raise InvalidParameter(f"invalid subnet {text}: invalid CIDR block notation") from None
    if not isinstance(network, IPv4Network):
        raise Unsupported("IPv6 networks are not supported by this engine yet")
    return network
