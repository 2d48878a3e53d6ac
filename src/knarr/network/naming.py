"""knarrd's end of the name server: who is where, written down for it, and its sockets in containers' namespaces."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Iterable
from pathlib import Path

import msgspec

from knarr.kernel.nftables import Nftables
from knarr.network.directory import CONTROL, DIRECTORY, Client, Directory, Message
from knarr.network.model import Endpoint
from knarr.network.sandbox import inside

ADDRESS = "127.0.0.11"
"""Where containers ask."""

_TABLE = "knarr-names"
_PATIENCE = 10.0  # seconds for the name server to start and to answer


class Naming:
    """One daemon's name server; there is none before the first container needs it. Its methods block."""

    def __init__(self, run_root: Path) -> None:
        self._root = run_root / "dns"
        self._connection: socket.socket | None = None

    def serve(self, container_id: str, namespace: int, endpoints: Iterable[Endpoint]) -> None:
        """Answer a container, whose namespace stays the caller's. Raises OSError, KnarrError."""
        self._write(endpoints)
        sockets = inside(namespace, _listen)
        try:
            self._send(Message(container=container_id), [sock.fileno() for sock in sockets])
        finally:
            for sock in sockets:
                sock.close()

    def update(self, endpoints: Iterable[Endpoint]) -> None:
        """Tell who is where now, if there is a name server. Raises OSError."""
        if self._connection is None and not (self._root / CONTROL).exists():
            return
        self._write(endpoints)
        self._send(Message(), [])

    def close(self, *, keep: bool) -> None:
        """Let go; unless told to `keep` it, end the name server."""
        if not keep and (self._root / CONTROL).exists():
            self._write(())
            self._send(Message(quit=True), [])
            (self._root / CONTROL).unlink()
        if self._connection is not None:
            self._connection.close()
            self._connection = None

    def _send(self, message: Message, fds: list[int]) -> None:
        data = msgspec.json.encode(message)
        if self._connection is not None:
            try:
                _tell(self._connection, data, fds)
                return
            except OSError:  # it has ended: there will be another one
                self._connection.close()
        self._connection = self._connect()
        _tell(self._connection, data, fds)

    def _connect(self) -> socket.socket:
        try:
            return self._open()
        except (FileNotFoundError, ConnectionRefusedError):
            self._start()
            return self._open()

    def _open(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC)
        connection.settimeout(_PATIENCE)
        try:
            connection.connect(str(self._root / CONTROL))
        except OSError:
            connection.close()
            raise
        return connection

    def _start(self) -> None:
        (self._root / CONTROL).unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET | socket.SOCK_CLOEXEC) as control:
            control.bind(str(self._root / CONTROL))
            control.listen()
            subprocess.Popen(
                [sys.executable, "-m", "knarr.network.resolver", str(self._root), str(control.fileno())],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
                pass_fds=[control.fileno()],
                cwd="/",
            )

    def _write(self, endpoints: Iterable[Endpoint]) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._root / f"{DIRECTORY}.new"
        fresh.write_bytes(msgspec.json.encode(directory(endpoints)))
        os.replace(fresh, self._root / DIRECTORY)


def _tell(connection: socket.socket, data: bytes, fds: list[int]) -> None:
    """Returns when the name server knows. Raises OSError."""
    socket.send_fds(connection, [data], fds)
    if not connection.recv(1):
        raise ConnectionResetError("the name server has ended")


def directory(endpoints: Iterable[Endpoint]) -> Directory:
    """Who is where. Endpoints without names are in no network with a name server."""
    found = Directory()
    for endpoint in endpoints:
        if not endpoint.names:
            continue
        client = found.clients.setdefault(endpoint.container_id, Client())
        client.networks.append(endpoint.network_id)
        client.links.update({alias.lower(): name.lower() for alias, name in endpoint.links.items()})
        client.servers = endpoint.servers or client.servers
        names = found.names.setdefault(endpoint.network_id, {})
        own = [address.ip for address in endpoint.addresses]
        for name in dict.fromkeys(name.lower() for name in endpoint.names):
            names.setdefault(name, []).extend(own)
            names.setdefault(f"{name}.{endpoint.network_name.lower()}", []).extend(own)
        full_name = f"{endpoint.names[0]}.{endpoint.network_name}"
        found.addresses.setdefault(endpoint.network_id, {}).update(dict.fromkeys(own, full_name))
    return found


def _listen() -> tuple[socket.socket, socket.socket]:
    """In a container's namespace: sockets that port 53 of the address leads to, and leaves free for the container."""
    datagrams = socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC)
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    try:
        datagrams.bind((ADDRESS, 0))
        listener.bind((ADDRESS, 0))
        listener.listen()
        _redirect(datagrams.getsockname()[1], listener.getsockname()[1])
    except BaseException:
        datagrams.close()
        listener.close()
        raise
    return datagrams, listener


def _redirect(udp: int, tcp: int) -> None:
    nftables = Nftables()
    try:
        nftables.run(f"""
table ip {_TABLE}
delete table ip {_TABLE}
table ip {_TABLE} {{
    chain out {{
        type nat hook output priority -100; policy accept;
        ip daddr {ADDRESS} udp dport 53 dnat to {ADDRESS}:{udp}
        ip daddr {ADDRESS} tcp dport 53 dnat to {ADDRESS}:{tcp}
    }}
}}
""")
    finally:
        nftables.close()
