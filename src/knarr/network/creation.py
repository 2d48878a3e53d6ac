"""What a network may be: requests for one are checked and completed here. Pure."""

from __future__ import annotations

import secrets
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from ipaddress import ip_address, ip_network

from msgspec.structs import replace

from knarr.errors import Conflict, Forbidden, InvalidParameter, KnarrError, NotFound
from knarr.network import options
from knarr.network.addressing import Addressing
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


def with_defaults(
    request: NetworkRequest, networks: Sequence[NetworkInfo], defaults: Mapping[str, Mapping[str, str]]
) -> NetworkRequest:
    """A request with what the network that it names as its configuration has, and the daemon's options.

    Raises InvalidParameter, Forbidden, NotFound, in dockerd's words.
    """
    if request.config_from:
        request = _from_configuration(request, networks)
    elif not request.config_only:
        request = replace(request, options={**defaults.get(request.driver, {}), **request.options})
    return replace(request, ipv4=_wanted(request, 4), ipv6=_wanted(request, 6))


def _wanted(request: NetworkRequest, version: int) -> bool:
    """Whether a network is to have an IP version."""
    asked, name = request.wants(version), options.ENABLE[version]
    if asked is not None or name not in request.options:
        return version == 4 if asked is None else asked
    try:
        return options.parse_flag(request.options[name])
    except ValueError:
        raise InvalidParameter(f'failed to parse {name} value: "{request.options[name]}"') from None


def _from_configuration(request: NetworkRequest, networks: Sequence[NetworkInfo]) -> NetworkRequest:
    if request.subnets or request.ipv6 or request.labels:
        raise Forbidden(
            "user specified configurations are not supported if the network depends on a configuration network"
        )
    if request.options:
        raise Forbidden("network driver options are not supported if the network depends on a configuration network")
    source = next((network for network in networks if request.config_from in (network.name, network.id)), None)
    if source is None:
        raise NotFound(f"network {request.config_from} not found")
    if source.config is None:
        raise Forbidden(f"{source.name} is not a configuration network")
    return replace(
        request,
        subnets=source.config.subnets,
        ipv4=source.config.ipv4,
        ipv6=source.config.ipv6,
        options=source.config.options,
        labels=source.config.labels,
        config_from=source.name,
    )


def configuration(request: NetworkRequest) -> NetworkInfo:
    """A network that is nothing but a configuration for others."""
    return NetworkInfo(
        secrets.token_hex(32), request.name, "null", time.time_ns(), labels=request.labels, config=request
    )


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
    if request.config_only:
        _check_configuration(request)
        return
    options.check(request.driver, request.options)
    _check_driver(request, [network for network in networks if network.driver != "null"])
    subnets = [subnet for subnet in request.subnets if request.ipv6 or subnet.version != 6]
    if problems := [problem for subnet in subnets for problem in _problems(subnet)]:
        raise InvalidParameter("\n".join(("invalid network config:", *problems)))
    if not request.ipv4 and any(subnet.version == 4 for subnet in subnets):
        raise InvalidParameter("IPv4 subnet specified but IPv4 is not enabled")
    if request.driver == "bridge" and len({subnet.version for subnet in subnets}) < len(subnets):
        raise Forbidden("bridge driver doesn't support multiple subnets")
    _check_overlap(subnets, networks)


def _check_configuration(request: NetworkRequest) -> None:
    if request.config_from:
        raise Forbidden("a configuration network cannot depend on another configuration network")
    if request.internal or request.attachable:
        raise Forbidden(
            "configuration network can only contain network specific fields. Network operator fields like "
            "[ ingress | internal | attachable | scope ] are not supported."
        )
    if problems := [problem for subnet in request.subnets for problem in _problems(subnet)]:
        raise InvalidParameter("\n".join(("invalid network config:", *problems)))


def _check_driver(request: NetworkRequest, networks: Sequence[NetworkInfo]) -> None:
    """The rules of a driver beyond its options' own."""
    asked = request.options
    if request.driver != "bridge":
        _check_parent(request, networks)
        return
    if asked.get(options.DEFAULT_BRIDGE) and options.parse_flag(asked[options.DEFAULT_BRIDGE]):
        raise Forbidden("there is a default bridge already")
    for name in options.GATEWAY_MODE.values():
        if asked.get(name) == "isolated" and not request.internal:
            raise InvalidParameter("gateway mode 'isolated' can only be used for an internal network")
    for network in networks:
        if asked.get(options.NAME) and options.bridge(network).name == asked[options.NAME]:
            raise Forbidden(f"conflicts with network {network.id} ({network.name}): networks have same bridge name")


