"""The state database: one SQLite file in WAL mode, one connection, every change one transaction.

Each package that keeps state hands in its own schema; statements are called inline, a commit takes some tens of
microseconds (synchronous=NORMAL: a power cut may lose the newest commits, a killed process loses none).
"""

from __future__ import annotations

import sqlite3
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

Value = str | bytes | int | float | None


class Database:
    """A connection that any thread may use, one at a time."""

    def __init__(self, path: Path | str) -> None:
        self._lock = threading.RLock()
        self._depth = 0
        self._connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._connection.execute("PRAGMA journal_mode=WAL")
        self._connection.execute("PRAGMA synchronous=NORMAL")
        self._connection.execute("PRAGMA foreign_keys=ON")

    def add_schema(self, script: str) -> None:
        """Run `CREATE … IF NOT EXISTS` statements."""
        with self._lock:
            self._connection.executescript(script)

    def query(self, sql: str, arguments: Sequence[Value] = ()) -> list[tuple[Value, ...]]:
        """The rows that a SELECT gives."""
        with self._lock:
            return self._connection.execute(sql, arguments).fetchall()

    def execute(self, sql: str, arguments: Sequence[Value] = ()) -> int:
        """Run one statement (in a transaction of its own unless inside `transaction`); the number of changed rows."""
        with self._lock:
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
                self._connection.execute("COMMIT")

    def close(self) -> None:
        """Checkpoint and close."""
        with self._lock:
            self._connection.close()
