"""nftables' notifications: which tables a transaction has changed, and whose it was."""

from __future__ import annotations

import os
import struct

from msgspec import Struct

from knarr.kernel.netlink import NETLINK_NETFILTER, NetlinkListener, attributes

# <linux/netfilter/nfnetlink.h>, <linux/netfilter/nf_tables.h>
_GROUP_NFTABLES = 7
_SUBSYSTEM = 10
_DELETIONS = (2, 5, 8, 11, 14)  # NFT_MSG_DELTABLE, DELCHAIN, DELRULE, DELSET, DELSETELEM
_NEWGEN = 15
_TABLE_NAME = 1  # the same number in the messages of all objects
_GEN_PROC_PID = 2
_INITIAL_PID_NAMESPACE = "pid:[4026531836]"


class RuleChange(Struct, frozen=True):
    """What one transaction has done: tables that it touched, and those from which it deleted. Names only."""

    touched: frozenset[str]
    damaged: frozenset[str]


class RuleEvents:
    """Transactions of other processes, in the calling thread's network namespace, from now on."""

    def __init__(self) -> None:
        """Raises OSError."""
        self._listener = NetlinkListener(NETLINK_NETFILTER, _GROUP_NFTABLES)
        self._touched: set[str] = set()
        self._damaged: set[str] = set()

    def fileno(self) -> int:
        """Readable when there is something to `read`."""
        return self._listener.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def read(self) -> list[RuleChange] | None:
        """What has happened; None if so much that some of it was lost."""
        messages = self._listener.receive()
        if messages is None:
            return None
        found = []
        for kind, body in messages:
            subsystem, number = kind >> 8, kind & 0xFF
            if subsystem == _SUBSYSTEM and number == _NEWGEN:
                if change := self._finish(attributes(body, 4)):
                    found.append(change)
            elif subsystem == _SUBSYSTEM and (name := attributes(body, 4).get(_TABLE_NAME)):
                table = name.rstrip(b"\0").decode(errors="replace")
                self._touched.add(table)
                if number in _DELETIONS:
                    self._damaged.add(table)
        return found

    def _finish(self, generation: dict[int, bytes]) -> RuleChange | None:
        change = RuleChange(frozenset(self._touched), frozenset(self._damaged))
        self._touched.clear()
        self._damaged.clear()
        (thread,) = struct.unpack(">I", generation[_GEN_PROC_PID])
        return None if os.path.exists(f"/proc/self/task/{thread}") else change


def can_tell_own_changes() -> bool:
    """Whether the kernel names threads as this process does: in the initial PID namespace alone."""
    return os.readlink("/proc/self/ns/pid") == _INITIAL_PID_NAMESPACE
