"""The state database: one SQLite file in WAL mode, one connection to it, every change one transaction.

Each package that keeps state hands in its own schema; statements are called inline, a commit takes some tens of
microseconds (synchronous=NORMAL: a power cut may lose the newest commits, a killed process loses none).
"""

from __future__ import annotations

import os
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import KnarrError

Value = str | bytes | int | float | None

_RESERVE = 2 << 20
_PAGES_IN_LOG = 480
"""After how many pages the log is written back; so it stays within the room that is reserved for it."""


class Database:
    """A connection that any thread may use, one at a time."""

    def __init__(self, path: Path | str) -> None:
        self._path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        # Before WAL mode, so that the log's index is kept in memory: the file of shared memory that it would be in
        # otherwise is cut and grown anew at every start, which fails on a full disk (sqlite.org/wal.html, 8).
        self._connection.execute("PRAGMA locking_mode=EXCLUSIVE")
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA foreign_keys=ON")
        self._connection.execute(f"PRAGMA wal_autocheckpoint={_PAGES_IN_LOG}")

    def add_schema(self, script: str) -> None:
        """Run `CREATE … IF NOT EXISTS` statements."""
        with self._lock:
            self._connection.executescript(script)

    def reserve_room(self) -> None:
        """Take disk space for changes to come: on a full disk containers must still be able to end and be removed.

        Free pages stay in the database, and the log keeps its size unless the connection is closed in order. Raises
        KnarrError if there is no room even now.
        """
        with self._lock, _told_apart():
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")  # what a killed run left fills the log
            if self._has_room():
                return
            disk = os.statvfs(self._path)
            if disk.f_bavail * disk.f_frsize < 3 * _RESERVE:  # half of it done, the log could not be written back
                raise KnarrError("reserve room for state.db: no space left on device")
            self._connection.execute("CREATE TABLE IF NOT EXISTS reserve (room BLOB)")
            self._connection.execute("INSERT INTO reserve VALUES (zeroblob(?))", (_RESERVE,))
            self._connection.execute("DELETE FROM reserve")
            self._connection.execute("PRAGMA wal_checkpoint(RESTART)")

    def _has_room(self) -> bool:
        """Whether what an earlier run reserved is there, but for what it has used of it."""
        (pages,) = self._connection.execute("PRAGMA freelist_count").fetchone()
        (size,) = self._connection.execute("PRAGMA page_size").fetchone()
        try:
            log = os.path.getsize(f"{self._path}-wal")
        except FileNotFoundError:
            log = 0
        return int(pages) * int(size) >= _RESERVE // 2 and log >= _RESERVE

    def query(self, sql: str, arguments: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """The rows that a SELECT gives."""
        with self._lock:
            return self._connection.execute(sql, arguments).fetchall()

    def execute(self, sql: str, arguments: Sequence[Value] = ()) -> int:
        """Run one statement (in a transaction of its own unless inside `transaction`); the number of changed rows.

        Raises KnarrError where there is no room for the change, sqlite3.IntegrityError.
        """
        with self._lock, _told_apart():
            return self._connection.execute(sql, arguments).rowcount

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """All that the block executes happens, or none of it. Nests: the outermost block commits."""
        with self._lock:
            if self._depth == 0:
                self._connection.execute("BEGIN IMMEDIATE")
            self._depth += 1
            try:
                yield
            except BaseException:
                self._depth -= 1
                if self._depth == 0:
                    self._connection.execute("ROLLBACK")
                raise
            self._depth -= 1
            if self._depth == 0:
                self._commit()

    def _commit(self) -> None:
        try:
            with _told_apart():
                self._connection.execute("COMMIT")
        except KnarrError:
            if self._connection.in_transaction:
                self._connection.execute("ROLLBACK")
            raise

    def close(self) -> None:
        """Checkpoint and close."""
        with self._lock:
            self._connection.close()


@contextmanager
def _told_apart() -> Iterator[None]:
    """A disk without room, or one that fails, is no defect of ours."""
    try:
        yield
    except sqlite3.OperationalError as error:
        if error.sqlite_errorcode & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR):
            raise KnarrError(f"write state.db: no space left on device ({error})") from error
        raise
