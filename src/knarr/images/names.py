"""What names stand for: an image (its id), or a manifest or an index that is kept (its digest).

An index or an artifact that a name was taken from by another one is kept without a name: it is *untitled*.
"""

from __future__ import annotations

from knarr.database import Database
from knarr.images import host, references
from knarr.images.references import Reference

_SCHEMA = """
CREATE TABLE IF NOT EXISTS image_names (name TEXT PRIMARY KEY, image TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS image_targets (name TEXT PRIMARY KEY, target TEXT NOT NULL);
INSERT OR IGNORE INTO image_targets SELECT name, image FROM image_names;
DROP TABLE image_names;  -- of earlier versions
CREATE TABLE IF NOT EXISTS untitled_targets (target TEXT PRIMARY KEY);
"""
_HOST_ROW = "host"  # names of the built-in image must survive a change of its id


class Names:
    """In the state database and in memory. Changes are made inside a transaction of the database, by `ImageStore`."""

    def __init__(self, database: Database, host_id: str) -> None:
        self._database = database
        self._host_id = host_id
        database.add_schema(_SCHEMA)
        self.targets: dict[Reference, str] = {host.REFERENCE: host_id}
        self.untitled: set[str] = set()
        self.read()

    def read(self) -> None:
        """Take over what is in the database: after a transaction that failed, too."""
        targets = {host.REFERENCE: self._host_id}
        for name, target in self._database.query("SELECT name, target FROM image_targets"):
            targets[references.parse(str(name))] = self._host_id if target == _HOST_ROW else str(target)
        self.targets = targets
        self.untitled = {str(row[0]) for row in self._database.query("SELECT target FROM untitled_targets")}

    @staticmethod
    def key(name: Reference) -> Reference:
        """What is looked up for a name: with a digest the tag says nothing, without either `latest` is meant."""
        return name._replace(tag="") if name.digest else name.with_default_tag()

    def of(self, target: str) -> list[Reference]:
        """All names that stand for it, sorted."""
        return sorted(name for name, found in list(self.targets.items()) if found == target)

    @property
    def roots(self) -> set[str]:
        """All that is named, or was."""
        return {*self.targets.values(), *self.untitled}

    def set(self, name: Reference, target: str) -> str | None:
        """Let a name stand for something; for what it stood before."""
        key = self.key(name)
        row = _HOST_ROW if target == self._host_id else target
        self._database.execute("INSERT OR REPLACE INTO image_targets VALUES (?, ?)", (str(key), row))
        before = self.targets.get(key)
        self.targets[key] = target
        self.forget(target)
        return before

    def drop(self, name: Reference) -> str:
        """Take it away; for what it stood. Raises KeyError."""
        key = self.key(name)
        target = self.targets.pop(key)
        self._database.execute("DELETE FROM image_targets WHERE name = ?", (str(key),))
        return target

    def keep(self, target: str) -> None:
        """Without a name, from now on."""
        self._database.execute("INSERT OR IGNORE INTO untitled_targets VALUES (?)", (target,))
        self.untitled.add(target)

    def forget(self, target: str) -> None:
        """It need not be kept without a name."""
        if target in self.untitled:
            self._database.execute("DELETE FROM untitled_targets WHERE target = ?", (target,))
            self.untitled.remove(target)
