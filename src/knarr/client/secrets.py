"""Secrets of a knarr engine; a dockerd has no such endpoints."""

from __future__ import annotations

import base64

from knarr.client.calls import call, document, nothing
from knarr.client.http import quote
from knarr.client.system import encode_filters

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.client.calls import Call

    Filters = dict[str, list[str]]


def list_all(*, filters: Filters | None = None) -> Call[list[dict[str, Any]]]:
    return call("GET", "/knarr/secrets", document, query={"filters": encode_filters(filters)})


def create(name: str, data: bytes, *, labels: dict[str, str] | None = None) -> Call[dict[str, str]]:
    body = {"Name": name, "Labels": labels or {}, "Data": base64.b64encode(data).decode()}
    return call("POST", "/knarr/secrets/create", document, body=body)


def inspect(name: str) -> Call[dict[str, Any]]:
    return call("GET", f"/knarr/secrets/{quote(name)}", document)


def remove(name: str) -> Call[None]:
    return call("DELETE", f"/knarr/secrets/{quote(name)}", nothing)
