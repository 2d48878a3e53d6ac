"""The host's own nodes of devices. Source: sysfs(5), /sys/dev."""

from __future__ import annotations

_DIRECTORIES = {"c": "char", "u": "char", "b": "block"}


def path_of(kind: str, major: int, minor: int) -> str | None:
    """Where the host has a device ("c" or "b"), below /dev; None if the kernel knows of none."""
    try:
        with open(f"/sys/dev/{_DIRECTORIES[kind]}/{major}:{minor}/uevent") as file:
            lines = file.read().splitlines()
    except (KeyError, OSError):
        return None
    name = next((line for line in lines if line.startswith("DEVNAME=")), None)
    return f"/dev/{name.removeprefix('DEVNAME=')}" if name else None
