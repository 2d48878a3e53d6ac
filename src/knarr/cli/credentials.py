"""Credentials of registries, where docker keeps them: in config.json, or with a helper program that it names.

{"auths": {"HOST": {"auth": "base64 of user:password", "identitytoken": "…"}},
 "credsStore": "pass",                        docker-credential-pass for all registries …
 "credHelpers": {"HOST": "ecr-login"}}        … and another one for some
"""

from __future__ import annotations

import base64
import json
import os

from knarr.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from knarr.cli.session import Session

DOCKER_HUB = "https://index.docker.io/v1/"
_TOKEN_USER = "<token>"  # what helpers know an identity token by


class Entry:
    """The credentials for one registry: user and password, or an identity token."""

    __slots__ = ("identity_token", "password", "user")

    def __init__(self, user: str, password: str = "", identity_token: str = "") -> None:
        self.user = user
        self.password = password
        self.identity_token = identity_token

    def body(self, registry: str) -> dict[str, str]:
        """The API's AuthConfig."""
        fields = {
            "username": self.user,
            "password": self.password,
            "serveraddress": registry,
            "identitytoken": self.identity_token,
        }
        return {name: value for name, value in fields.items() if value}


def registry_of(name: str) -> str:
    """The key under which the credentials for a repository's registry are kept."""
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return server_key(host)
    return DOCKER_HUB


def server_key(server: str) -> str:
    """The key for a registry that the user names as host or as address."""
    host = server.partition("://")[2] if "://" in server else server
    host = host.partition("/")[0]
    return DOCKER_HUB if host in ("", "docker.io", "index.docker.io") else host


def find(settings: dict[str, Any], registry: str) -> Entry | None:
    """What is kept for a registry. Raises CommandError where a helper fails."""
    helper = _helper(settings, registry)
    if helper:
        return _from_helper(helper, registry)
    auths = _auths(settings)
    for key, entry in {registry: auths.get(registry), **auths}.items():
        if entry and (key == registry or server_key(key) == registry):
            return _from_file(entry)
    return None


def header(entry: Entry | None, registry: str) -> str | None:
    """The X-Registry-Auth header that shows credentials."""
    return _encode(entry.body(registry)) if entry else None


def header_for_all(settings: dict[str, Any]) -> str | None:
    """The X-Registry-Config header, with all that is kept; None for nothing."""
    registries = [*_auths(settings), *settings.get("credHelpers", {})]
    store = settings.get("credsStore")
    if store:
        registries += json.loads(_call(store, "list", "") or "{}")
    known = {name: entry.body(name) for name in dict.fromkeys(registries) if (entry := find(settings, name))}
    return _encode(known) if known else None


def keep(session: Session, registry: str, entry: Entry) -> str:
    """Keep credentials; what they are kept with: a helper's name, or "" for the configuration file."""
    helper = _helper(session.settings, registry)
    auths = dict(_auths(session.settings))
    if helper:
        user, secret = (_TOKEN_USER, entry.identity_token) if entry.identity_token else (entry.user, entry.password)
        _call(helper, "store", json.dumps({"ServerURL": registry, "Username": user, "Secret": secret}))
        auths[registry] = {}
    else:
        pair = base64.b64encode(f"{entry.user}:{'' if entry.identity_token else entry.password}".encode()).decode()
        auths[registry] = {"auth": pair}
        if entry.identity_token:
            auths[registry]["identitytoken"] = entry.identity_token
    session.change_settings(auths=auths)
    return helper


def forget(session: Session, registry: str) -> bool:
    """Forget a registry's credentials; whether there were any."""
    helper = _helper(session.settings, registry)
    auths = {key: entry for key, entry in _auths(session.settings).items() if server_key(key) != registry}
    known = len(auths) < len(_auths(session.settings))
    if helper:
        known = known or _from_helper(helper, registry) is not None
        _call(helper, "erase", registry)
    if known:
        session.change_settings(auths=auths or None)
    return known


def _auths(settings: dict[str, Any]) -> dict[str, Any]:
    auths = settings.get("auths")
    return auths if isinstance(auths, dict) else {}


def _from_file(entry: dict[str, Any]) -> Entry | None:
    try:
        user, _, password = base64.b64decode(entry.get("auth", "")).decode().partition(":")
    except ValueError as error:
        raise CommandError(f"config.json: invalid auth configuration file: {error}") from error
    token = entry.get("identitytoken", "")
    return Entry(user, password.strip("\0"), token) if user or token else None


def _from_helper(helper: str, registry: str) -> Entry | None:
    found = json.loads(_call(helper, "get", registry) or "{}")
    if not found.get("Username"):
        return None
    if found["Username"] == _TOKEN_USER:
        return Entry("", identity_token=found["Secret"])
    return Entry(found["Username"], found["Secret"])


def _helper(settings: dict[str, Any], registry: str) -> str:
    helpers = settings.get("credHelpers")
    own = helpers.get(registry) if isinstance(helpers, dict) else None
    return own or settings.get("credsStore") or ""


def _call(helper: str, action: str, input: str) -> str:
    """Run docker-credential-HELPER (its protocol is docker-credential-helpers'); "" where it has nothing."""
    import subprocess

    program = f"docker-credential-{helper}"
    if os.sep in helper:
        raise CommandError(f"invalid credential helper {helper!r}")
    try:
        done = subprocess.run([program, action], input=input.encode(), capture_output=True, check=False)
    except OSError as error:
        raise CommandError(f"error getting credentials - err: exec: {program!r}: {error.strerror}") from error
    said = done.stdout.decode("utf-8", "replace").strip()
    if done.returncode and "credentials not found" in said:
        return ""
    if done.returncode:
        raise CommandError(f"error getting credentials - err: exit status {done.returncode}, out: `{said}`")
    return said


def _encode(value: object) -> str:
    return base64.urlsafe_b64encode(json.dumps(value).encode()).decode()
