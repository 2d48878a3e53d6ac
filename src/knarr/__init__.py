"""knarr, a container engine that is a Python package.

import knarr

with knarr.Engine() as engine:
    print(engine.run("host", ["python3", "-c", "print('hello')"]).stdout)
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.embedding.asynchronous import AsyncEngine
    from knarr.embedding.synchronous import Engine

__version__ = "0.1.0"
__all__ = ["AsyncEngine", "Engine"]


def __getattr__(name: str) -> object:
    """Either engine, imported when it is first asked for: all of knarr's programs import this package."""
    if name == "Engine":
        from knarr.embedding.synchronous import Engine

        return Engine
    if name == "AsyncEngine":
        from knarr.embedding.asynchronous import AsyncEngine

        return AsyncEngine
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
