"""The keeper: a small process outside, as the user, for what the engine cannot have or do inside its namespaces.

It makes the namespaces and holds them open, so that an engine that is started again gets into the same. Requests come
over RUN/keeper.sock, JSON in messages, answered with an object and descriptors:

    {"do": "enter"}     the user, mount and network namespace
    {"do": "connect"}   a way out of the network namespace, if need be; answered as `pasta.Way`
    {"do": "look"}      "ipv6": whether the host has IPv6 addresses
    {"do": "open"}      with "protocol", "address", "port": a socket bound to that port of the host, listening

It ends with its last connection. Every process that lives in the namespaces has one (knarrd, the zygote and so every
shim): as long as a container runs, there is a keeper. An engine may be newer than its keeper: requests are added,
never changed.
"""

from __future__ import annotations

import json
import os
import selectors
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import Any

from knarr.errors import KnarrError
from knarr.kernel import namespaces, port_sockets, processes, user_namespaces
from knarr.rootless import id_maps
from knarr.rootless.pasta import Pasta

SOCKET = "keeper.sock"
KINDS = ("user", "mount", "network")

MESSAGE_SIZE = 1 << 16
_SHORT_LIFE = 5.0  # seconds
_Answer = tuple[dict[str, Any], list[int]]
"""An object, and descriptors, which are given away."""


class Keeper:
    """Holds the namespaces and serves requests, one after the other."""

    def __init__(self, listener: socket.socket, directory: Path) -> None:
        self._listener = listener
        self._directory = directory
        self._selector = selectors.DefaultSelector()
        self._connections = 0
        self._namespaces: list[int] = []
        self._note = ""
        self._pasta: Pasta | None = None
        self._requests: dict[str, Callable[[dict[str, Any]], _Answer]] = {
            "enter": self._enter,
            "connect": self._connect,
            "look": lambda _: ({"ipv6": port_sockets.has_ipv6()}, []),
            "open": self._open,
        }

    def run(self) -> None:
        """Serve until the last connection has ended. Raises OSError."""
        self._selector.register(self._listener, selectors.EVENT_READ, self._accept)
        self._accept()
        try:
            while self._connections:
                for key, _ in self._selector.select():
                    key.data()
        finally:
            if self._pasta is not None:
                self._pasta.end()

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._connections += 1
        self._selector.register(connection, selectors.EVENT_READ, partial(self._serve, connection))

    def _serve(self, connection: socket.socket) -> None:
        try:
            message = connection.recv(MESSAGE_SIZE)
            if message:
                answer, fds = self._answer(json.loads(message))
                try:
                    socket.send_fds(connection, [json.dumps(answer).encode()], fds)
                finally:
                    for fd in fds:
                        os.close(fd)
                return
        except OSError:  # it is gone
            pass
        self._connections -= 1
        self._selector.unregister(connection)
        connection.close()

    def _answer(self, request: dict[str, Any]) -> _Answer:
        try:
            return self._requests[request["do"]](request)
        except KeyError:
            return {"error": "the keeper of this engine's namespaces is of another version"}, []
        except KnarrError as error:
            return {"error": str(error)}, []
        except OSError as error:
            return {"error": error.strerror or str(error), "errno": error.errno}, []

    def _enter(self, _: dict[str, Any]) -> _Answer:
        if not self._namespaces:
            maps = id_maps.of_user()
            self._namespaces = self._left() or user_namespaces.make_mapped(maps.write, KINDS)
            self._note = maps.note
        return {"note": self._note}, [os.dup(fd) for fd in self._namespaces]

    def _left(self) -> list[int]:
        """The namespaces of containers that run, if the keeper before this one was killed."""
        for path in self._directory.glob("containers/*/state.json"):
            with suppress(OSError, ValueError, KeyError):  # it may end meanwhile
                shim = json.loads(path.read_bytes())["shim_pid"]
                if path.parent.name.encode() in Path(f"/proc/{shim}/cmdline").read_bytes():
                    return user_namespaces.of_process(shim, KINDS)
        return []

    def _connect(self, _: dict[str, Any]) -> _Answer:
        if self._pasta is None:
            with self._inhabited() as directory:
                self._pasta = Pasta(directory, self._directory)
            self._selector.register(self._pasta.pidfd, selectors.EVENT_READ, partial(self._restart, self._pasta))
        return self._pasta.way._asdict(), []

    def _restart(self, ended: Pasta) -> None:
        """Another pasta, unless the last one did not last."""
        self._selector.unregister(ended.pidfd)
        ended.end()
        self._pasta = None
        if time.monotonic() - ended.since > _SHORT_LIFE:
            self._answer({"do": "connect"})

    @contextmanager
    def _inhabited(self) -> Iterator[str]:
        """The /proc/PID/ns of a process in the namespaces: others get at them by its files, not at our descriptors."""
        ready_reader, ready_writer = os.pipe2(os.O_CLOEXEC)
        stay_reader, stay_writer = os.pipe2(os.O_CLOEXEC)
        child = os.fork()
        if child == 0:
            try:
                os.close(stay_writer)
                for kind in ("user", "network"):
                    namespaces.setns(self._namespaces[KINDS.index(kind)])
                processes.prctl(processes.PR_SET_DUMPABLE, 1)
                os.write(ready_writer, b"r")
                os.read(stay_reader, 1)
            finally:
                os._exit(0)
        os.close(ready_writer)
        os.close(stay_reader)
        try:
            os.read(ready_reader, 1)
            yield f"/proc/{child}/ns"
        finally:
            os.close(ready_reader)
            os.close(stay_writer)
            os.waitpid(child, 0)

    def _open(self, request: dict[str, Any]) -> _Answer:
        opened = port_sockets.bind(request["protocol"], request["address"], request["port"], listens=True)
        return {}, [opened.detach()] if opened else []


def main() -> None:
    """Serve on the listening socket whose descriptor is the argument."""
    os.umask(0o077)
    path = Path(sys.argv[1])
    with socket.socket(fileno=int(sys.argv[2])) as listener:
        listener.set_inheritable(False)
        Keeper(listener, path.parent).run()
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
