"""Messages for systemd's journal in its native protocol. https://systemd.io/JOURNAL_NATIVE_PROTOCOL/

    KEY=value\\n
    KEY\\n<length, 64 bits little endian>value\\n            where the value has a newline

one datagram an entry; one that is too large for a datagram goes as a sealed memory file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import time
from collections.abc import Sequence

from knarr.compute.interface import JournalSettings
from knarr.compute.native import frames
from knarr.compute.native.json_log import timestamp
from knarr.compute.native.log_lines import Line

_PRIORITIES = {"stdout": b"6", "stderr": b"3"}  # info, err
_TIMEOUT = 10.0
_SEALS = fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE | fcntl.F_SEAL_SEAL


def field(key: str, value: bytes) -> bytes:
    """One field of an entry."""
    if b"\n" in value:
        return key.encode() + b"\n" + len(value).to_bytes(8, "little") + value + b"\n"
    return key.encode() + b"=" + value + b"\n"


class JournalFormat:
    """Lines as journal entries, each with the fields of its system."""

    def __init__(self, settings: JournalSettings) -> None:
        fields = {**settings.fields, "CONTAINER_LOG_EPOCH": os.urandom(16).hex()}
        self._fields = b"".join(field(key, value.encode(errors="replace")) for key, value in fields.items())
        self._entries = 0

    def messages(self, stream: str, lines: Sequence[Line]) -> list[bytes]:
        """An entry each. The ordinal is the order of entries that come in the same microsecond."""
        moment = field("PRIORITY", _PRIORITIES[stream]) + field("SYSLOG_TIMESTAMP", timestamp(time.time_ns()).encode())
        shared = moment + self._fields
        return [self._entry(line) + shared for line in lines]

    def _entry(self, line: Line) -> bytes:
        self._entries += 1
        entry = b"MESSAGE=%s\nCONTAINER_LOG_ORDINAL=%d\n" % (line.text, self._entries)  # a line has no newline
        if line.part_of:
            last = b"true" if line.last else b"false"
            entry += field("CONTAINER_PARTIAL_ID", line.part_of.encode())
            entry += field("CONTAINER_PARTIAL_ORDINAL", b"%d" % line.number)
            entry += field("CONTAINER_PARTIAL_LAST", last)
        return entry if line.last else entry + field("CONTAINER_PARTIAL_MESSAGE", b"true")


class JournalSocket:
    """The connection to the journal, made when the first entry is to be sent."""

    joins = False

    def __init__(self, path: str) -> None:
        self._path = path
        self._socket: socket.socket | None = None

    def send(self, data: bytes) -> None:
        """Send one entry."""
        if self._socket is None:
            self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
            self._socket.settimeout(_TIMEOUT)
            self._socket.connect(self._path)
        try:
            self._socket.send(data)
        except OSError as error:
            if error.errno not in (errno.EMSGSIZE, errno.ENOBUFS):
                raise
            _send_file(self._socket, data)

    def helpers(self) -> set[int]:
        """None."""
        return set()

    def close(self) -> None:
        """Disconnect."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None


def _send_file(connected: socket.socket, data: bytes) -> None:
    """The journal maps the file, and takes none that its sender could still change."""
    fd = os.memfd_create("journal-entry", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
    try:
        written = 0
        while written < len(data):
            written += os.write(fd, memoryview(data)[written:])
        fcntl.fcntl(fd, fcntl.F_ADD_SEALS, _SEALS)
        connected.sendmsg([], frames.ancillary([fd]))
    finally:
        os.close(fd)
