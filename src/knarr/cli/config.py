"""The client's configuration file, docker's config.json: detach keys, formats, credentials of registries."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_DOCKER_HUB = "https://index.docker.io/v1/"


def load(directory: str) -> dict[str, Any]:
    """The settings; none when there is no file, or none that can be read."""
    try:
        with open(os.path.join(directory, "config.json"), encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError):
        return {}
    return settings if isinstance(settings, dict) else {}


def save(directory: str, settings: dict[str, Any]) -> None:
    """Replace the file; only its owner may read it, as it may have credentials. Raises OSError."""
    os.makedirs(directory, 0o700, exist_ok=True)
    path = os.path.join(directory, "config.json")
    unfinished = f"{path}.tmp-{os.getpid()}"
    with open(os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        json.dump(settings, file, indent="\t", ensure_ascii=False)
    os.replace(unfinished, path)


def registry_of(name: str) -> str:
    """The key under which the credentials for a repository's registry are kept."""
    host, slash, _ = name.partition("/")
    if slash and ("." in host or ":" in host or host == "localhost"):
        return _DOCKER_HUB if host in ("docker.io", "index.docker.io") else host
    return _DOCKER_HUB


def credentials(settings: dict[str, Any], name: str) -> str | None:
    """The X-Registry-Auth header for a repository, or None when there is nothing for its registry in the file."""
    import base64

    registry = registry_of(name)
    entry = settings.get("auths", {}).get(registry)
    if not entry or not entry.get("auth"):
        return None
    user, _, password = base64.b64decode(entry["auth"]).decode("utf-8", "replace").partition(":")
    token = {"username": user, "password": password, "serveraddress": registry}
    return base64.urlsafe_b64encode(json.dumps(token).encode()).decode()


def all_credentials(settings: dict[str, Any]) -> str | None:
    """The X-Registry-Config header, with the credentials for all registries in the file; None for none."""
    import base64

    known = {}
    for registry, entry in settings.get("auths", {}).items():
        if entry.get("auth"):
            user, _, password = base64.b64decode(entry["auth"]).decode("utf-8", "replace").partition(":")
            known[registry] = {"username": user, "password": password, "serveraddress": registry}
    return base64.urlsafe_b64encode(json.dumps(known).encode()).decode() if known else None
