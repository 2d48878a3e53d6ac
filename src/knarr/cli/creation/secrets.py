"""`--secret`: NAME, or source=NAME with target, uid, gid and mode."""

from __future__ import annotations

from knarr.cli.creation.values import csv_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_KEYS = {"source": "Source", "src": "Source", "target": "Target", "uid": "UID", "gid": "GID", "mode": "Mode"}


def parse_secret(word: str) -> dict[str, Any]:
    """The API's reference to a secret. Raises ValueError."""
    fields = csv_fields(word)
    if len(fields) == 1 and "=" not in fields[0]:
        return {"Source": fields[0]}
    secret: dict[str, Any] = {}
    for field in fields:
        key, separator, value = field.partition("=")
        if not separator:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        if key.lower() not in _KEYS:
            raise ValueError(f"invalid field key '{key}' in secret request")
        secret[_KEYS[key.lower()]] = _mode(value) if key.lower() == "mode" else value
    if not secret.get("Source"):
        raise ValueError("source is required")
    return secret


def _mode(text: str) -> int:
    try:
        return int(text, 8)
    except ValueError:
        raise ValueError(f"invalid mode specified: {text}") from None
