"""A child that applies sets has exactly these."""

from __future__ import annotations

import os
from collections.abc import Callable

from knarr.kernel import capabilities

SETS = ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")


def in_child(act: Callable[[], None]) -> dict[str, str]:
    """/proc/self/status of a child after `act`."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        try:
            act()
            with open("/proc/self/status", "rb") as file:
                os.write(writer, file.read())
        finally:
            os._exit(0)
    os.close(writer)
    with open(reader) as file:
        lines = file.read().splitlines()
    os.waitpid(pid, 0)
    return {key: value.strip() for key, _, value in (line.partition(":") for line in lines)}


def _sets(status: dict[str, str]) -> list[int]:
    return [int(status[name], 16) for name in SETS]


def test_root_keeps_only_what_is_granted() -> None:
    granted = capabilities.mask(["CAP_CHOWN", "CAP_NET_RAW"])
    highest = capabilities.last_cap()
    status = in_child(
        lambda: capabilities.apply(
            bounding=granted, effective=granted, permitted=granted, inheritable=0, ambient=0, highest=highest
        )
    )
    assert _sets(status) == [0, granted, granted, granted, 0]


def test_another_user_gets_ambient_ones() -> None:
    one = capabilities.mask(["CAP_NET_BIND_SERVICE"])
    highest = capabilities.last_cap()
    status = in_child(
        lambda: capabilities.apply(
            bounding=one,
            effective=one,
            permitted=one,
            inheritable=one,
            ambient=one,
            highest=highest,
            user=(1000, 1001, [5, 6]),
        )
    )
    assert _sets(status) == [one] * 5
    assert status["Uid"].split() == ["1000"] * 4
    assert status["Gid"].split() == ["1001"] * 4
    assert status["Groups"].split() == ["5", "6"]


def test_another_user_without_any_has_none() -> None:
    bounding = capabilities.mask(["CAP_CHOWN"])
    highest = capabilities.last_cap()
    status = in_child(
        lambda: capabilities.apply(
            bounding=bounding, effective=0, permitted=0, inheritable=0, ambient=0, highest=highest, user=(7, 7, [])
        )
    )
    assert _sets(status) == [0, 0, 0, bounding, 0]
    assert status["Groups"] == ""
