"""rtnetlink's notifications of interfaces that have gone; all others are filtered in the kernel."""

from __future__ import annotations

import ctypes
import socket
import struct

from knarr.kernel.netlink import NETLINK_ROUTE, NetlinkListener, attributes
from knarr.kernel.rtnetlink import IFLA_IFNAME, RTM_DELLINK

_GROUP_LINK = 1
_SO_ATTACH_FILTER = 26
_INTERFACE_HEADER = 16  # struct ifinfomsg
# Classic BPF: the half-word at 4 in network order, where a message has its kind in the host's.
_PROGRAM = b"".join(
    struct.pack("=HBBI", *instruction)
    for instruction in (
        (0x28, 0, 0, 4),
        (0x15, 0, 1, socket.htons(RTM_DELLINK)),
        (0x06, 0, 0, 0xFFFFFFFF),
        (0x06, 0, 0, 0),
    )
)


class LinkDeletions:
    """Deletions of interfaces in the calling thread's network namespace, from now on."""

    def __init__(self) -> None:
        """Raises OSError."""
        code = ctypes.create_string_buffer(_PROGRAM, len(_PROGRAM))
        program = struct.pack("HL", len(_PROGRAM) // 8, ctypes.addressof(code))
        self._listener = NetlinkListener(NETLINK_ROUTE, _GROUP_LINK, option=(_SO_ATTACH_FILTER, program))

    def fileno(self) -> int:
        """Readable when there is something to `read`."""
        return self._listener.fileno()

    def close(self) -> None:
        """Stop listening."""
        self._listener.close()

    def read(self) -> list[str] | None:
        """Names of interfaces that have gone; None if so many that some were lost."""
        messages = self._listener.receive()
        if messages is None:
            return None
        names = (attributes(body, _INTERFACE_HEADER).get(IFLA_IFNAME, b"") for _, body in messages)
        return [name.rstrip(b"\0").decode() for name in names]
