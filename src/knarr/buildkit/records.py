"""The records of builds that have ended, in the state database: the last ones, and those that are pinned."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from typing import cast

from knarr.buildkit.proto import control_pb2 as pb
from knarr.database import Database

_SCHEMA = """
CREATE TABLE IF NOT EXISTS build_records (
    ref TEXT PRIMARY KEY, created INTEGER NOT NULL, pinned INTEGER NOT NULL,
    record BLOB NOT NULL, status BLOB NOT NULL);
CREATE TABLE IF NOT EXISTS build_blobs (
    ref TEXT NOT NULL REFERENCES build_records (ref) ON DELETE CASCADE, digest TEXT NOT NULL, data BLOB NOT NULL,
    PRIMARY KEY (ref, digest)) WITHOUT ROWID;
"""
_KEPT = 50
_MOST_OUTPUT = 1 << 20  # bytes that are kept of what one build has told


class BuildRecords:
    """All of them. A call takes as long as the database does: some tens of microseconds."""

    def __init__(self, database: Database) -> None:
        self._database = database
        database.add_schema(_SCHEMA)

    def add(self, record: pb.BuildHistoryRecord, told: pb.StatusResponse, blobs: Mapping[str, bytes]) -> None:
        """Keep a record, what clients were told of the build, and blobs that the record names; drop the oldest."""
        row = (
            record.Ref,
            record.CreatedAt.ToNanoseconds(),
            record.SerializeToString(),
            zlib.compress(_bounded(told), 1),
        )
        with self._database.transaction():
            self._database.execute("INSERT OR REPLACE INTO build_records VALUES (?, ?, 0, ?, ?)", row)
            for digest, data in blobs.items():
                self._database.execute(
                    "INSERT OR REPLACE INTO build_blobs VALUES (?, ?, ?)", (record.Ref, digest, data)
                )
            self._database.execute(
                "DELETE FROM build_records WHERE pinned = 0 AND ref NOT IN"
                " (SELECT ref FROM build_records WHERE pinned = 0 ORDER BY created DESC LIMIT ?)",
                (_KEPT,),
            )

    def all(self) -> list[pb.BuildHistoryRecord]:
        """The oldest first."""
        rows = self._database.query("SELECT record, pinned FROM build_records ORDER BY created")
        found = []
        for data, pinned in rows:
            record = pb.BuildHistoryRecord.FromString(cast(bytes, data))
            record.pinned = bool(pinned)
            found.append(record)
        return found

    def told(self, ref: str) -> pb.StatusResponse | None:
        """What clients were told of a build."""
        rows = self._database.query("SELECT status FROM build_records WHERE ref = ?", (ref,))
        return pb.StatusResponse.FromString(zlib.decompress(cast(bytes, rows[0][0]))) if rows else None

    def blob(self, digest: str) -> bytes | None:
        """A blob that some record names."""
        rows = self._database.query("SELECT data FROM build_blobs WHERE digest = ? LIMIT 1", (digest,))
        return cast(bytes, rows[0][0]) if rows else None

    def pin(self, ref: str, pinned: bool) -> None:
        """Keep a record however many come after it, or not any more."""
        self._database.execute("UPDATE build_records SET pinned = ? WHERE ref = ?", (pinned, ref))

    def remove(self, ref: str) -> None:
        """Forget one."""
        self._database.execute("DELETE FROM build_records WHERE ref = ?", (ref,))


def _bounded(told: pb.StatusResponse) -> bytes:
    """All of it, or the end of the output."""
    data = told.SerializeToString()
    if len(data) <= _MOST_OUTPUT:
        return data
    short = pb.StatusResponse(vertexes=told.vertexes, warnings=told.warnings)
    room = _MOST_OUTPUT
    for log in reversed(told.logs):
        room -= log.ByteSize()
        if room < 0:
            break
        short.logs.insert(0, log)
    return short.SerializeToString()
