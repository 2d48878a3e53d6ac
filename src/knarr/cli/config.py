"""The client's configuration file, docker's config.json. What it says of registries is read in credentials."""

from __future__ import annotations

import json
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


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
