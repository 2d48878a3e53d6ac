"""The relay's process as knarrd sees it: found or started, told what to pass on, and started anew when it dies."""

from __future__ import annotations

import asyncio
import logging
import socket
import subprocess
from collections import deque
from collections.abc import Awaitable, Callable, Collection, Iterable, Mapping, Sequence
from pathlib import Path

import msgspec

from knarr.errors import KnarrError
from knarr.kernel import companions
from knarr.network import relay_process
from knarr.network.model import BoundPort, IPNetwork
from knarr.network.relay_process import CONTROL, MESSAGE_SIZE, MOST_DESCRIPTORS, Message, send

_logger = logging.getLogger(__name__)
_PATIENCE = 10.0  # seconds for it to answer
_SHORT_LIFE = 5.0  # seconds: one that dies sooner is not started again before there is something new to pass on


class RelayService:
    """Has the methods of `Relays`; what they ask for is done a moment later, by the process."""

    def __init__(self, run_root: Path, open_all: Callable[[], Awaitable[None]]) -> None:
        """`open_all` opens all relays there should be, when the process has died."""
        self._path = run_root / CONTROL
        self._open_all = open_all
        self._connection: socket.socket | None = None
        self._process: subprocess.Popen[bytes] | None = None
        self._awaited: deque[asyncio.Future[None]] = deque()  # by `settled`, in the order of the answers
        self._since = 0.0
        self._revival: asyncio.Task[None] | None = None

    async def begin(self, endpoint_ids: Collection[str]) -> dict[BoundPort, socket.socket]:
        """See Relays. What is open for others is closed."""
        connection = companions.find(self._path, _PATIENCE)
        if connection is None:
            return {}
        found = await asyncio.to_thread(_list, connection)
        if found is None:
            await asyncio.to_thread(_end, connection)
            return {}
        self._use(connection)
        for endpoint in found.keys() - set(endpoint_ids):
            self.close(endpoint)
            for listener in found.pop(endpoint).values():
                listener.close()
        return {port: listener for listeners in found.values() for port, listener in listeners.items()}

    async def open(
        self,
        endpoint_id: str,
        address: str,
        listeners: Mapping[BoundPort, socket.socket],
        near: Sequence[IPNetwork] = (),
    ) -> None:
        """See Relays. Raises OSError."""
        ports = list(listeners)
        for start in range(0, len(ports), MOST_DESCRIPTORS):
            some = ports[start : start + MOST_DESCRIPTORS]
            message = Message("open", endpoint_id, address, some, [str(network) for network in near])
            send(self._connection or self._start(), message, [listeners[port] for port in some])

    def retire(self, endpoint_id: str, ports: Iterable[BoundPort]) -> None:
        """See Relays."""
        self._tell(Message("retire", endpoint_id, ports=list(ports)))

    def close(self, endpoint_id: str) -> None:
        """See Relays."""
        self._tell(Message("close", endpoint_id))

    async def settled(self) -> None:
        """See Relays."""
        if self._connection is None:
            return
        answered = asyncio.get_running_loop().create_future()
        self._awaited.append(answered)
        self._tell(Message("settle"))
        await answered

    def close_all(self) -> None:
        """See Relays; the process ends."""
        if (connection := self._connection) is not None:
            self._forget()
            _end(connection)
        if self._process is not None:
            self._process.poll()

    def leave(self) -> None:
        """Let it go on by itself."""
        if (connection := self._connection) is not None:
            self._forget()
            connection.close()

    def _forget(self) -> None:
        """The connection is for somebody else to close."""
        assert self._connection is not None
        asyncio.get_running_loop().remove_reader(self._connection)
        self._connection = None
        while self._awaited:
            self._answered()

    def _answered(self) -> None:
        answered = self._awaited.popleft()
        if not answered.done():  # or else nobody waits any more
            answered.set_result(None)

    def _tell(self, message: Message) -> None:
        if self._connection is not None:
            try:
                send(self._connection, message)
            except OSError:  # it has died, and all that it had open with it
                pass

    def _start(self) -> socket.socket:
        """Raises OSError."""
        self._path.unlink(missing_ok=True)
        self._process, connection = companions.start(
            "knarr.network.relay_process", self._path, self._path, patience=_PATIENCE
        )
        self._use(connection)
        return connection

    def _use(self, connection: socket.socket) -> None:
        self._connection = connection
        loop = asyncio.get_running_loop()
        self._since = loop.time()
        loop.add_reader(connection, self._hear, connection)

    def _hear(self, connection: socket.socket) -> None:
        try:
            said = connection.recv(MESSAGE_SIZE, socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        except OSError:
            said = b""
        if said:
            self._answered()
        else:
            self._died()

    def _died(self) -> None:
        self.leave()
        if self._process is not None:
            self._process.poll()
        _logger.warning("the relay of published ports has died")
        if asyncio.get_running_loop().time() - self._since > _SHORT_LIFE:
            self._revival = asyncio.create_task(self._revive())

    async def _revive(self) -> None:
        try:
            await self._open_all()
        except (KnarrError, OSError) as error:
            _logger.warning("the relay of published ports: %s", error)


def _end(connection: socket.socket) -> None:
    """End the process, and wait for that: its ports are free then."""
    try:
        send(connection, Message("quit"))
        connection.recv(MESSAGE_SIZE)
    except OSError:  # it has ended by itself
        pass
    connection.close()


def _list(connection: socket.socket) -> dict[str, dict[BoundPort, socket.socket]] | None:
    """What it has open, by endpoint: copies of the listening sockets. None from one in another network, which an engine
    of before has left. Raises OSError."""
    send(connection, Message("list"))
    found: dict[str, dict[BoundPort, socket.socket]] = {}
    while True:
        data, fds, _, _ = socket.recv_fds(connection, MESSAGE_SIZE, MOST_DESCRIPTORS)
        if not data:
            raise ConnectionResetError("the relay has ended")
        message = msgspec.json.decode(data, type=Message)
        if not message.ports:
            return found if message.network == relay_process.network() else None
        listeners = zip(message.ports, [socket.socket(fileno=fd) for fd in fds], strict=True)
        found.setdefault(message.endpoint, {}).update(listeners)
