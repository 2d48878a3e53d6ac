"""Bearer tokens: asking the server that a registry names for them, and keeping them while they last.

The protocol is Docker's (distribution's docs/spec/auth/token.md, oauth.md): GET with basic authentication, or POST
with a refresh token, which clients keep as "identity token".
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from datetime import datetime
from urllib.parse import urlencode

import msgspec
from msgspec import Struct

from knarr.images.cancellation import Cancellation
from knarr.images.registry import foreign
from knarr.images.registry.challenges import Challenge
from knarr.images.registry.credentials import Credentials
from knarr.images.registry.endpoint import Endpoint
from knarr.images.registry.failures import Refused, Unreachable
from knarr.images.registry.transport import Request, Transport

_CLIENT = "docker"  # servers know it, and some refuse others
_SHORTEST_LIFE = 60.0
_MARGIN = 5.0
_MAX_ANSWER = 1 << 20


class _TokenAnswer(Struct):
    token: str | None = None
    access_token: str | None = None
    refresh_token: str | None = None
    expires_in: float | None = None
    issued_at: str | None = None

    def lifetime(self, now: float) -> float:
        """Seconds for which it is good, by our clock; 60 is the protocol's default and its minimum."""
        life = max(self.expires_in or _SHORTEST_LIFE, _SHORTEST_LIFE)
        try:
            age = now - datetime.fromisoformat(self.issued_at or "").timestamp()
        except ValueError:
            age = 0.0
        return life - min(max(age, 0.0), life)


class Tokens:
    """Gets tokens with one set of credentials; keeps them by what they allow. Used from several threads."""

    def __init__(self, transport: Transport, endpoint: Endpoint, credentials: Credentials) -> None:
        self._transport = transport
        self._endpoint = endpoint
        self._credentials = credentials
        self._lock = threading.Lock()
        self._known: dict[tuple[str, ...], tuple[str, float]] = {}
        self.refresh_token = credentials.identity_token

    def get(
        self, challenge: Challenge, scopes: Iterable[str], cancellation: Cancellation, *, offline: bool = False
    ) -> str:
        """A token for `scopes`. With `offline` a refresh token is asked for as well.

        Raises Refused, Unreachable, Cancelled.
        """
        wanted = tuple(sorted(scopes))
        with self._lock:
            token, until = self._known.get(wanted, ("", 0.0))
            if time.monotonic() < until:
                return token
            answer = self._ask(challenge, wanted, cancellation, offline)
            token = answer.token or answer.access_token or ""
            if not token:
                raise Refused("authorization server did not include a token in the response")
            self._known[wanted] = (token, time.monotonic() + answer.lifetime(time.time()) - _MARGIN)
            self.refresh_token = answer.refresh_token or self.refresh_token
            return token

    def forget(self, scopes: Iterable[str]) -> None:
        """A token that was not accepted."""
        with self._lock:
            self._known.pop(tuple(sorted(scopes)), None)

    def _ask(
        self, challenge: Challenge, scopes: tuple[str, ...], cancellation: Cancellation, offline: bool
    ) -> _TokenAnswer:
        realm = challenge.parameters.get("realm", "")
        try:
            foreign.checked(realm)
        except Unreachable as error:
            raise Refused(f"invalid token server in the registry's challenge: {error}") from error
        request = self._request(realm, challenge.parameters.get("service", ""), scopes, offline)
        # the token server is another host: the registry's own certificate and headers are not for it
        endpoint = msgspec.structs.replace(self._endpoint, client=None, headers=())
        with self._transport.send(endpoint, request, cancellation) as answer:
            if answer.status >= 400:
                raise answer.failure(request.method)
            try:
                return msgspec.json.decode(answer.content(_MAX_ANSWER), type=_TokenAnswer)
            except (msgspec.MsgspecError, UnicodeDecodeError) as error:
                raise Refused(f"unable to decode token response: {error}") from error

    def _request(self, realm: str, service: str, scopes: tuple[str, ...], offline: bool) -> Request:
        if self.refresh_token:
            form = {
                "grant_type": "refresh_token",
                "refresh_token": self.refresh_token,
                "service": service,
                "client_id": _CLIENT,
                "scope": " ".join(scopes),
            }
            content = urlencode(form).encode()
            headers = {"Content-Type": "application/x-www-form-urlencoded"}
            return Request(method="POST", url=realm, headers=headers, body=lambda: content)
        query = [("service", service)] if service else []
        query += [("scope", scope) for scope in scopes]
        if offline:
            query += [("offline_token", "true"), ("client_id", _CLIENT)]
        if self._credentials.user_name:
            query.append(("account", self._credentials.user_name))
        url = f"{realm}{'&' if '?' in realm else '?'}{urlencode(query)}" if query else realm
        basic = self._credentials.basic
        return Request(method="GET", url=url, headers={"Authorization": basic} if basic else {})
