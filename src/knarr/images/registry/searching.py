"""Searching in the few registries that can do it: version 1 of the API, which was never part of the next ones."""

from __future__ import annotations

from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from knarr.errors import KnarrError
from knarr.images.cancellation import Cancellation
from knarr.images.references import DEFAULT_DOMAIN, LEGACY_DOMAIN, OFFICIAL, split_domain
from knarr.images.registry import lookup
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.failures import Refused, Unreachable
from knarr.images.registry.transport import Answer, Request, Transport

_MAX_ANSWER = 8 << 20


class Found(Struct, omit_defaults=False):
    """A repository."""

    name: str = ""
    description: str | None = ""
    star_count: int = 0
    is_official: bool = False
    is_automated: bool = False


class _Page(Struct):
    results: list[Found] = []


def search(
    transport: Transport, term: str, limit: int, credentials: Credentials, cancellation: Cancellation
) -> list[Found]:
    """What a registry finds for `term`, before which its name may stand. Raises Refused, Unreachable, Cancelled."""
    domain, words = split_domain(term)
    if domain == DEFAULT_DOMAIN:
        words = words.removeprefix(OFFICIAL)
    headers = {"Authorization": credentials.basic} if credentials.basic else {}
    headers["X-Docker-Token"] = "true"
    query = urlencode({"q": words, "n": limit})
    last: KnarrError | None = None
    for endpoint in lookup.find(domain, transport.settings):
        if endpoint.mirror:
            continue
        base = f"https://{LEGACY_DOMAIN}" if domain == DEFAULT_DOMAIN else endpoint.url.removesuffix("/v2")
        request = Request(method="GET", url=f"{base}/v1/search?{query}", headers=headers)
        try:
            with transport.send(endpoint, request, cancellation) as answer:
                return _results(domain, answer)
        except Unreachable as error:
            last = error
    raise last or Unreachable(f"no host of {domain} can be searched")


def _results(domain: str, answer: Answer) -> list[Found]:
    if answer.status == 404:
        raise Refused(f"the registry {domain} has no search: Unexpected status code 404", status=404)
    if answer.status != 200:
        raise Refused(f"Unexpected status code {answer.status}", status=answer.status)
    try:
        return msgspec.json.decode(answer.content(_MAX_ANSWER), type=_Page).results
    except (msgspec.MsgspecError, UnicodeDecodeError) as error:
        raise Refused(f"error decoding the registry's search results: {error}") from error
