"""knarr inspect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.cli.inspection import FORMAT_FLAG, inspect
from knarr.client import containers, images, networks, volumes
from knarr.client.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

_FLAGS = (
    FORMAT_FLAG,
    switch("s size", "Show the sizes of containers' files"),
    text("type", "Kind of object: container, image, network or volume"),
)


def _run(invocation: Invocation) -> int:
    options, engine = invocation.options, invocation.session.engine
    kind, size = options.text("type"), options.on("size")
    finders: dict[str, Callable[[str], Any]] = {
        "container": lambda name: engine.call(containers.inspect(name, size=size)),
        "image": lambda name: engine.call(images.inspect(name)),
        "network": lambda name: engine.call(networks.inspect(name)),
        "volume": lambda name: engine.call(volumes.inspect(name)),
    }
    if kind and kind not in finders:
        allowed = ", ".join(f'"{name}"' for name in finders)
        raise CommandError(f'unknown type: "{kind}": must be one of {allowed}')

    def find(name: str) -> Any:
        for finder in [finders[kind]] if kind else finders.values():
            try:
                return finder(name)
            except NotFound:
                if kind:
                    raise
        raise CommandError(f"Error: No such object: {name}")

    return inspect(invocation.arguments, find, options.text("format"))


COMMAND = Command(
    "[OPTIONS] NAME|ID [NAME|ID...]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    examples=[("A container's address", "inspect -f '{{.NetworkSettings.IPAddress}}' web")],
)
