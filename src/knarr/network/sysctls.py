"""The kernel's settings below /proc/sys/net, of the calling thread's network namespace."""

from __future__ import annotations

import os
from pathlib import Path

_ROOT = Path("/proc/sys/net")


def write(name: str, value: str) -> None:
    """Give a setting ("ipv4/ip_forward") a value, unless it has it. Raises OSError."""
    with open(_ROOT / name, "r+") as file:
        if file.read().strip() != value:
            file.seek(0)
            file.write(value)


def make_router(interface: str) -> None:
    """Forward IPv6 packets, and let an interface of ours have IPv6 addresses at once. Raises OSError.

    A host that forwards takes no more router advertisements, and drops the default routes that it has from them,
    unless an interface insists (accept_ra 2): what took them goes on doing so.
    """
    write(f"ipv6/conf/{interface}/disable_ipv6", "0")
    write(f"ipv6/conf/{interface}/accept_ra", "0")
    write(f"ipv6/conf/{interface}/accept_dad", "0")
    if (_ROOT / "ipv6/conf/all/forwarding").read_text().strip() == "1":
        return
    for other in os.listdir(_ROOT / "ipv6/conf"):
        if other not in ("all", "default") and (_ROOT / "ipv6/conf" / other / "accept_ra").read_text().strip() == "1":
            write(f"ipv6/conf/{other}/accept_ra", "2")
    write("ipv6/conf/all/forwarding", "1")


def prepare_sandbox() -> None:
    """In a new namespace: IPv6 on loopback only, and on interfaces to come when a network gives them an address.

    As in Docker. Addresses are given by us, once: nobody waits for duplicates to be detected. Raises OSError.
    """
    try:
        write("ipv6/conf/all/disable_ipv6", "1")
        write("ipv6/conf/default/accept_dad", "0")
        write("ipv6/conf/lo/disable_ipv6", "0")
    except FileNotFoundError:  # a kernel without IPv6
        return


def enable_ipv6(interface: str) -> None:
    """Let an interface have IPv6 addresses. Raises OSError."""
    write(f"ipv6/conf/{interface}/disable_ipv6", "0")
