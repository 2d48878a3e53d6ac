"""knarrd's end of the name server: who is where, written down for it, and its sockets in containers' namespaces."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from ipaddress import ip_interface
from pathlib import Path

import msgspec

from knarr.kernel.namespaces import inside_network
from knarr.kernel.nftables import Nftables
from knarr.network.directory import CONTROL, DIRECTORY, Client, Directory, Message
from knarr.network.model import Endpoint, NetworkInfo
from knarr.network.name_process import NameProcess

ADDRESS = "127.0.0.11"
"""Where containers ask."""

Who = tuple[Sequence[Endpoint], Sequence[NetworkInfo]]
"""All endpoints and all networks."""

_TABLE = "knarr-names"
_logger = logging.getLogger(__name__)


class Naming:
    """One daemon's name server; there is none before the first container needs it. Its methods block.

    Wherever it turns out to have ended, a new one is started, for all containers.
    """

    def __init__(self, run_root: Path, namespace_of: Callable[[str], int]) -> None:
        """`namespace_of` opens a running container's network namespace, and raises OSError or KnarrError."""
        self._root = run_root / "dns"
        self._namespace_of = namespace_of
        self._process = NameProcess(self._root)

    def serve(self, container_id: str, namespace: int, who: Who) -> None:
        """Answer a container, whose namespace stays the caller's. Raises OSError, KnarrError."""
        self._write(who)
        if not self._process.connect():
            self._start(who, but=container_id)
        try:
            self._send(container_id, namespace)
        except (ConnectionError, TimeoutError):
            self._start(who, but=container_id)
            self._send(container_id, namespace)

    def update(self, who: Who) -> None:
        """Tell who is where now. Raises OSError."""
        wanted = any(endpoint.names for endpoint in who[0])
        if not wanted and not (self._root / CONTROL).exists():
            return
        self._write(who)
        try:
            if self._process.connect():
                self._process.tell(Message())
                return
        except (ConnectionError, TimeoutError):
            pass
        if wanted:
            self._start(who)

    def watch(self) -> socket.socket | None:
        """A connection, the caller's, on which nothing comes but the name server's end; None if there is none."""
        try:
            return self._process.watch()
        except OSError:
            return None

    def close(self, *, keep: bool) -> None:
        """Let go; unless told to `keep` it, end the name server."""
        if keep:
            self._process.release()
        elif (self._root / CONTROL).exists():
            self._process.end()

    def _start(self, who: Who, but: str = "") -> None:
        """A new name server, for all containers that run `but` one."""
        self._process.start()
        for container_id in {endpoint.container_id for endpoint in who[0] if endpoint.names} - {but}:
            try:
                self._resume(container_id)
            except Exception as error:  # noqa: BLE001 - one that is just ending; the others are to be served
                _logger.warning("container %s cannot look up names: %s", container_id, error)

    def _resume(self, container_id: str) -> None:
        namespace = self._namespace_of(container_id)
        try:
            self._send(container_id, namespace)
        finally:
            os.close(namespace)

    def _send(self, container_id: str, namespace: int) -> None:
        datagrams, listener = inside_network(namespace, _listen)
        with datagrams, listener:
            self._process.tell(Message(container=container_id), (datagrams.fileno(), listener.fileno(), namespace))

    def _write(self, who: Who) -> None:
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        fresh = self._root / f"{DIRECTORY}.new"
        fresh.write_bytes(msgspec.json.encode(directory(*who)))
        os.replace(fresh, self._root / DIRECTORY)


def directory(endpoints: Iterable[Endpoint], networks: Iterable[NetworkInfo] = ()) -> Directory:
    """Who is where. Endpoints without names are in no network with a name server."""
    found = Directory()
    for endpoint in endpoints:
        if endpoint.names:
            _introduce(found, endpoint)
            _enter(found, endpoint)
    balancing = {network.id: network for network in networks if network.virtual and network.id in found.names}
    for network in balancing.values():
        _balance(found, network)
    for client in found.clients.values():  # where a name is balanced it is asked for first
        client.networks.sort(key=lambda id: id not in balancing)
    return found


def _introduce(found: Directory, endpoint: Endpoint) -> None:
    """Who may ask."""
    client = found.clients.setdefault(endpoint.container_id, Client())
    client.networks.append(endpoint.network_id)
    client.links.update({alias.lower(): name.lower() for alias, name in endpoint.links.items()})
    if endpoint.servers:
        client.servers, client.inside = endpoint.servers, endpoint.own_servers


def _enter(found: Directory, endpoint: Endpoint) -> None:
    """Who may be asked for."""
    names = found.names.setdefault(endpoint.network_id, {})
    own = [address.ip for address in endpoint.addresses]
    for name in dict.fromkeys(name.lower() for name in endpoint.names):
        names.setdefault(name, []).extend(own)
        names.setdefault(f"{name}.{endpoint.network_name.lower()}", []).extend(own)
    full_name = f"{endpoint.names[0]}.{endpoint.network_name}"
    found.addresses.setdefault(endpoint.network_id, {}).update(dict.fromkeys(own, full_name))
    subnets = found.subnets.setdefault(endpoint.network_id, [])
    for address in endpoint.addresses:
        if (subnet := str(ip_interface(address.cidr).network)) not in subnets:
            subnets.append(subnet)


def _balance(found: Directory, network: NetworkInfo) -> None:
    """A balanced alias is its virtual address's; who is behind it is found by tasks.ALIAS, as in Docker's services."""
    names = found.names[network.id]
    for alias, virtual in network.virtual.items():
        for name in (alias, f"{alias}.{network.name.lower()}"):
            if tasks := names.get(name):
                names[f"tasks.{name}"] = tasks
            names[name] = virtual
        found.addresses[network.id].update(dict.fromkeys(virtual, f"{alias}.{network.name}"))


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
