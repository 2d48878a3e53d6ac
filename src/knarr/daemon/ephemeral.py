"""The private engine of a program: all that it has lies below one directory, and it ends when the program does.

The program holds the other end of the engine's standard input. When that is closed, be it because the program has been
killed, the engine kills its containers, and its last act is to remove the directory.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from knarr.errors import InvalidParameter

if TYPE_CHECKING:
    import asyncio

SOCKET = "knarr.sock"
_STDIN = 0


def settings(directory: str, flags: dict[str, Any]) -> dict[str, Any]:
    """`flags` with those that a private engine in `directory` has. Raises InvalidParameter where they contradict it."""
    own = {
        "data-root": f"{directory}/data",
        "exec-root": f"{directory}/run",
        "hosts": [f"unix://{directory}/{SOCKET}"],
        "live-restore": False,
        "shutdown-timeout": 0,
    }
    for name in own:
        if name in flags:
            raise InvalidParameter(f"--ephemeral sets {name}: it cannot be given as well")
    return flags | own


def watch(loop: asyncio.AbstractEventLoop, end: Callable[[], None]) -> None:
    """Call `end` when standard input is at its end. What comes there is read and forgotten."""

    def read() -> None:
        if not os.read(_STDIN, 4096):
            loop.remove_reader(_STDIN)
            end()

    loop.add_reader(_STDIN, read)


def remove(directory: str) -> None:
    """Remove the directory, unless something is still mounted there. Raises OSError."""
    from knarr.storage import trees  # --help needs no more than the configuration

    parent, name = os.path.split(directory)
    with trees.opened(parent) as fd:
        trees.remove_tree(fd, name)
