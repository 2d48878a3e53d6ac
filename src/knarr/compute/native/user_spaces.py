"""User namespaces for knarrd, which has threads and so cannot make any: a child of the zygote does.

One request a connection: `Wanted`, answered with the descriptors in one message, or with an error text.
"""

from __future__ import annotations

import os
import signal
import socket
from typing import NoReturn

import msgspec

from knarr.compute.native import frames
from knarr.errors import KnarrError
from knarr.kernel import processes, user_namespaces


class Wanted(msgspec.Struct):
    """The maps, as in /proc/PID/uid_map, and whether a network namespace is to belong to it."""

    uid_map: str
    gid_map: str
    network: bool


_encode = msgspec.msgpack.Encoder().encode
_decode = msgspec.msgpack.Decoder(Wanted).decode


def main(connection: socket.socket) -> NoReturn:
    """Serve the request and end."""
    try:
        processes.default_signal(signal.SIGCHLD)
        body, _ = frames.receive(connection)
        wanted = _decode(body)
        try:
            fds = user_namespaces.make(wanted.uid_map, wanted.gid_map, network=wanted.network)
            frames.send(connection, b"", fds)
        except OSError as error:
            frames.send(connection, (error.strerror or "").encode())
    finally:
        os._exit(0)


def ask(connection: socket.socket, wanted: Wanted) -> list[int]:
    """The descriptors, the caller's. Takes the connection. Blocks for some milliseconds. Raises KnarrError."""
    with connection:
        try:
            frames.send(connection, _encode(wanted))
            text, fds = frames.receive(connection)
        except (EOFError, OSError) as error:
            raise KnarrError(f"failed to make a user namespace: {error}") from error
    if not fds:
        raise KnarrError(f"failed to make a user namespace: {text.decode().lower()}")
    return fds
