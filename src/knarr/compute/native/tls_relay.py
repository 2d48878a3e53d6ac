"""A process that passes what a shim writes to a socket on to a server, over TLS.

Shims load no TLS library: it would cost each of them more memory than all the rest. This is started for a shim that
needs it, with its socket as stdin, and ends with that or with the server's connection.
"""

from __future__ import annotations

import os
import select
import socket
import sys
from typing import TYPE_CHECKING, NoReturn

import msgspec

from knarr.compute.interface import SyslogSettings

if TYPE_CHECKING:
    import ssl

_TIMEOUT = 10.0
_CHUNK = 64 << 10
_PROGRAM = """\
import sys
sys.path[:] = {path!r}
from knarr.compute.native import tls_relay
tls_relay.main({settings!r})
"""


def spawn(settings: SyslogSettings) -> tuple[socket.socket, int]:
    """A socket whose other end is connected with the server as soon as that can be, and the relay's pid, to be waited
    for. The relay hangs up if it cannot connect. Raises OSError."""
    ours, theirs = socket.socketpair()
    program = _PROGRAM.format(path=sys.path, settings=msgspec.json.encode(settings))
    try:
        pid = os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-B", "-c", program],
            os.environ,
            file_actions=[(os.POSIX_SPAWN_DUP2, theirs.fileno(), 0)],
            setsid=True,
        )
    except BaseException:
        ours.close()
        raise
    finally:
        theirs.close()
    try:
        _await_ready(ours)
    except BaseException:
        ours.close()
        os.waitpid(pid, 0)
        raise
    return ours, pid


def _await_ready(ours: socket.socket) -> None:
    ours.settimeout(2 * _TIMEOUT)
    if not ours.recv(1):
        raise ConnectionRefusedError("no TLS connection to the log server")


def main(encoded: bytes) -> NoReturn:
    """Be the relay. Never returns."""
    settings = msgspec.json.decode(encoded, type=SyslogSettings)
    with socket.socket(fileno=0) as source, _connect(settings) as server:
        source.sendall(b"\n")  # ready
        _copy(source, server)
        server.unwrap()
    os._exit(0)


def _connect(settings: SyslogSettings) -> ssl.SSLSocket:
    import ssl

    context = ssl.create_default_context(cafile=settings.tls_ca or None)
    if settings.tls_skip_verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if settings.tls_cert:
        context.load_cert_chain(settings.tls_cert, settings.tls_key or None)
    connected = socket.create_connection((settings.address, settings.port), _TIMEOUT)
    return context.wrap_socket(connected, server_hostname=settings.address)


def _copy(source: socket.socket, server: ssl.SSLSocket) -> None:
    """Until the shim has ended. Servers have nothing to say but that they go away."""
    while True:
        readable, _, _ = select.select([source, server], [], [])
        if server in readable and _has_closed(server):
            os._exit(1)
        if source in readable:
            data = source.recv(_CHUNK)
            if not data:
                return
            server.sendall(data)


def _has_closed(server: ssl.SSLSocket) -> bool:
    import ssl

    server.settimeout(0)
    try:
        return not server.recv(_CHUNK)
    except (ssl.SSLWantReadError, ssl.SSLWantWriteError):  # session tickets and the like
        return False
    finally:
        server.settimeout(_TIMEOUT)
