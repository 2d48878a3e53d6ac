"""Messages for syslog, in the formats that dockerd knows, and the connections that they go through.

RFC 3164, RFC 5424, RFC 5425 (over TLS: each message with its length in front). Without a format it is what syslog(3)
writes to /dev/log.
"""

from __future__ import annotations

import os
import select
import socket
import time
from collections.abc import Sequence
from typing import Any

from knarr.compute.interface import SyslogSettings
from knarr.compute.native import tls_relay
from knarr.compute.native.log_lines import Line

_INFO, _ERROR = 6, 3
_TIMEOUT = 10.0  # seconds that a connection may take, or one message
_LOCAL = ("/dev/log", "/var/run/syslog", "/var/run/log")
_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")


class SyslogFormat:
    """Lines as syslog messages."""

    def __init__(self, settings: SyslogSettings) -> None:
        self._settings = settings
        self._host = os.uname().nodename
        self._counted = settings.network == "tcp+tls" and settings.format.startswith("rfc5424")

    def messages(self, stream: str, lines: Sequence[Line]) -> list[bytes]:
        """Messages of this moment, each with the newline at its end that receivers of streams need."""
        priority = self._settings.facility << 3 | (_ERROR if stream == "stderr" else _INFO)
        header = f"<{priority}>{self._header(time.time_ns())}".encode()
        messages = [header + line.text + b"\n" for line in lines]
        if self._counted:
            return [b"%d %s" % (len(message), message) for message in messages]
        return messages

    def _header(self, now: int) -> str:
        settings, pid = self._settings, os.getpid()
        if settings.format.startswith("rfc5424"):
            moment = _rfc3339(now, micro=settings.format == "rfc5424micro")
            return f"1 {moment} {self._host} {settings.tag} {pid} {settings.tag} - "
        host = f"{self._host} " if settings.format == "rfc3164" else ""
        return f"{_stamp(now)} {host}{settings.tag}[{pid}]: "


def _stamp(now: int) -> str:
    """RFC 3164's local time; strftime(3) would name the month in the user's language."""
    local = time.localtime(now // 1_000_000_000)
    return f"{_MONTHS[local.tm_mon - 1]} {local.tm_mday:2d} {local.tm_hour:02d}:{local.tm_min:02d}:{local.tm_sec:02d}"


def _rfc3339(now: int, *, micro: bool) -> str:
    local = time.localtime(now // 1_000_000_000)
    fraction = f".{now % 1_000_000_000 // 1000:06d}" if micro else ""
    minutes = local.tm_gmtoff // 60
    zone = f"{'-' if minutes < 0 else '+'}{abs(minutes) // 60:02d}:{abs(minutes) % 60:02d}" if minutes else "Z"
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', local)}{fraction}{zone}"


class SyslogWire:
    """A connection to a syslog server, made when the first message is to be sent."""

    def __init__(self, settings: SyslogSettings) -> None:
        self.joins = settings.network in ("tcp", "tcp+tls", "unix")
        self._settings = settings
        self._socket: socket.socket | None = None
        self._helper = 0

    def send(self, data: bytes) -> None:
        """Send one message or, on a stream, several. A datagram that nobody takes from the network is lost."""
        if self._socket is not None and self.joins and _hung_up(self._socket):
            self.close()
        if self._socket is None:
            self._socket = self._connect()
            self._socket.settimeout(_TIMEOUT)
        if self._settings.network == "udp":
            try:
                self._socket.send(data)
            except ConnectionRefusedError:  # of the one before; a datagram that has gone is nobody's any more
                pass
        else:
            self._socket.sendall(data)

    def _connect(self) -> socket.socket:
        settings = self._settings
        if settings.network == "":
            return _connect_local()
        if settings.network in ("unix", "unixgram"):
            kind = socket.SOCK_STREAM if settings.network == "unix" else socket.SOCK_DGRAM
            return _connect_path(settings.address, kind)
        if settings.network == "tcp+tls":
            connected, self._helper = tls_relay.spawn(settings)
            return connected
        return _connect_host(settings.address, settings.port, settings.network)

    def helpers(self) -> set[int]:
        """The relay, if this goes over TLS."""
        return {self._helper} - {0}

    def close(self) -> None:
        """Disconnect; the next message connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None
        if self._helper:
            os.waitpid(self._helper, 0)  # at the end of its socket it has passed on what it has, or fails
            self._helper = 0


def _hung_up(connected: socket.socket) -> bool:
    """Whether the other side has closed: what is sent now would vanish without an error. Its words are not wanted."""
    poll = select.poll()
    poll.register(connected, select.POLLIN)
    try:
        return bool(poll.poll(0)) and not connected.recv(4096)
    except OSError:
        return True


def _connect_local() -> socket.socket:
    for path in _LOCAL:
        for kind in (socket.SOCK_DGRAM, socket.SOCK_STREAM):
            try:
                return _connect_path(path, kind)
            except OSError:
                continue
    raise ConnectionRefusedError("no local syslog server")


def _connect_path(path: str, kind: int) -> socket.socket:
    connected = socket.socket(socket.AF_UNIX, kind)
    return _connected(connected, path)


def _connect_host(host: str, port: int, network: str) -> socket.socket:
    """The name goes to the resolver as bytes: as text the interpreter would load its tables for IDNA."""
    kind = socket.SOCK_DGRAM if network == "udp" else socket.SOCK_STREAM
    failure: OSError = ConnectionRefusedError(host)
    for family, found, protocol, _, address in socket.getaddrinfo(host.encode(), port, 0, kind):
        try:
            return _connected(socket.socket(family, found, protocol), address)
        except OSError as error:
            failure = error
    raise failure


def _connected(connecting: socket.socket, address: Any) -> socket.socket:
    try:
        connecting.settimeout(_TIMEOUT)
        connecting.connect(address)
    except BaseException:
        connecting.close()
        raise
    return connecting
