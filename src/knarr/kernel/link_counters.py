"""What has gone through the network interfaces of a process's network namespace: /proc/PID/net/dev, proc(5)."""

from __future__ import annotations

from msgspec import Struct


class LinkCounters(Struct, frozen=True):
    """One interface's, since it was made."""

    rx_bytes: int
    rx_packets: int
    rx_errors: int
    rx_dropped: int
    tx_bytes: int
    tx_packets: int
    tx_errors: int
    tx_dropped: int


def read(pid: int) -> dict[str, LinkCounters]:
    """By interface, without the loopback. A process that has ended sees none."""
    try:
        with open(f"/proc/{pid}/net/dev", encoding="ascii", errors="replace") as file:
            return parse(file.read())
    except (FileNotFoundError, ProcessLookupError):
        return {}


def parse(text: str) -> dict[str, LinkCounters]:
    """The counters in the text of a `net/dev`."""
    counters = {}
    for line in text.splitlines()[2:]:
        name, _, rest = line.partition(":")
        figures = [int(word) for word in rest.split()]
        if name.strip() != "lo":
            counters[name.strip()] = LinkCounters(*figures[:4], *figures[8:12])
    return counters
