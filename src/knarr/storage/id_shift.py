"""Entries of archives between the ids of a user namespace and those that its files have for the host."""

from __future__ import annotations

import struct
from dataclasses import dataclass

from knarr.storage.tar_format import Entry

_CAPABILITY = "security.capability"
_V2, _V3 = 0x02000000, 0x03000000  # of struct vfs_cap_data; the third revision names the superuser whom it is for
_REVISION = 0xFF000000
_ROOT_ID = struct.Struct("<I")
_NOBODY = 65534


@dataclass(frozen=True)
class IdShift:
    """The namespace's ids are `first` and so many after it. For trees that are seen through its mounts."""

    first: int
    size: int

    def to_host(self, entry: Entry) -> None:
        """An entry that is to be put into the tree. Ids that the namespace does not have become nobody's."""
        entry.uid, entry.gid = self._outside(entry.uid), self._outside(entry.gid)
        value = entry.xattrs.get(_CAPABILITY)
        if value and len(value) == 20:
            entry.xattrs[_CAPABILITY] = _revised(value, _V3) + _ROOT_ID.pack(self.first)

    def from_host(self, entry: Entry) -> None:
        """An entry that was made of the tree."""
        entry.uid, entry.gid = self._inside(entry.uid), self._inside(entry.gid)
        value = entry.xattrs.get(_CAPABILITY)
        if value and len(value) == 24 and value[20:] == _ROOT_ID.pack(self.first):
            entry.xattrs[_CAPABILITY] = _revised(value[:20], _V2)

    def _outside(self, id: int) -> int:
        return self.first + (id if id < self.size else min(_NOBODY, self.size - 1))

    def _inside(self, id: int) -> int:
        return id - self.first if 0 <= id - self.first < self.size else _NOBODY


def _revised(value: bytes, revision: int) -> bytes:
    (magic,) = struct.unpack_from("<I", value)
    return struct.pack("<I", magic & ~_REVISION | revision) + value[4:]
