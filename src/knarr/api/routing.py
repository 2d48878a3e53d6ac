"""From a method and a path to the function that serves it: a table, searched by the path's first part."""

from __future__ import annotations

import re
from collections.abc import Iterable
from urllib.parse import unquote

from msgspec import Struct

from knarr.api import versions
from knarr.api.messages import Handler, Request
from knarr.errors import NotFound

_SLASHES = re.compile("//+")
_VARIABLE = re.compile(r"\{(\w+)(\*?)\}")


class Route(Struct, frozen=True):
    """`pattern` is a path with `{name}` for one part of it and `{name*}` for one or more."""

    method: str
    pattern: str
    handler: Handler


class Router:
    """Routes are tried in their order; a path without variables goes before all others."""

    def __init__(self, routes: Iterable[Route]) -> None:
        self._fixed: dict[tuple[str, str], Handler] = {}
        self._patterns: dict[tuple[str, str], list[tuple[re.Pattern[str], Handler]]] = {}
        for route in routes:
            self._add(route)

    def _add(self, route: Route) -> None:
        if "{" not in route.pattern:
            self._fixed.setdefault((route.method, route.pattern), route.handler)
            return
        first = route.pattern.split("/")[1]
        expression = _VARIABLE.sub(lambda match: f"(?P<{match[1]}>{'.+' if match[2] else '[^/]+'})", route.pattern)
        compiled = re.compile(rf"{expression}\Z", re.DOTALL)
        self._patterns.setdefault((route.method, first), []).append((compiled, route.handler))

    def route(self, request: Request) -> Handler:
        """The handler for a request, whose version and names are filled in.

        Raises NotFound for an unknown path and, like dockerd, for a method that the path does not have, and
        InvalidParameter for a version that is not served.
        """
        version, path = versions.split(request.path)
        path = unquote(path)
        if "//" in path:
            path = _SLASHES.sub("/", path)
        handler = self._fixed.get((request.method, path)) or self._match(request, path)
        request.version = versions.parse(version)
        return handler

    def _match(self, request: Request, path: str) -> Handler:
        first = path.partition("/")[2].partition("/")[0]
        for pattern, handler in self._patterns.get((request.method, first), ()):
            match = pattern.match(path)
            if match is not None:
                request.names = match.groupdict()
                return handler
        raise NotFound("page not found")
