"""Engines on other machines, reached through ssh(1): it runs `dial-stdio` there, and its streams are the connection."""

from __future__ import annotations

import _socket
import os

from knarr.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from _socket import socket as Socket
    from typing import Any

# Whichever of the two is there. All shells take a word in single quotes for one argument.
_REMOTE = "sh -c 'command -v knarr >/dev/null && exec knarr system dial-stdio; exec docker system dial-stdio'"


class Ssh:
    """A machine: `arguments` are those of ssh that lead to it, `text` is what the user wrote."""

    __slots__ = ("arguments", "text")

    def __init__(self, text: str, arguments: list[str]) -> None:
        self.text = text
        self.arguments = arguments

    def connect(self) -> Socket:
        """A stream socket whose other end ssh has. Raises OSError when it cannot be started.

        What ssh has to say it says on standard error. It is a child of this process and ends with the connection.
        """
        ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM)
        try:
            actions: list[tuple[Any, ...]] = [
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 0),
                (os.POSIX_SPAWN_DUP2, theirs.fileno(), 1),
            ]
            os.posix_spawnp("ssh", ["ssh", *self.arguments, _REMOTE], os.environ, file_actions=actions)
        except BaseException:
            ours.close()
            raise
        finally:
            theirs.close()
        return ours


def parse(text: str) -> Ssh:
    """`ssh://[USER@]HOST[:PORT]`. Raises InvalidParameter, as for a password, which ssh would not take."""
    place, _, path = text.removeprefix("ssh://").partition("/")
    user, at, host = place.rpartition("@")
    name, colon, port = host.rpartition(":")
    if host.endswith("]") or not colon:
        name, port = host, ""
    if not name or name.startswith("-") or user.startswith("-") or (port and not port.isdigit()) or path:
        raise InvalidParameter(f"unable to parse docker host `{text}`")
    if ":" in user:
        raise InvalidParameter("invalid SSH URL: plain-text password is not supported")
    arguments = ["-o", "ConnectTimeout=30", "-T"]
    arguments += ["-l", user] if at and user else []
    arguments += ["-p", port] if port else []
    return Ssh(text, [*arguments, "--", name.strip("[]")])
