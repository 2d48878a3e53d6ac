"""Containers in the state database: one row each, the record and the state as JSON, each change one transaction."""

from __future__ import annotations

import sqlite3
from typing import cast

import msgspec

from knarr.database import Database
from knarr.engine.container import Record, State
from knarr.errors import Conflict

_SCHEMA = """
CREATE TABLE IF NOT EXISTS containers (
    id TEXT PRIMARY KEY, name TEXT NOT NULL UNIQUE, record BLOB NOT NULL, state BLOB NOT NULL
) WITHOUT ROWID;
"""

_encode = msgspec.json.Encoder().encode
_records = msgspec.json.Decoder(Record)
_states = msgspec.json.Decoder(State)


class ContainerStore:
    """The table of containers. What returns has been committed."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_schema(_SCHEMA)

    def load(self) -> list[tuple[Record, State]]:
        """All containers."""
        rows = self._database.query("SELECT record, state FROM containers")
        return [
            (_records.decode(record), _states.decode(state)) for record, state in cast(list[tuple[bytes, bytes]], rows)
        ]

    def add(self, record: Record, state: State) -> None:
        """A new container. Raises Conflict if its name is in use."""
        try:
            self._database.execute(
                "INSERT INTO containers VALUES (?, ?, ?, ?)", (record.id, record.name, _encode(record), _encode(state))
            )
        except sqlite3.IntegrityError as error:
            raise Conflict(f"container {record.name} exists") from error

    def save_state(self, record: Record, state: State) -> None:
        """What has become of it."""
        self._database.execute("UPDATE containers SET state = ? WHERE id = ?", (_encode(state), record.id))

    def save_record(self, record: Record) -> None:
        """A changed name or configuration."""
        self._database.execute(
            "UPDATE containers SET name = ?, record = ? WHERE id = ?", (record.name, _encode(record), record.id)
        )

    def remove(self, record: Record) -> None:
        """It is gone."""
        self._database.execute("DELETE FROM containers WHERE id = ?", (record.id,))
