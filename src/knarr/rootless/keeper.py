"""The keeper: a small process outside, as the user, for what the engine cannot have or do inside its namespaces.

It makes the namespaces and holds them open, so that an engine that is started again gets into the same. Requests come
over RUN/keeper.sock, JSON in messages, answered with an object and descriptors:

    {"do": "enter"}   the user, mount and network namespace

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
from collections.abc import Callable
from pathlib import Path
from typing import Any

from knarr.errors import KnarrError
from knarr.kernel import user_namespaces
from knarr.rootless import id_maps

SOCKET = "keeper.sock"
KINDS = ("user", "mount", "network")

MESSAGE_SIZE = 1 << 16
_Answer = tuple[dict[str, Any], list[int]]


class Keeper:
    """Holds the namespaces and serves requests, one after the other."""

    def __init__(self, listener: socket.socket) -> None:
        self._listener = listener
        self._selector = selectors.DefaultSelector()
        self._namespaces: list[int] = []
        self._note = ""
        self._requests: dict[str, Callable[[dict[str, Any]], _Answer]] = {"enter": self._enter}

    def run(self) -> None:
        """Serve until the last connection has ended. Raises OSError."""
        self._selector.register(self._listener, selectors.EVENT_READ)
        self._accept()
        while len(self._selector.get_map()) > 1:
            for key, _ in self._selector.select():
                if key.fileobj is self._listener:
                    self._accept()
                else:
                    assert isinstance(key.fileobj, socket.socket)
                    self._serve(key.fileobj)

    def _accept(self) -> None:
        connection, _ = self._listener.accept()
        self._selector.register(connection, selectors.EVENT_READ)

    def _serve(self, connection: socket.socket) -> None:
        try:
            message = connection.recv(MESSAGE_SIZE)
            if message:
                answer, fds = self._answer(json.loads(message))
                socket.send_fds(connection, [json.dumps(answer).encode()], fds)
                return
        except OSError:  # it is gone
            pass
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
            self._namespaces = user_namespaces.make_mapped(maps.write, KINDS)
            self._note = maps.note
        return {"note": self._note}, self._namespaces


def main() -> None:
    """Serve on the listening socket whose descriptor is the argument."""
    os.umask(0o077)
    path = Path(sys.argv[1])
    with socket.socket(fileno=int(sys.argv[2])) as listener:
        listener.set_inheritable(False)
        Keeper(listener).run()
        path.unlink(missing_ok=True)


if __name__ == "__main__":
    main()
