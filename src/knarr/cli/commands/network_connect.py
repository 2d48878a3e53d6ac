"""knarr network connect"""

from __future__ import annotations

from knarr.cli.command import Command, Invocation
from knarr.cli.flags import text, words
from knarr.client import networks

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_FLAGS = (
    words("alias", "Further name of the container in the network"),
    text("ip", "Address in the network"),
    words("link", "Container to be reached by an alias, NAME:ALIAS"),
)


def _run(invocation: Invocation) -> int:
    options = invocation.options
    network, container = invocation.arguments
    settings: dict[str, Any] = {"Aliases": options.words("alias"), "Links": options.words("link")}
    if address := options.text("ip"):
        settings["IPAMConfig"] = {"IPv4Address": address}
    invocation.session.engine.call(networks.connect(network, container, settings))
    return 0


COMMAND = Command(
    "[OPTIONS] NETWORK CONTAINER",
    _run,
    flags=_FLAGS,
    arguments=(2, 2),
    examples=[("", "network connect --alias db backend postgres")],
)
