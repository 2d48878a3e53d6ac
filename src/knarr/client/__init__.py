"""The typed client of the Engine API. Knows nothing of the packages below it.

    from knarr.client import Client, containers

    with Client() as engine:
        made = engine.call(containers.create({"Image": "host", "Cmd": ["true"]}))
        engine.call(containers.start(made["Id"]))

What can be asked for is in the modules containers, execs, images, networks, system and volumes: each function there
describes one request and the type of its answer. `Client` carries requests out, `AsyncClient` does so with asyncio.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.client.asynchronous import AsyncClient
    from knarr.client.synchronous import Client

__all__ = ["AsyncClient", "Client"]


def __getattr__(name: str) -> object:
    """Either client, imported when it is first asked for: asyncio alone costs more than a command's whole start."""
    if name == "Client":
        from knarr.client.synchronous import Client

        return Client
    if name == "AsyncClient":
        from knarr.client.asynchronous import AsyncClient

        return AsyncClient
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
