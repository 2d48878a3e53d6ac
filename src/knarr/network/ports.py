"""Host ports of published container ports: chosen, and held by a bound socket each so that nobody else takes them.

The IPv4 sockets carry nothing: the firewall sends packets past them. They make every process that wants such a port,
ours or not, get the kernel's "address in use", and tell us the same about its ports. IPv6 ones listen, for the relay.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Mapping, Sequence
from contextlib import ExitStack
from ipaddress import ip_address
from itertools import chain

from knarr.errors import InvalidParameter, KnarrError
from knarr.network.model import BoundPort, PortMapping

_PROTOCOLS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
_FALLBACK_RANGE = (49153, 65535)


class HostPorts:
    """All host ports that this daemon holds, by owner (an endpoint's id). For one thread."""

    def __init__(self, default_ip: str) -> None:
        """`default_ip` is for mappings that name no address; 0.0.0.0 means IPv6 as well, where the host has it."""
        self._default_ips = [default_ip]
        if default_ip == "0.0.0.0" and _has_ipv6():
            self._default_ips.append("::")
        self._held: dict[str, dict[BoundPort, socket.socket]] = {}
        self._range = _local_port_range()
        self._next = self._range[0]

    def reserve(self, owner: str, address: str, mappings: Sequence[PortMapping]) -> list[BoundPort]:
        """Choose and hold a host port for each mapping, all or none. `address` is the container's, for messages.

        Raises KnarrError in dockerd's words if a port is taken, InvalidParameter for an impossible mapping.
        """
        held: dict[BoundPort, socket.socket] = {}
        with ExitStack() as undo:
            # Fixed ports first, so that a random one never takes what a later mapping asks for.
            for mapping in sorted(mappings, key=lambda mapping: mapping.host_port == 0):
                for bound, holder in self._choose(mapping, address, held).items():
                    held[bound] = undo.enter_context(holder)
            undo.pop_all()
        if held:
            self._held.setdefault(owner, {}).update(held)
        return list(held)

    def restore(self, owner: str, ports: Sequence[BoundPort]) -> list[BoundPort]:
        """Hold ports that were reserved before a restart; returns those that another process has taken meanwhile."""
        lost = []
        held = self._held.setdefault(owner, {})
        for port in ports:
            try:
                held[port] = _hold(port)
            except OSError:
                lost.append(port)
        return lost

    def let_go(self, owner: str, ports: Iterable[BoundPort]) -> None:
        """Let go of some of an owner's ports."""
        for port in ports:
            if holder := self._held.get(owner, {}).pop(port, None):
                holder.close()

    def release(self, owner: str) -> None:
        """Let go of an owner's ports; an unknown owner is fine."""
        for holder in self._held.pop(owner, {}).values():
            holder.close()

    def close(self) -> None:
        """Let go of everything."""
        for owner in list(self._held):
            self.release(owner)

    def listeners(self, owner: str) -> dict[BoundPort, socket.socket]:
        """The listening sockets of an owner's ports on IPv6 addresses."""
        return {port: holder for port, holder in self._held.get(owner, {}).items() if ":" in port.host_ip}

    def _choose(
        self, mapping: PortMapping, address: str, held: Mapping[BoundPort, socket.socket]
    ) -> dict[BoundPort, socket.socket]:
        """The first port of the mapping that is free on all its addresses, held there."""
        host_ips = self._host_ips(mapping)
        fixed = mapping.host_port != 0 and mapping.host_port_end <= mapping.host_port
        for port in self._candidates(mapping):
            wanted = [BoundPort(mapping.container_port, mapping.protocol, host_ip, port) for host_ip in host_ips]
            try:
                chosen = _hold_all(wanted)
            except _Refused as refused:
                if refused.errno == errno.EADDRINUSE and not fixed:
                    continue
                raise self._refusal(refused, address, held) from refused
            if mapping.host_port == 0:
                self._next = port + 1
            return chosen
        raise KnarrError(f"Bind for {_join(host_ips[0], mapping.host_port)} failed: port is already allocated")

    def _host_ips(self, mapping: PortMapping) -> list[str]:
        _check(mapping)
        host_ips = [mapping.host_ip] if mapping.host_ip else self._default_ips
        if mapping.protocol == "sctp":  # the relay does not speak it
            host_ips = [host_ip for host_ip in host_ips if ":" not in host_ip]
            if not host_ips:
                raise InvalidParameter("sctp ports cannot be published on IPv6 addresses of this network")
        return host_ips

    def _candidates(self, mapping: PortMapping) -> Iterable[int]:
        if mapping.host_port == 0:
            first, last = self._range
            start = self._next if first <= self._next <= last else first
            return chain(range(start, last + 1), range(first, start))
        return range(mapping.host_port, max(mapping.host_port, mapping.host_port_end) + 1)

    def _refusal(self, refused: _Refused, address: str, held: Mapping[BoundPort, socket.socket]) -> KnarrError:
        port = refused.port
        where = _join(port.host_ip, port.host_port)
        ours = any(
            (other.protocol, other.host_port) == (port.protocol, port.host_port)
            for ports in (held, *self._held.values())
            for other in ports
        )
        if refused.errno == errno.EADDRINUSE and ours:
            return KnarrError(f"Bind for {where} failed: port is already allocated")
        target = f"{_join(address, port.container_port)}/{port.protocol}"
        return KnarrError(f"failed to bind host port for {where}:{target}: {os.strerror(refused.errno).lower()}")


class _Refused(Exception):
    """The kernel does not let us have a port."""

    def __init__(self, port: BoundPort, error: OSError) -> None:
        super().__init__(str(error))
        self.port = port
        self.errno = error.errno or 0


def _check(mapping: PortMapping) -> None:
    if mapping.protocol not in _PROTOCOLS:
        raise InvalidParameter(f"invalid protocol: {mapping.protocol}")
    try:
        ip_address(mapping.host_ip or "0.0.0.0")
    except ValueError as error:
        raise InvalidParameter(f"invalid IP address: {mapping.host_ip}") from error
    for port in (mapping.container_port, mapping.host_port, mapping.host_port_end):
        if not 0 <= port <= 65535:
            raise InvalidParameter(f"invalid port: {port}")


def _hold_all(ports: Sequence[BoundPort]) -> dict[BoundPort, socket.socket]:
    """A socket for each, or none at all. Raises _Refused."""
    held = {}
    with ExitStack() as undo:
        for port in ports:
            try:
                held[port] = undo.enter_context(_hold(port))
            except OSError as error:
                raise _Refused(port, error) from error
        undo.pop_all()
    return held


def _hold(port: BoundPort) -> socket.socket:
    """A socket that occupies a port. Raises OSError."""
    version = ip_address(port.host_ip).version
    kind, number = _PROTOCOLS[port.protocol]
    holder = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind | socket.SOCK_CLOEXEC, number)
    try:
        if version == 6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if port.protocol == "udp":
            holder.bind((port.host_ip, port.host_port))
        else:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((port.host_ip, port.host_port))
            holder.listen()
        if version == 4:
            _silence(holder)
    except OSError:
        holder.close()
        raise
    return holder


def _silence(holder: socket.socket) -> None:
    """Make a bound socket one that nothing gets into.

    A stream socket was bound as a server's is, past connections in TIME_WAIT (SO_REUSEADDR), so that it took listen to
    find another server. After shutdown it is bound still, a packet that gets to it is answered with a reset, and
    without the option nobody can share the port.
    """
    if holder.type == socket.SOCK_DGRAM:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
    else:
        holder.shutdown(socket.SHUT_RDWR)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 0)


def _join(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"


def _local_port_range() -> tuple[int, int]:
    try:
        with open("/proc/sys/net/ipv4/ip_local_port_range") as file:
            first, last = file.read().split()
    except OSError:
        return _FALLBACK_RANGE
    return int(first), int(last)


def _has_ipv6() -> bool:
    try:
        with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6") as file:
            return file.read().strip() == "0"
    except OSError:
        return False
