from __future__ import annotations

import struct

import pytest

from knarr.storage.id_shift import IdShift
from knarr.storage.tar_format import REGULAR, Entry

SHIFT = IdShift(300_000, 65_536)
V2 = struct.pack("<5I", 0x02000001, 1 << 13, 0, 0, 0)
V3 = struct.pack("<6I", 0x03000001, 1 << 13, 0, 0, 0, 300_000)


def entry(uid: int, capability: bytes | None = None) -> Entry:
    made = Entry(b"f", REGULAR, 0o644)
    made.uid = made.gid = uid
    made.xattrs = {"security.capability": capability} if capability else {}
    return made


def test_there_and_back() -> None:
    moved = entry(5, V2)
    SHIFT.to_host(moved)
    assert (moved.uid, moved.gid, moved.xattrs["security.capability"]) == (300_005, 300_005, V3)
    SHIFT.from_host(moved)
    assert (moved.uid, moved.gid, moved.xattrs["security.capability"]) == (5, 5, V2)


@pytest.mark.parametrize("id", [65_536, 300_000, 2**32 - 1])
def test_an_id_that_the_namespace_does_not_have_is_nobodys(id: int) -> None:
    moved = entry(id)
    SHIFT.to_host(moved)
    assert moved.uid == 300_000 + 65_534


@pytest.mark.parametrize("id", [0, 299_999, 365_536])
def test_an_id_of_the_hosts_is_nobodys(id: int) -> None:
    moved = entry(id)
    SHIFT.from_host(moved)
    assert moved.uid == 65_534


def test_capabilities_for_another_superuser_stay() -> None:
    other = V3[:20] + struct.pack("<I", 7)
    moved = entry(300_000, other)
    SHIFT.from_host(moved)
    assert moved.xattrs["security.capability"] == other
