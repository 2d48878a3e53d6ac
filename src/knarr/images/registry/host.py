"""One endpoint of a registry, spoken to with one set of credentials: requests that authenticate themselves."""

from __future__ import annotations

from collections.abc import Iterable
from urllib.parse import quote, urlencode

import msgspec

from knarr.images.cancellation import Cancellation
from knarr.images.registry import challenges
from knarr.images.registry.challenges import Challenge
from knarr.images.registry.credentials import ANONYMOUS, Credentials
from knarr.images.registry.endpoint import Endpoint
from knarr.images.registry.failures import UNAUTHORIZED, Refused
from knarr.images.registry.tokens import Tokens
from knarr.images.registry.transport import Answer, Request, Transport


class Host:
    """Sends requests to one endpoint. Used from several threads."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials) -> None:
        self.endpoint = endpoint
        self._transport = transport
        self._credentials = ANONYMOUS if endpoint.mirror else credentials
        self.tokens = Tokens(transport, endpoint, self._credentials)
        self._challenge: Challenge | None = None

    def ping(self, cancellation: Cancellation) -> None:
        """See whether a registry is there, and what it asks for. Raises Unreachable, Refused, Cancelled."""
        request = Request(method="GET", url=f"{self.endpoint.url}/")
        with self._transport.send(self.endpoint, request, cancellation) as answer:
            if answer.status == 401:
                self._challenge = _choose(answer.challenges())
            elif answer.status >= 500 or answer.status == 429:
                raise answer.failure("GET")

    def log_in(self, cancellation: Cancellation) -> str:
        """Try the credentials; the refresh token that the registry gives for them, or "".

        Raises Refused, Unreachable, Cancelled.
        """
        url = f"{self.endpoint.url}/"
        if self._challenge is not None and self._challenge.scheme == "bearer":
            self.tokens.get(self._challenge, (), cancellation, offline=True)
        with self.send(Request(method="GET", url=url), (), cancellation) as answer:
            if answer.status != 200:
                failure = answer.failure("GET")
                words = f"login attempt to {url} failed with status: {answer.status}"
                raise Refused(f"{words} ({failure})", status=answer.status, code=failure.code)
        return self.tokens.refresh_token

    def url(self, *parts: str, **query: str) -> str:
        """An address below the API's `/v2/`."""
        if self.endpoint.namespace:
            query["ns"] = self.endpoint.namespace
        path = "/".join(quote(part, safe="/:@") for part in parts)
        return f"{self.endpoint.url}/{path}" + (f"?{urlencode(query)}" if query else "")

    def send(self, request: Request, scopes: Iterable[str], cancellation: Cancellation) -> Answer:
        """The answer, once more with a new token where the one that was sent is not accepted any more.

        Raises Unreachable, Refused (by the token server, or for want of credentials), Cancelled.
        """
        answer = self._transport.send(self.endpoint, self._authorized(request, scopes, cancellation), cancellation)
        if answer.status != 401:
            return answer
        offered = _choose(answer.challenges())
        if offered is None or not self._may_try_again(offered):
            return answer
        answer.close()
        self._challenge = offered
        self.tokens.forget(scopes)
        return self._transport.send(self.endpoint, self._authorized(request, scopes, cancellation), cancellation)

    def _may_try_again(self, offered: Challenge) -> bool:
        """Tokens expire; basic authentication that was not known to be wanted can be tried once."""
        if self._credentials.registry_token:
            return False
        return offered.scheme == "bearer" or (self._challenge is None and bool(self._credentials.basic))

    def _authorized(self, request: Request, scopes: Iterable[str], cancellation: Cancellation) -> Request:
        value = self._authorization(scopes, cancellation)
        if not value:
            return request
        return msgspec.structs.replace(request, headers={**request.headers, "Authorization": value})

    def _authorization(self, scopes: Iterable[str], cancellation: Cancellation) -> str:
        if self._credentials.registry_token:
            return f"Bearer {self._credentials.registry_token}"
        if self._challenge is None:
            return ""
        if self._challenge.scheme == "bearer":
            return f"Bearer {self.tokens.get(self._challenge, scopes, cancellation)}"
        if not self._credentials.basic:
            words = f'Get "{self.endpoint.url}/": no basic auth credentials'
            raise Refused(words, status=401, code=UNAUTHORIZED)
        return self._credentials.basic


def _choose(headers: list[str]) -> Challenge | None:
    """The challenge to answer: a token where there is a choice."""
    offered = [one for one in challenges.parse(headers) if one.scheme in ("bearer", "basic")]
    return min(offered, key=lambda one: one.scheme != "bearer", default=None)
