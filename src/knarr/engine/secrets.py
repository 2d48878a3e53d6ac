"""Secrets of one engine: passwords, keys and the like that containers get as files, and nobody is shown again.

They are not Swarm's, whose endpoints go on to say that there is no swarm: the shapes are the same (Secret, SecretSpec).
"""

from __future__ import annotations

import asyncio
import base64
import binascii
import json
import re
from collections.abc import Iterable, Sequence
from typing import Any

from msgspec import Struct

from knarr.database import Database
from knarr.engine import names, times
from knarr.engine.config import SecretCreate, SecretReference
from knarr.engine.events import EventBus
from knarr.engine.filters import Filters
from knarr.engine.registry import Registry
from knarr.engine.sealing import Sealer
from knarr.errors import Conflict, InvalidParameter, NotFound

_SCHEMA = """
CREATE TABLE IF NOT EXISTS secrets (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, created INTEGER NOT NULL, labels TEXT NOT NULL, sealed BLOB NOT NULL
) WITHOUT ROWID;
"""
_NAME = re.compile(r"[a-zA-Z0-9](?:[a-zA-Z0-9._-]{0,62}[a-zA-Z0-9])?")
_LIMIT = 500 << 10
_ID_LENGTH = 25
"""As Swarm's have."""


class Secret(Struct, frozen=True):
    """All of a secret that may be shown. `created` in nanoseconds since 1970."""

    id: str
    name: str
    created: int
    labels: dict[str, str]


class Secrets:
    """All secrets, by name and by id."""

    def __init__(self, database: Database, sealer: Sealer, registry: Registry, events: EventBus) -> None:
        self._database = database
        self._sealer = sealer
        self._registry = registry
        self._events = events
        database.add_schema(_SCHEMA)

    async def create(self, body: SecretCreate) -> str:
        """The id of a new secret. Raises InvalidParameter, Conflict (the name)."""
        if not _NAME.fullmatch(body.name):
            raise InvalidParameter(
                "invalid name, only 64 [a-zA-Z0-9-_.] characters allowed, and the start and end character must be "
                "[a-zA-Z0-9]"
            )
        if body.driver or body.templating:
            raise InvalidParameter("secret drivers and templates are not supported by this engine")
        data = _decode(body.data)
        id = names.new_id()[:_ID_LENGTH]
        sealed = await asyncio.to_thread(self._sealer.seal, id, data)
        if any(secret.name == body.name for secret in self._all()):
            raise Conflict(f"secret {body.name} already exists")
        row = (id, body.name, times.now(), json.dumps(body.labels or {}), sealed)
        self._database.execute("INSERT INTO secrets VALUES (?, ?, ?, ?, ?)", row)
        self._events.publish("secret", "create", id, {"name": body.name})
        return id

    def list(self, filters: str | None = None) -> list[dict[str, Any]]:
        """Those that pass the filters id, name and label, as JSON. Raises InvalidParameter."""
        wanted = Filters.parse(filters, frozenset({"id", "name", "label"}))
        return [
            _json(secret)
            for secret in sorted(self._all(), key=lambda secret: secret.name)
            if wanted.prefix("id", secret.id)
            and wanted.prefix("name", secret.name)
            and wanted.labels("label", secret.labels)
        ]

    def inspect(self, reference: str) -> dict[str, Any]:
        """One as JSON. Raises NotFound, InvalidParameter (an ambiguous prefix)."""
        return _json(self.find(reference))

    def find(self, reference: str) -> Secret:
        """By name, by id, or by the beginning of an id. Raises NotFound, InvalidParameter if that is ambiguous."""
        everything = self._all()
        for secret in everything:
            if reference in (secret.name, secret.id):
                return secret
        found = [secret for secret in everything if reference and secret.id.startswith(reference)]
        if len(found) > 1:
            raise InvalidParameter(f"secret {reference} is ambiguous ({len(found)} matches found)")
        if not found:
            raise NotFound(f"secret {reference} not found")
        return found[0]

    def remove(self, reference: str) -> None:
        """Raises NotFound, Conflict while there are containers that have it."""
        secret = self.find(reference)
        users = [
            container.name
            for container in self._registry.all()
            if any(used.secret_id == secret.id for used in container.host_config.secrets or [])
        ]
        if users:
            raise Conflict(f"secret '{secret.name}' is in use by the following containers: {', '.join(sorted(users))}")
        self._database.execute("DELETE FROM secrets WHERE id = ?", (secret.id,))
        self._events.publish("secret", "remove", secret.id, {"name": secret.name})

    def contents(self, references: Iterable[SecretReference]) -> Sequence[bytes]:
        """What is in them. Blocks. Raises NotFound, KnarrError if a key does not fit."""
        return [self._content(reference) for reference in references]

    def _content(self, reference: SecretReference) -> bytes:
        rows = self._database.query("SELECT sealed FROM secrets WHERE id = ?", (reference.secret_id,))
        if not rows:
            raise NotFound(f"secret {reference.source} not found")
        sealed = rows[0][0]
        assert isinstance(sealed, bytes)
        return self._sealer.unseal(reference.secret_id, sealed)

    def _all(self) -> Sequence[Secret]:
        rows = self._database.query("SELECT id, name, created, labels FROM secrets")
        return [
            Secret(str(id), str(name), int(created or 0), json.loads(str(labels))) for id, name, created, labels in rows
        ]


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except binascii.Error:
        raise InvalidParameter("illegal base64 data in the secret") from None
    if not 0 < len(data) < _LIMIT:
        raise InvalidParameter(f"secret data must be larger than 0 and less than {_LIMIT} bytes")
    return data


def _json(secret: Secret) -> dict[str, Any]:
    moment = times.rfc3339(secret.created)
    return {
        "ID": secret.id,
        "CreatedAt": moment,
        "UpdatedAt": moment,
        "Spec": {"Name": secret.name, "Labels": secret.labels},
    }
