"""Networks."""

from __future__ import annotations

from knarr.client.calls import call, document
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.client.calls import Call
    from knarr.client.types import Network

    Filters = dict[str, list[str]]


def list_all(*, filters: Filters | None = None) -> Call[list[Network]]:
    return call("GET", "/networks", document, query={"filters": encode_filters(filters)})


def inspect(reference: str, *, verbose: bool = False) -> Call[Network]:
    return call("GET", f"/networks/{quote(reference)}", document, query={"verbose": verbose})
