"""Credentials for registries as clients send them: in a login's body and in the X-Registry-Auth headers."""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import TypeVar

import msgspec
from msgspec import Struct

_T = TypeVar("_T")

HUB_KEY = "https://index.docker.io/v1/"
"""Where clients keep the public registry's credentials; its name is older than the protocol."""


class Credentials(Struct, frozen=True, kw_only=True):
    """The API's AuthConfig. All "" asks anonymously."""

    user_name: str = msgspec.field(default="", name="username")
    password: str = ""
    auth: str = ""
    server_address: str = msgspec.field(default="", name="serveraddress")
    identity_token: str = msgspec.field(default="", name="identitytoken")
    registry_token: str = msgspec.field(default="", name="registrytoken")

    @property
    def basic(self) -> str:
        """The value of a basic Authorization header, "" without user and password."""
        if not self.user_name:
            return ""
        return "Basic " + base64.b64encode(f"{self.user_name}:{self.password}".encode()).decode()

    def complete(self) -> Credentials:
        """With user and password taken from `auth` where only that was given."""
        if self.user_name or not self.auth:
            return self
        try:
            user, _, password = base64.b64decode(self.auth).decode().partition(":")
        except ValueError:
            return self
        return msgspec.structs.replace(self, user_name=user, password=password.rstrip("\0"))


ANONYMOUS = Credentials()


def from_header(text: str) -> Credentials:
    """What an X-Registry-Auth header holds. As with dockerd, one that cannot be read is none."""
    return _decode(text, Credentials, ANONYMOUS).complete()


def from_config_header(text: str) -> Mapping[str, Credentials]:
    """What an X-Registry-Config header holds: credentials by the registry's name, for builds."""
    found = _decode(text, dict[str, Credentials], {})
    return {name: credentials.complete() for name, credentials in found.items()}


def for_registry(known: Mapping[str, Credentials], domain: str) -> Credentials:
    """Those for a registry, whichever of the names for it they are kept under."""
    names = [HUB_KEY, "docker.io", "index.docker.io"] if domain == "docker.io" else [domain]
    for name, credentials in known.items():
        if name in names or name.partition("://")[2].partition("/")[0] in names:
            return credentials
    return ANONYMOUS


def _decode(text: str, kind: type[_T], otherwise: _T) -> _T:
    if not text:
        return otherwise
    try:
        data = base64.urlsafe_b64decode(text + "=" * (-len(text) % 4))
        return msgspec.json.decode(data, type=kind)
    except (ValueError, msgspec.MsgspecError, RecursionError):
        return otherwise
