"""One place where a registry's API is reached."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

HUB_HOST = "registry-1.docker.io"

PULL, RESOLVE, PUSH = "pull", "resolve", "push"
ALL = frozenset({PULL, RESOLVE, PUSH})


class Endpoint(Struct, frozen=True, kw_only=True):
    """One address of a registry's API. `url` ends before the API's paths (`…/v2`) and has no slash at its end.

    `authorities` are certificates of CAs besides the system's, `client` a certificate and its key, `headers` go with
    every request; making a connection may take `dial_seconds`, None for as long as usual. A mirror gets no credentials;
    `namespace` is the registry that it is asked for, if it should know.
    """

    url: str
    verify: bool = True
    authorities: tuple[Path, ...] = ()
    client: tuple[Path, Path | None] | None = None
    mirror: bool = False
    namespace: str = ""
    capabilities: frozenset[str] = ALL
    headers: tuple[tuple[str, str], ...] = ()
    dial_seconds: float | None = None
