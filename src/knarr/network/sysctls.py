"""The kernel's settings below /proc/sys/net, of the calling thread's network namespace."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

_ROOT = Path("/proc/sys/net")


def write(name: str, value: str) -> None:
    """Give a setting ("ipv4/ip_forward") a value, unless it has it. Raises OSError."""
    with open(_ROOT / name, "r+") as file:
        if file.read().strip() != value:
            file.seek(0)
            file.write(value)


def write_all(settings: Mapping[str, str]) -> None:
    """Give settings their values, in order. Raises OSError."""
    for name, value in settings.items():
        write(name, value)


def open_to_ipv6(interface: str) -> None:
    """Let an interface of the host have IPv6 addresses: ours alone, and at once. Raises OSError."""
    write(f"ipv6/conf/{interface}/disable_ipv6", "0")
    write(f"ipv6/conf/{interface}/accept_ra", "0")
    write(f"ipv6/conf/{interface}/accept_dad", "0")


def forward(version: int) -> None:
    """Forward packets of that IP version. Raises OSError.

    A host that forwards IPv6 takes no more router advertisements, and drops the default routes that it has from them,
    unless an interface insists (accept_ra 2): what took them goes on doing so.
    """
    if version == 4:
        write("ipv4/ip_forward", "1")
        return
    if (_ROOT / "ipv6/conf/all/forwarding").read_text().strip() == "1":
        return
    for interface in os.listdir(_ROOT / "ipv6/conf"):
        name = f"ipv6/conf/{interface}/accept_ra"
        if interface not in ("all", "default") and (_ROOT / name).read_text().strip() == "1":
            write(name, "2")
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
