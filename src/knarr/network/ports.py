"""Host ports of published container ports: chosen, and held by a bound socket each so that nobody else takes them.

The sockets carry nothing: the firewall sends packets past them. They make every process that wants such a port, ours or
not, get the kernel's "address in use", and tell us the same about its ports.
"""

from __future__ import annotations

import errno
import os
import socket
from collections.abc import Iterable, Sequence
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
        """`default_ip` is for mappings that name no address."""
        self._default_ip = default_ip
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
                bound, holder = self._choose(mapping, address, held)
                held[bound] = undo.enter_context(holder)
            undo.pop_all()
        if held:
            self._held[owner] = held
        return list(held)

    def restore(self, owner: str, ports: Sequence[BoundPort]) -> list[BoundPort]:
        """Hold ports that were reserved before a restart; returns those that another process has taken meanwhile."""
        lost = []
        held = self._held.setdefault(owner, {})
        for port in ports:
            try:
                held[port] = _hold(port.protocol, port.host_ip, port.host_port)
            except OSError:
                lost.append(port)
        return lost

    def release(self, owner: str) -> None:
        """Let go of an owner's ports; an unknown owner is fine."""
        for holder in self._held.pop(owner, {}).values():
            holder.close()

    def close(self) -> None:
        """Let go of everything."""
        for owner in list(self._held):
            self.release(owner)

    def _choose(
        self, mapping: PortMapping, address: str, held: dict[BoundPort, socket.socket]
    ) -> tuple[BoundPort, socket.socket]:
        host_ip = mapping.host_ip or self._default_ip
        _check(mapping, host_ip)
        fixed = mapping.host_port != 0 and mapping.host_port_end <= mapping.host_port
        for port in self._candidates(mapping):
            try:
                holder = _hold(mapping.protocol, host_ip, port)
            except OSError as error:
                if error.errno == errno.EADDRINUSE and not fixed:
                    continue
                raise self._refusal(error, mapping, address, host_ip, port, held) from error
            if mapping.host_port == 0:
                self._next = port + 1
            return BoundPort(mapping.container_port, mapping.protocol, host_ip, port), holder
        raise KnarrError(f"Bind for {_join(host_ip, mapping.host_port)} failed: port is already allocated")

    def _candidates(self, mapping: PortMapping) -> Iterable[int]:
        if mapping.host_port == 0:
            first, last = self._range
            start = self._next if first <= self._next <= last else first
            return chain(range(start, last + 1), range(first, start))
        return range(mapping.host_port, max(mapping.host_port, mapping.host_port_end) + 1)

    def _refusal(
        self,
        error: OSError,
        mapping: PortMapping,
        address: str,
        host_ip: str,
        port: int,
        held: dict[BoundPort, socket.socket],
    ) -> KnarrError:
        ours = any(
            other.protocol == mapping.protocol and other.host_port == port
            for ports in (held, *self._held.values())
            for other in ports
        )
        if error.errno == errno.EADDRINUSE and ours:
            return KnarrError(f"Bind for {_join(host_ip, port)} failed: port is already allocated")
        reason = os.strerror(error.errno or 0).lower()
        target = f"{_join(address, mapping.container_port)}/{mapping.protocol}"
        return KnarrError(f"failed to bind host port for {_join(host_ip, port)}:{target}: {reason}")


def _check(mapping: PortMapping, host_ip: str) -> None:
    if mapping.protocol not in _PROTOCOLS:
        raise InvalidParameter(f"invalid protocol: {mapping.protocol}")
    try:
        ip_address(host_ip)
    except ValueError as error:
        raise InvalidParameter(f"invalid IP address: {host_ip}") from error
    for port in (mapping.container_port, mapping.host_port, mapping.host_port_end):
        if not 0 <= port <= 65535:
            raise InvalidParameter(f"invalid port: {port}")


def _hold(protocol: str, host_ip: str, port: int) -> socket.socket:
    """A socket that occupies a port and receives nothing. Raises OSError."""
    version = ip_address(host_ip).version
    kind, number = _PROTOCOLS[protocol]
    holder = socket.socket(socket.AF_INET if version == 4 else socket.AF_INET6, kind | socket.SOCK_CLOEXEC, number)
    try:
        if version == 6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "udp":
            holder.bind((host_ip, port))
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 0)
        else:
            _occupy(holder, host_ip, port)
    except OSError:
        holder.close()
        raise
    return holder


def _occupy(holder: socket.socket, host_ip: str, port: int) -> None:
    """Bind a stream socket as a server would, past connections in TIME_WAIT, and then stop listening.

    The option lets bind pass, so it is listen that finds another server. After shutdown the socket is bound still, a
    packet that gets to it is answered with a reset, and without the option nobody can share the port.
    """
    holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    holder.bind((host_ip, port))
    holder.listen(1)
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
