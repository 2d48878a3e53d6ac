"""Who is where, as knarrd writes it down for the name server, and what it says to it."""

from __future__ import annotations

from ipaddress import ip_address, ip_network

from msgspec import Struct, field

CONTROL = "control"
DIRECTORY = "names.json"
"""The socket, and the file, in the name server's directory."""


class Client(Struct):
    """Who asks: the networks that it is in, its own names for others, and the servers that know everything else, to be
    asked from `inside` its namespace or from the host."""

    networks: list[str] = field(default_factory=list)
    links: dict[str, str] = field(default_factory=dict)
    servers: list[str] = field(default_factory=list)
    inside: bool = False


class Directory(Struct):
    """By container its `Client`; by network and lower-case name the addresses; by network and address the name; and
    the subnets of each network."""

    clients: dict[str, Client] = field(default_factory=dict)
    names: dict[str, dict[str, list[str]]] = field(default_factory=dict)
    addresses: dict[str, dict[str, str]] = field(default_factory=dict)
    subnets: dict[str, list[str]] = field(default_factory=dict)

    def find(self, client: Client, name: str) -> list[str] | None:
        """The addresses of a name as that client sees it; None if it is no container's."""
        name = client.links.get(name, name)
        for network in client.networks:
            if found := self.names.get(network, {}).get(name):
                return found
        return None

    def name_of(self, client: Client, address: str) -> str | None:
        """The name that goes with an address; None if it is no container's."""
        for network in client.networks:
            if found := self.addresses.get(network, {}).get(address):
                return found
        return None

    def owns(self, client: Client, address: str) -> bool:
        """Whether an address belongs to one of that client's networks."""
        subnets = [subnet for network in client.networks for subnet in self.subnets.get(network, ())]
        return bool(address) and any(ip_address(address) in ip_network(subnet) for subnet in subnets)


class Message(Struct):
    """What knarrd sends. With `container` come its sockets, datagrams and a listener, and its network namespace."""

    container: str = ""
    quit: bool = False
