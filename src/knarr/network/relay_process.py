"""The relay: a process of its own for published ports of a host that is elsewhere, which goes on while knarrd restarts.

knarrd sends listening sockets, and to whom what comes there is passed on, over a socket of its own; one that is started
again gets copies of the sockets back. Messages may gain fields; what they mean does not change: the relay may be older
than knarrd.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
from collections.abc import Coroutine
from ipaddress import ip_network
from pathlib import Path
from typing import Any, Literal

import msgspec
from msgspec import Struct

from knarr.errors import KnarrError
from knarr.kernel import companions, user_namespaces
from knarr.network import transparency
from knarr.network.model import BoundPort
from knarr.network.relay import Assume, Relays

CONTROL = "relay.sock"
MESSAGE_SIZE = 1 << 16
MOST_DESCRIPTORS = 128
"""In one message; the kernel takes 253."""


class Message(Struct, omit_defaults=True):
    """`open`: pass `ports`, whose sockets come with it in their order, on to `address` (for `near` see
    `relay.Target`); `retire` and `close` as in
    `Relays`; `list`: answer with what is open, in several messages with their sockets, the last one without ports,
    and with the inode number of the relay's `network` namespace; `settle`: say so when all before it is done."""

    do: Literal["open", "retire", "close", "list", "settle", "quit"]
    endpoint: str = ""
    address: str = ""
    ports: list[BoundPort] = []
    near: list[str] = []
    network: int = 0


class Relay:
    """Serves knarrd, one after the other, and everybody at the ports."""

    def __init__(self, control: socket.socket) -> None:
        self._control = control
        self._loop = asyncio.get_running_loop()
        self._relays = Relays(_transparency())
        self._listeners: dict[str, dict[BoundPort, socket.socket]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.done = asyncio.Event()
        self._loop.add_reader(control, self._accept)

    def _accept(self) -> None:
        connection, _ = self._control.accept()
        connection.setblocking(False)
        self._begin(self._serve(connection))

    def _begin(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A mistake of ours should be seen: knarrd starts another relay."""
        self._tasks.discard(task)
        if not task.cancelled() and task.exception() is not None:
            task.print_stack(file=sys.stderr)
            self.done.set()

    async def _serve(self, connection: socket.socket) -> None:
        """What comes is done in its order."""
        readable = asyncio.Event()
        self._loop.add_reader(connection, readable.set)
        try:
            while True:
                await readable.wait()
                readable.clear()
                try:
                    data, fds, _, _ = socket.recv_fds(connection, MESSAGE_SIZE, MOST_DESCRIPTORS)
                except BlockingIOError:  # the loop has told twice
                    continue
                if not data:
                    return
                await self._carry_out(msgspec.json.decode(data, type=Message), fds, connection)
        except OSError:
            pass
        finally:
            self._loop.remove_reader(connection)
            connection.close()

    async def _carry_out(self, message: Message, fds: list[int], connection: socket.socket) -> None:
        match message.do:
            case "open":
                await self._open(message, [socket.socket(fileno=fd) for fd in fds])
            case "retire":
                self._relays.retire(message.endpoint, message.ports)
                known = self._listeners.get(message.endpoint, {})
                for port in known.keys() & message.ports:
                    known.pop(port).close()
            case "close":
                self._relays.close(message.endpoint)
                for listener in self._listeners.pop(message.endpoint, {}).values():
                    listener.close()
            case "list":
                self._list(connection)
            case "settle":
                send(connection, message)
            case "quit":
                self._relays.close_all()
                for listeners in self._listeners.values():
                    for listener in listeners.values():
                        listener.close()
                self.done.set()

    async def _open(self, message: Message, listeners: list[socket.socket]) -> None:
        known = self._listeners.setdefault(message.endpoint, {})
        for port, listener in zip(message.ports, listeners, strict=True):
            if port in known:
                listener.close()
            else:
                known[port] = listener
        near = [ip_network(text) for text in message.near]
        await self._relays.open(message.endpoint, message.address, {port: known[port] for port in message.ports}, near)

    def _list(self, connection: socket.socket) -> None:
        """It waits for who asked, who does nothing else meanwhile."""
        connection.setblocking(True)
        for endpoint, listeners in self._listeners.items():
            ports = list(listeners)
            for start in range(0, len(ports), MOST_DESCRIPTORS):
                some = ports[start : start + MOST_DESCRIPTORS]
                send(connection, Message("list", endpoint, ports=some), [listeners[port] for port in some])
        send(connection, Message("list", network=network()))
        connection.setblocking(False)


def _transparency() -> Assume | None:
    """None where the network namespace is not ours to change: then containers see the gateway's address."""
    if not user_namespaces.inside():
        return None
    try:
        transparency.set_up()
    except (KnarrError, OSError):
        return None
    return transparency.assume


def network() -> int:
    """Which network namespace this process is in."""
    return os.stat("/proc/self/ns/net").st_ino


def send(connection: socket.socket, message: Message, sockets: list[socket.socket] | None = None) -> None:
    """Send a message with copies of some sockets. Raises OSError."""
    socket.send_fds(connection, [msgspec.json.encode(message)], [each.fileno() for each in sockets or ()])


async def _main(control: socket.socket) -> None:
    await Relay(control).done.wait()


def main() -> None:
    """`python -m knarr.network.relay_process PATH FD`: FD is the listening socket at PATH."""
    control = companions.serve()
    try:
        asyncio.run(_main(control))
    finally:
        Path(sys.argv[1]).unlink(missing_ok=True)


if __name__ == "__main__":
    main()
