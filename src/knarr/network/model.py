"""What the network layer is asked for and what it answers: requests, endpoints, networks. No behaviour."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Interface, IPv4Network, IPv6Address, IPv6Interface, IPv6Network

from msgspec import Struct, field

IPAddress = IPv4Address | IPv6Address
IPInterface = IPv4Interface | IPv6Interface
IPNetwork = IPv4Network | IPv6Network
VERSIONS = (4, 6)
"""IP versions, in the order in which a network's subnets and an endpoint's addresses are listed."""

PREDEFINED = {"bridge": "bridge", "host": "host", "none": "null"}
"""The networks that are always there, with their drivers."""


class NetworkSettings(Struct, frozen=True):
    """The daemon's network configuration.

    Of the default bridge: `bridge_name`, `bip` ("10.1.0.1/24": gateway and subnet) and with `ipv6` `bip6`, "" to choose
    them; `fixed_cidr` and `fixed_cidr_v6`, the parts of its subnets from which addresses are taken, "" for all; `icc`
    and `ip_masq`. `host_ip` is where ports are published when the user names no address; `mtu` in bytes; `ip_forward`:
    whether the host may be made to forward packets. `address_pools` are subnets of both versions from which networks
    without one take theirs, with the prefix length to take; of a version that is not there Docker's are taken.
    `default_options` are, by driver, options of networks to come, `host_addresses` where containers find the host,
    if not at their gateway.
    """

    bridge_name: str = ""
    bip: str = ""
    icc: bool = True
    ip_masq: bool = True
    ip_forward: bool = True
    ipv6: bool = False
    bip6: str = ""
    fixed_cidr: str = ""
    fixed_cidr_v6: str = ""
    host_ip: str = "0.0.0.0"
    mtu: int = 1500
    address_pools: tuple[tuple[str, int], ...] = ()
    default_options: dict[str, dict[str, str]] = field(default_factory=dict)
    host_addresses: tuple[str, ...] = ()


class HostSettings(Struct, frozen=True):
    """What drivers must know of the host: the default `mtu` in bytes, whether it may be made to forward packets, and
    the group of interfaces that this daemon has made."""

    mtu: int
    ip_forward: bool
    group: int


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

    `addresses` are wanted ones, at most one a version, `link_local` further ones that matter on the link alone. For the
    versions in `leads` the network's gateway is the container's from now on; for others another of its networks leads
    to the world: of those that can, the one with the highest `priority`. `options` are Docker's driver options for an
    endpoint. With `names` others in the network find it by them, and it finds them by theirs and by its `links`
    (aliases of names); `servers` outside are asked for all other names: by the container itself if they are its
    `own_servers`, else by the host. Until it is `ready` nothing that several containers share is sent to it.
    """

    container_id: str
    network: str = "bridge"
    name: str = ""
    addresses: list[str] = field(default_factory=list)
    mac: str | None = None
    ports: list[PortMapping] = field(default_factory=list)
    link_local: list[str] = field(default_factory=list)
    leads: tuple[int, ...] = VERSIONS
    priority: int = 0
    options: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)
    own_servers: bool = False
    ready: bool = True


class Address(Struct, frozen=True):
    """An endpoint's address, the length of its subnet's prefix, and the way out of there: "" if there is none."""

    ip: str
    prefix_length: int
    gateway: str = ""

    @property
    def version(self) -> int:
        """4 or 6."""
        return _version(self.ip)

    @property
    def cidr(self) -> str:
        """As "172.17.0.2/16"."""
        return f"{self.ip}/{self.prefix_length}"


class Endpoint(Struct, frozen=True):
    """A container's place in a network; kept in the database as long as it lasts.

    It has one address of each version that the network has, IPv4 first; `leads` are the versions of the default routes
    that go through it. `host_interface` is "" and `mac` the parent's ("") where the driver makes none. `sysctls` are
    the interface's settings, by path below /proc/sys/net, `services` those of its names that are balanced,
    `opened` protocols and ports at which the container itself is reached from outside.
    """

    endpoint_id: str
    container_id: str
    network_id: str
    network_name: str
    addresses: list[Address]
    mac: str
    host_interface: str
    ports: list[BoundPort] = field(default_factory=list)
    interface: str = "eth0"
    link_local: list[str] = field(default_factory=list)
    leads: tuple[int, ...] = VERSIONS
    priority: int = 0
    sysctls: dict[str, str] = field(default_factory=dict)
    names: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)
    own_servers: bool = False
    services: list[str] = field(default_factory=list)
    opened: list[tuple[str, int]] = field(default_factory=list)
    ready: bool = True

    @property
    def published(self) -> bool:
        """Whether anything of it is reached from outside its network."""
        return bool(self.ports or self.services or self.opened)

    def address(self, version: int) -> Address | None:
        """The address of that IP version; None without one."""
        return next((address for address in self.addresses if address.version == version), None)


class Subnet(Struct, frozen=True):
    """Addresses of a network, in CIDR notation, and its `gateway` among them ("" if it has none).

    `ip_range`, a part of the subnet, is where addresses are chosen from; `reserved` are names for addresses that are
    never chosen. `chosen`: by the engine, not by the user.
    """

    subnet: str
    gateway: str = ""
    ip_range: str = ""
    reserved: dict[str, str] = field(default_factory=dict)
    chosen: bool = False

    @property
    def version(self) -> int:
        """4 or 6."""
        return _version(self.subnet)


class NetworkInfo(Struct, frozen=True):
    """A network, with Docker's names for drivers and options. `created` is in nanoseconds since 1970.

    The IPv4 subnets come first. One with a `config` is nothing but that, for networks to be made from it; those name it
    as `config_from`. `virtual` are the addresses, one a version, of aliases that are balanced.
    """

    id: str
    name: str
    driver: str
    created: int
    subnets: list[Subnet] = field(default_factory=list)
    internal: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    attachable: bool = False
    config: NetworkRequest | None = None
    config_from: str = ""
    virtual: dict[str, list[str]] = field(default_factory=dict)

    @property
    def predefined(self) -> bool:
        """One of the three that every engine has."""
        return self.name in PREDEFINED

    @property
    def versions(self) -> tuple[int, ...]:
        """The IP versions that containers have there."""
        return tuple(version for version in VERSIONS if self.of_version(version))

    @property
    def leads(self) -> tuple[int, ...]:
        """The IP versions with which containers reach the world through it."""
        return () if self.internal else self.versions

    def of_version(self, version: int) -> list[Subnet]:
        """The subnets of that IP version."""
        return [subnet for subnet in self.subnets if subnet.version == version]


class NetworkRequest(Struct, frozen=True):
    """A network to make. It gets a free subnet of each version that it is to have and `subnets` has none of, and
    subnets without a gateway get their first address for it.

    `ipv4` and `ipv6` None leave it to the options, and those to Docker's defaults: on and off. With `config_from`, the
    network of that name gives subnets, options and labels. `config_only` makes such a one.
    """

    name: str
    subnets: list[Subnet] = field(default_factory=list)
    driver: str = "bridge"
    ipv4: bool | None = None
    ipv6: bool | None = None
    internal: bool = False
    attachable: bool = False
    options: dict[str, str] = field(default_factory=dict)
    labels: dict[str, str] = field(default_factory=dict)
    config_only: bool = False
    config_from: str = ""

    def wants(self, version: int) -> bool | None:
        """Whether it is to have that IP version."""
        return self.ipv4 if version == 4 else self.ipv6


def _version(text: str) -> int:
    return 6 if ":" in text else 4
