"""What the network layer is asked for and what it answers: requests, endpoints, networks. No behaviour."""

from __future__ import annotations

from msgspec import Struct, field

PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}
"""The networks that are always there, with their drivers."""


class NetworkSettings(Struct, frozen=True):
    """The daemon's network configuration.

    `bridge_name` and `bip` ("10.1.0.1/24": gateway and subnet) are the default bridge's, "" to choose them; `host_ip`
    is where ports are published when the user names no address; `mtu` in bytes; `address_pools` are subnets from which
    networks without one take theirs, with the prefix length to take, () for Docker's.
    """

    bridge_name: str = ""
    bip: str = ""
    host_ip: str = "0.0.0.0"
    mtu: int = 1500
    address_pools: tuple[tuple[str, int], ...] = ()


class PortMapping(Struct, frozen=True):
    """A port to publish; `protocol` is tcp, udp or sctp.

    `host_ip` "" is the daemon's default (0.0.0.0 brings :: with it where the host has IPv6), `host_port` 0 any free
    one, and `host_port_end`, if not 0, the end of a range of which the first free one is taken.
    """

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: int = 0
    host_port_end: int = 0


class BoundPort(Struct, frozen=True):
    """A published port as it is bound: one for each host address."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class EndpointRequest(Struct, frozen=True):
    """Connect a container. `name`, the container's, is for messages; `mac` None takes one made from the address.

    Where `default_route` is not wanted, another network of the container leads to the world. With `names` others in
    the network find it by them, and it finds them by theirs and by its `links` (aliases of names); `servers` outside
    are asked for all other names.
    """

    container_id: str
    network: str = "bridge"
    name: str = ""
    address: str | None = None
    mac: str | None = None
    ports: list[PortMapping] = field(default_factory=list)
    default_route: bool = True
    names: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)


class Endpoint(Struct, frozen=True):
    """A container's place in a network; kept in the database as long as it lasts."""

    endpoint_id: str
    container_id: str
    network_id: str
    network_name: str
    address: str
    prefix_length: int
    gateway: str
    mac: str
    host_interface: str
    ports: list[BoundPort] = field(default_factory=list)
    address_v6: str = ""
    prefix_length_v6: int = 0
    gateway_v6: str = ""
    interface: str = "eth0"
    default_route: bool = True
    names: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)


class NetworkInfo(Struct, frozen=True):
    """A network, with Docker's names for drivers and options. `created` is in nanoseconds since 1970.

    `ip_range`, a part of the subnet, is where addresses are chosen from; `reserved` are names for addresses that are
    never chosen. `chosen_subnet`: by the engine, not by the user.
    """

    id: str
    name: str
    driver: str
    created: int
    subnet: str = ""
    gateway: str = ""
    ipv6: bool = False
    internal: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    ip_range: str = ""
    reserved: dict[str, str] = field(default_factory=dict)
    chosen_subnet: bool = False
    attachable: bool = False

    @property
    def predefined(self) -> bool:
        """One of the three that every engine has."""
        return self.name in PREDEFINED


class NetworkRequest(Struct, frozen=True):
    """A network to make; without a `subnet` it gets a free one, without a `gateway` the first address."""

    name: str
    subnet: str = ""
    gateway: str = ""
    ip_range: str = ""
    reserved: dict[str, str] = field(default_factory=dict)
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
