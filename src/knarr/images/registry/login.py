"""Trying credentials."""

from __future__ import annotations

from knarr.errors import KnarrError, Unauthorized
from knarr.images.cancellation import Cancellation
from knarr.images.references import DEFAULT_DOMAIN, LEGACY_DOMAIN
from knarr.images.registry import lookup
from knarr.images.registry.credentials import HUB_KEY, Credentials
from knarr.images.registry.failures import DENIED, UNAUTHORIZED, Refused, Unreachable
from knarr.images.registry.host import Host
from knarr.images.registry.transport import Transport


def log_in(transport: Transport, credentials: Credentials, cancellation: Cancellation) -> str:
    """Try them on the registry of their server address; the identity token that it gives, or "".

    Raises Unauthorized, Refused, Unreachable, InvalidParameter (certs.d).
    """
    last: KnarrError | None = None
    for endpoint in lookup.find(domain_of(credentials.server_address), transport.settings):
        if endpoint.mirror:
            continue
        host = Host(transport, endpoint, credentials)
        try:
            host.ping(cancellation)
        except Unreachable as error:
            last = error
            continue
        try:
            return host.log_in(cancellation)
        except Refused as error:
            if error.code in (UNAUTHORIZED, DENIED) or error.status in (401, 403):
                raise Unauthorized(f'Get "{endpoint.url}/": {error}') from error
            raise
    raise last or Unreachable(f"no host of {credentials.server_address} can be logged in to")


def domain_of(address: str) -> str:
    """The registry that a server address means: clients write it as a host or as an address."""
    if address in ("", HUB_KEY):
        return DEFAULT_DOMAIN
    host = address.partition("://")[2] if "://" in address else address
    host = host.partition("/")[0]
    return DEFAULT_DOMAIN if host in (LEGACY_DOMAIN, DEFAULT_DOMAIN) else host
