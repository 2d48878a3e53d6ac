"""Host ports of published container ports: chosen, and held by a bound socket each so that nobody else takes them.

Most sockets carry nothing: the firewall sends packets past them. They make every process that wants such a port,
ours or not, get the kernel's "address in use", and tell us the same about its ports. Where the kernel cannot translate,
they listen, for the relay.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from itertools import chain
from typing import Protocol

from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import port_sockets
from knarr.network.model import BoundPort, Endpoint, PortMapping

_Place = tuple[str, str, int]
"""Protocol, host address, port."""
_FALLBACK_RANGE = (49153, 65535)


class _Holder:
    """A port that is held, for one owner or for several of one group. Without a socket where the kernel has none of
    that protocol: nobody else can have the port either."""

    def __init__(self, group: str, sock: socket.socket | None, *, listens: bool) -> None:
        self.group = group
        self.socket = sock
        self.listens = listens
        self.owners = 0

    def close(self) -> None:
        if self.socket is not None:
            self.socket.close()


class Host(Protocol):
    """Whose ports they are. `is_here`: the firewall sees what comes to them, or else all of it is relayed."""

    is_here: bool

    def has_ipv6(self) -> bool:
        """Whether there are IPv6 addresses to bind to."""

    def bind(self, protocol: str, address: str, port: int, *, listens: bool) -> socket.socket | None:
        """See `kernel.port_sockets.bind`."""


class ThisHost:
    """The one whose network namespace this process is in."""

    is_here = True

    def has_ipv6(self) -> bool:
        """See Host."""
        return port_sockets.has_ipv6()

    def bind(self, protocol: str, address: str, port: int, *, listens: bool) -> socket.socket | None:
        """See Host."""
        return port_sockets.bind(protocol, address, port, listens=listens)


class HostPorts:
    """All host ports that this daemon holds, by owner (an endpoint's id). For one thread."""

    def __init__(self, default_ip: str, host: Host) -> None:
        """`default_ip` is for mappings that name no address; 0.0.0.0 means IPv6 as well, where the host has it."""
        self._host = host
        self._default_ips = [default_ip]
        if default_ip == "0.0.0.0" and host.has_ipv6():
            self._default_ips.append("::")
        self._held: dict[str, list[BoundPort]] = {}
        self._inherited: dict[_Place, socket.socket] = {}
        self._holders: dict[_Place, _Holder] = {}
        self._range = _local_port_range()
        self._next = self._range[0]

    def reserve(
        self, owner: str, addresses: Sequence[str], mappings: Sequence[PortMapping], *, group: str = ""
    ) -> list[BoundPort]:
        """Choose and hold a host port for each mapping, all or none. `addresses` are the container's. Owners of one
        `group` may have the same port.

        Raises KnarrError in dockerd's words if a port is taken, InvalidParameter for an impossible mapping.
        """
        bound: list[BoundPort] = []
        with ExitStack() as undo:
            undo.callback(self._let_go, bound)
            # Fixed ports first, so that a random one never takes what a later mapping asks for.
            for mapping in sorted(mappings, key=lambda mapping: mapping.host_port == 0):
                bound += self._choose(mapping, addresses, group, bound)
            undo.pop_all()
        if bound:
            self._held.setdefault(owner, []).extend(bound)
        return bound

    def inherit(self, listeners: Mapping[BoundPort, socket.socket]) -> None:
        """Take sockets that are bound already, for ports that are about to be held; those of the last time that nobody
        has come for are closed."""
        for sock in self._inherited.values():
            sock.close()
        self._inherited = {_place(port): listener for port, listener in listeners.items()}

    def restore(self, endpoint: Endpoint, group: str = "") -> list[BoundPort]:
        """Hold ports that were reserved before a restart; returns those that another process has taken meanwhile."""
        lost = []
        held = self._held.setdefault(endpoint.endpoint_id, [])
        for port in endpoint.ports:
            try:
                self._hold(port, [address.ip for address in endpoint.addresses], group)
                held.append(port)
            except OSError:
                lost.append(port)
        return lost

    def let_go(self, owner: str, ports: Iterable[BoundPort]) -> None:
        """Let go of some of an owner's ports."""
        held = self._held.get(owner, [])
        gone = [port for port in ports if port in held]
        self._held[owner] = [port for port in held if port not in gone]
        self._let_go(gone)

    def release(self, owner: str) -> None:
        """Let go of an owner's ports; an unknown owner is fine."""
        self._let_go(self._held.pop(owner, []))

    def close(self) -> None:
        """Let go of everything."""
        for owner in list(self._held):
            self.release(owner)

    def listeners(self, owner: str) -> dict[BoundPort, socket.socket]:
        """The sockets of an owner's ports that are to be relayed."""
        found = {port: self._holders[_place(port)] for port in self._held.get(owner, ())}
        return {port: holder.socket for port, holder in found.items() if holder.listens and holder.socket}

    def _choose(
        self, mapping: PortMapping, addresses: Sequence[str], group: str, mine: Sequence[BoundPort]
    ) -> list[BoundPort]:
        """The first port of the mapping that is free on all its addresses, held there."""
        host_ips = self._host_ips(mapping, addresses)
        fixed = mapping.host_port != 0 and mapping.host_port_end <= mapping.host_port
        shared = group if fixed else ""
        for port in self._candidates(mapping):
            wanted = [BoundPort(mapping.container_port, mapping.protocol, host_ip, port) for host_ip in host_ips]
            try:
                self._hold_all(wanted, addresses, shared, mine)
            except _Refused as refused:
                if refused.errno == errno.EADDRINUSE and not fixed:
                    continue
                raise self._refusal(refused, addresses[0]) from refused
            if mapping.host_port == 0:
                self._next = port + 1
            return wanted
        raise KnarrError(f"Bind for {_join(host_ips[0], mapping.host_port)} failed: port is already allocated")

    def _host_ips(self, mapping: PortMapping, addresses: Sequence[str]) -> list[str]:
        _check(mapping)
        host_ips = [mapping.host_ip] if mapping.host_ip else self._default_ips
        if mapping.protocol == "sctp":  # the relay does not speak it
            if not self._host.is_here:
                raise InvalidParameter("sctp ports cannot be published by a rootless engine")
            versions = {_version(address) for address in addresses}
            host_ips = [host_ip for host_ip in host_ips if _version(host_ip) in versions]
            if not host_ips:
                raise InvalidParameter("sctp ports cannot be published on IPv6 addresses of this network")
        return host_ips

    def _hold_all(
        self, ports: Sequence[BoundPort], addresses: Sequence[str], group: str, mine: Sequence[BoundPort]
    ) -> None:
        """Hold each, or none at all. Raises _Refused."""
        done: list[BoundPort] = []
        with ExitStack() as undo:
            undo.callback(self._let_go, done)
            for port in ports:
                try:
                    if group and any(_place(port) == _place(other) for other in mine):
                        raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
                    self._hold(port, addresses, group)
                except OSError as error:
                    raise _Refused(port, error) from error
                done.append(port)
            undo.pop_all()

    def _hold(self, port: BoundPort, addresses: Sequence[str], group: str) -> None:
        """Raises OSError."""
        holder = self._holders.get(_place(port))
        if holder is None:
            # Loopback and link-local clients of IPv6 ports are not the firewall's, whatever the container has.
            versions = {_version(address) for address in addresses}
            relayed = not self._host.is_here or _version(port.host_ip) == 6 or 4 not in versions
            listens = port.protocol != "sctp" and relayed
            sock = self._inherited.pop(_place(port), None)
            if sock is None:
                sock = self._host.bind(port.protocol, port.host_ip, port.host_port, listens=listens)
            holder = self._holders[_place(port)] = _Holder(group, sock, listens=listens)
        elif not group or holder.group != group:
            raise OSError(errno.EADDRINUSE, os.strerror(errno.EADDRINUSE))
        holder.owners += 1

    def _let_go(self, ports: Iterable[BoundPort]) -> None:
        for port in ports:
            holder = self._holders[_place(port)]
            holder.owners -= 1
            if not holder.owners:
                self._holders.pop(_place(port)).close()

    def _candidates(self, mapping: PortMapping) -> Iterable[int]:
        if mapping.host_port == 0:
            first, last = self._range
            start = self._next if first <= self._next <= last else first
            return chain(range(start, last + 1), range(first, start))
        return range(mapping.host_port, max(mapping.host_port, mapping.host_port_end) + 1)

    def _refusal(self, refused: _Refused, address: str) -> KnarrError:
        port = refused.port
        where = _join(port.host_ip, port.host_port)
        ours = any((protocol, number) == (port.protocol, port.host_port) for protocol, _, number in self._holders)
        if refused.errno == errno.EADDRINUSE and ours:
            return KnarrError(f"Bind for {where} failed: port is already allocated")
        target = f"{_join(address, port.container_port)}/{port.protocol}"
        reason = os.strerror(refused.errno).lower()
        if refused.errno == errno.EACCES and not self._host.is_here:
            reason += " (a rootless engine has the ports that net.ipv4.ip_unprivileged_port_start allows)"
        return KnarrError(f"failed to bind host port for {where}:{target}: {reason}")


class _Refused(Exception):
    """The kernel does not let us have a port."""

    def __init__(self, port: BoundPort, error: OSError) -> None:
        super().__init__(str(error))
        self.port = port
        self.errno = error.errno or 0


def _check(mapping: PortMapping) -> None:
    if mapping.protocol not in port_sockets.PROTOCOLS:
        raise InvalidParameter(f"invalid protocol: {mapping.protocol}")
    try:
        ip_address(mapping.host_ip or "0.0.0.0")
    except ValueError as error:
        raise InvalidParameter(f"invalid IP address: {mapping.host_ip}") from error
    for port in (mapping.container_port, mapping.host_port, mapping.host_port_end):
        if not 0 <= port <= 65535:
            raise InvalidParameter(f"invalid port: {port}")


def _place(port: BoundPort) -> _Place:
    return port.protocol, port.host_ip, port.host_port


def _version(address: str) -> int:
    return 6 if ":" in address else 4


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _local_port_range() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            first, last = file.read().split()
    except OSError:
        return _FALLBACK_RANGE
    return int(first), int(last)