def _check_parent(request: NetworkRequest, networks: Sequence[NetworkInfo]) -> None:
    """Whether a parent can carry this network beside the others that it carries: one kind of interface alone, in
    ipvlan all of one mode, and one in passthru without company."""
    parent = request.options.get(options.PARENT)
    for network in networks:
        if parent and network.options.get(options.PARENT) == parent:
            modes = {_stacked_mode(network.driver, network.options), _stacked_mode(request.driver, request.options)}
            if len(modes) > 1 or "passthru" in modes or network.driver != request.driver:
                raise Forbidden(f"network {network.name} is already using parent interface {parent}")


def _stacked_mode(driver: str, asked: Mapping[str, str]) -> str:
    """The mode that all networks on a parent have in common."""
    if driver == "ipvlan":
        return f"{asked.get(options.IPVLAN_MODE) or 'l2'} {asked.get(options.IPVLAN_FLAG) or 'bridge'}"
    return "passthru" if asked.get(options.MACVLAN_MODE) == "passthru" else ""


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
    wanted = [version for version in VERSIONS if _wanted(request, version)]
    named = {subnet.version for subnet in request.subnets}
    return [version for version in wanted if version not in named]


def network(request: NetworkRequest, chosen: Sequence[IPNetwork]) -> NetworkInfo:
    """A checked request with all that was left open; `chosen` are the subnets of versions for which it names none.

    Raises KnarrError if there is no address for a gateway.
    """
    subnets = [subnet for subnet in request.subnets if request.ipv6 or subnet.version != 6]
    subnets += [Subnet(str(subnet), chosen=True) for subnet in chosen]
    needs_gateway = not options.on_link(request.driver, request.options)
    return NetworkInfo(
        id=secrets.token_hex(32),
        name=request.name,
        driver=request.driver,
        created=time.time_ns(),
        subnets=[_complete(subnet, needs_gateway) for subnet in sorted(subnets, key=lambda subnet: subnet.version)],
        internal=request.internal,
        options=request.options,
        labels=request.labels,
        attachable=request.attachable,
        config_from=request.config_from,
    )


def _complete(asked: Subnet, needs_gateway: bool) -> Subnet:
    """A subnet with everything in its shortest spelling, and with a gateway."""
    subnet = ip_network(asked.subnet)
    reserved = {name: ip_address(text) for name, text in asked.reserved.items()}
    gateway = ip_address(asked.gateway) if asked.gateway else None
    if gateway is None and needs_gateway:
        gateway = _first_free(asked, subnet, reserved.values())
    return replace(
        asked,
        subnet=str(subnet),
        gateway=str(gateway or ""),
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


def with_virtual_addresses(network: NetworkInfo) -> NetworkInfo:
    """A network with an address for each alias that is to be balanced. Raises KnarrError if there are too few."""
    addressing = Addressing(network)
    return replace(network, virtual={alias: addressing.take_virtual() for alias in options.balanced(network)})


def _not_for_hosts(subnet: IPNetwork) -> tuple[IPAddress, ...]:
    """The address of the network itself (in IPv6: of all its routers) and of all its hosts."""
    if subnet.version == 6:
        return (subnet.network_address,)
    return subnet.network_address, subnet.broadcast_address


def port_mappings(network: NetworkInfo, asked: Sequence[PortMapping], default_ip: str) -> list[PortMapping]:
    """The ports that a container publishes in that network, on the host address that the network names for them, or
    the daemon: but not with IP versions for which the network is routed."""
    if network.internal or network.driver != "bridge":
        return []
    modes = options.bridge(network).modes
    binding = "" if network.predefined else network.options.get(options.BINDING, "")
    binding = "" if binding == "0.0.0.0" else binding
    if "routed" not in modes.values():
        return [replace(mapping, host_ip=mapping.host_ip or binding) for mapping in asked]
    anywhere = ("0.0.0.0", "::") if default_ip == "0.0.0.0" else (default_ip,)
    return [
        replace(mapping, host_ip=host_ip)
        for mapping in asked
        for host_ip in ((mapping.host_ip or binding,) if mapping.host_ip or binding else anywhere)
        if modes[ip_address(host_ip).version] != "routed"
    ]


def opened_ports(network: NetworkInfo, asked: Sequence[PortMapping]) -> list[tuple[str, int]]:
    """The container ports, each with its protocol, that are let in at the container's own address."""
    if network.internal or network.driver != "bridge" or not options.bridge(network).opens:
        return []
    return list(dict.fromkeys((mapping.protocol, mapping.container_port) for mapping in asked))


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
