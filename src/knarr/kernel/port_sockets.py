"""Sockets bound to a port of this host: to hold it, or to listen there. Sources: ip(7), ipv6(7), tcp(7), udp(7)."""

from __future__ import annotations

import errno
import socket

_BACKLOG = 4096  # as servers have it; the kernel cuts it to net.core.somaxconn

PROTOCOLS = {
    "tcp": (socket.SOCK_STREAM, socket.IPPROTO_TCP),
    "udp": (socket.SOCK_DGRAM, socket.IPPROTO_UDP),
    "sctp": (socket.SOCK_STREAM, socket.IPPROTO_SCTP),
}
"""By name, the kind of socket and its protocol."""


def bind(protocol: str, address: str, port: int, *, listens: bool) -> socket.socket | None:
    """A socket that occupies a port, silent unless it `listens`; None if the kernel has no such sockets.

    Raises OSError.
    """
    kind, number = PROTOCOLS[protocol]
    family = socket.AF_INET6 if ":" in address else socket.AF_INET
    try:
        holder = socket.socket(family, kind | socket.SOCK_CLOEXEC, number)
    except OSError as error:
        if protocol == "sctp" and error.errno in (errno.EPROTONOSUPPORT, errno.ESOCKTNOSUPPORT):
            return None
        raise
    try:
        if family == socket.AF_INET6:
            holder.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "udp":
            holder.bind((address, port))
        else:
            holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            holder.bind((address, port))
            holder.listen(_BACKLOG)
        if not listens:
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


def has_ipv6() -> bool:
    """Whether there are IPv6 addresses to bind to."""
    try:
        with open("/proc/sys/net/ipv6/conf/lo/disable_ipv6") as file:
            return file.read().strip() == "0"
    except OSError:
        return False
