"""The host, as an engine in namespaces of its own has it: its ports and its network, by way of the keeper."""

from __future__ import annotations

import os
import socket
from pathlib import Path

from knarr.kernel import mounts
from knarr.rootless.entrance import Outside
from knarr.rootless.pasta import Way


class OutsideHost:
    """For a network controller: a `knarr.network.ports.Host`."""

    is_here = False

    def __init__(self, outside: Outside) -> None:
        self._outside = outside

    def has_ipv6(self) -> bool:
        """Whether there are IPv6 addresses to bind to. Raises KnarrError, OSError."""
        answer, _ = self._outside.ask({"do": "look"})
        return bool(answer["ipv6"])

    def bind(self, protocol: str, address: str, port: int, *, listens: bool) -> socket.socket | None:
        """A socket of the host's that listens, as all that comes there is passed on; None as in `port_sockets.bind`.

        Raises OSError.
        """
        _, fds = self._outside.ask({"do": "open", "protocol": protocol, "address": address, "port": port})
        return socket.socket(fileno=fds[0]) if fds else None

    def connect(self) -> Way:
        """Have a way out to the host's network. Raises KnarrError with the reason if there is none, OSError."""
        answer, _ = self._outside.ask({"do": "connect"})
        return Way(**answer)


def use_name_servers(servers: list[str], text: str, path: Path, target: str = "/etc/resolv.conf") -> None:
    """Put these servers in the place of those in `text`, a resolv.conf, for all that lives in this mount namespace.

    `path` is where the new file is kept. Raises OSError.
    """
    rest = [line for line in text.splitlines() if not line.startswith("nameserver")]
    path.write_text("".join(f"{line}\n" for line in [*(f"nameserver {server}" for server in servers), *rest]))
    place = os.path.realpath(target)
    if not os.path.samefile(path, place):
        mounts.mount(str(path), place, None, mounts.MS_BIND)
