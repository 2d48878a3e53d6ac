"""Networks."""

from __future__ import annotations

from knarr.client.calls import call, document, nothing
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.calls import Call
    from knarr.client.types import Network

    Filters = dict[str, list[str]]


def list_all(*, filters: Filters | None = None) -> Call[list[Network]]:
    return call("GET", "/networks", document, query={"filters": encode_filters(filters)})


def inspect(reference: str, *, verbose: bool = False) -> Call[Network]:
    return call("GET", f"/networks/{quote(reference)}", document, query={"verbose": verbose})


def create(body: dict[str, Any]) -> Call[dict[str, Any]]:
    """`body` is the Engine API's NetworkCreateRequest."""
    return call("POST", "/networks/create", document, body=body)


def remove(reference: str) -> Call[None]:
    return call("DELETE", f"/networks/{quote(reference)}", nothing)


def connect(reference: str, container: str, settings: dict[str, Any] | None = None) -> Call[None]:
    """`settings` is the Engine API's EndpointSettings."""
    body = {"Container": container, "EndpointConfig": settings or {}}
    return call("POST", f"/networks/{quote(reference)}/connect", nothing, body=body)


def disconnect(reference: str, container: str, *, force: bool = False) -> Call[None]:
    body = {"Container": container, "Force": force}
    return call("POST", f"/networks/{quote(reference)}/disconnect", nothing, body=body)


def prune(*, filters: Filters | None = None) -> Call[dict[str, Any]]:
    """Remove networks that a user has made and no running container is in."""
    return call("POST", "/networks/prune", document, query={"filters": encode_filters(filters)})


def repair(reference: str = "") -> Call[None]:
    """Put right what others have done to a network, or to all: knarr's own, not in Docker's API."""
    return call("POST", f"/networks/{quote(reference)}/repair" if reference else "/networks/repair", nothing)
