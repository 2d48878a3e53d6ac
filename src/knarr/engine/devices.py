"""Devices of the host in containers: --device, --device-cgroup-rule, --privileged, throttled block devices.

What is allowed by default is Docker's list.
"""

from __future__ import annotations

import os
import re
import stat

from knarr.compute.spec import Device, DeviceRule
from knarr.engine.config import DeviceMapping, DeviceRequest
from knarr.errors import InvalidParameter

DEFAULT_RULES: tuple[DeviceRule, ...] = (
    DeviceRule(False, access="rwm"),
    DeviceRule(True, "c", None, None, "m"),
    DeviceRule(True, "b", None, None, "m"),
    DeviceRule(True, "c", 1, 3, "rwm"),  # null
    DeviceRule(True, "c", 1, 5, "rwm"),  # zero
    DeviceRule(True, "c", 1, 7, "rwm"),  # full
    DeviceRule(True, "c", 1, 8, "rwm"),  # random
    DeviceRule(True, "c", 1, 9, "rwm"),  # urandom
    DeviceRule(True, "c", 5, 0, "rwm"),  # tty
    DeviceRule(True, "c", 5, 1, "rwm"),  # console
    DeviceRule(True, "c", 5, 2, "rwm"),  # ptmx
    DeviceRule(True, "c", 136, None, "rwm"),  # pts/*
)
"""Everything is denied but making nodes and the devices that every container has."""

_RULE = re.compile(r"([acb]) ([0-9]+|\*):([0-9]+|\*) ([rwm]{1,3})")
_ACCESS = re.compile(r"[rwm]{1,3}")
_NOT_FOR_CONTAINERS = frozenset({"pts", "shm", "fd", "mqueue", ".lxc", ".lxd-mounts", ".udev"})


def mapped(mapping: DeviceMapping) -> list[tuple[Device, DeviceRule]]:
    """The nodes and rules for one --device; a directory stands for all devices in it.

    Raises InvalidParameter if it is missing or no device.
    """
    access = mapping.cgroup_permissions or "rwm"
    if not _ACCESS.fullmatch(access):
        raise InvalidParameter(f"invalid device permissions: {access}")
    host, inside = mapping.path_on_host, mapping.path_in_container or mapping.path_on_host
    complaint = f'error gathering device information while adding custom device "{host}"'
    if not host.startswith("/"):
        raise InvalidParameter(f"{complaint}: no such file or directory")
    try:
        resolved = os.path.realpath(host, strict=True)
        if os.path.isdir(resolved):
            devices = [_renamed(device, resolved, inside) for device in _below(resolved)]
        else:
            one = _device(resolved, inside)
            devices = [] if one is None else [one]
    except OSError as error:
        words = (error.strerror or "").lower()
        raise InvalidParameter(f"{complaint}: {words}") from None
    if not devices:
        raise InvalidParameter(f"{complaint}: not a device node")
    return [(device, DeviceRule(True, device.type, device.major, device.minor, access)) for device in devices]


def host_devices() -> list[Device]:
    """All devices below /dev, but terminals' slaves, the console and what is no device: for --privileged."""
    return [device for device in _below("/dev") if device.path != "/dev/console"]


def rule(text: str) -> DeviceRule:
    """One --device-cgroup-rule ("c 1:3 rwm", * for all). Raises InvalidParameter."""
    match = _RULE.fullmatch(text)
    if match is None:
        raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
    major, minor = (None if number == "*" else int(number) for number in match.group(2, 3))
    if any(number is not None and number >= 1 << 31 for number in (major, minor)):
        raise InvalidParameter(f"invalid device cgroup rule format: '{text}'")
    return DeviceRule(True, match[1], major, minor, match[4])


def refuse_requests(requests: list[DeviceRequest]) -> None:
    """There are no drivers that could choose devices (GPUs). Raises InvalidParameter in dockerd's words."""
    for request in requests:
        wanted = " ".join("[" + " ".join(names) + "]" for names in request.capabilities or [])
        raise InvalidParameter(f'could not select device driver "{request.driver}" with capabilities: [{wanted}]')


def block_number(path: str) -> tuple[int, int]:
    """Major and minor number of a block device's node. Raises InvalidParameter."""
    try:
        found = os.stat(path)
    except OSError as error:
        raise InvalidParameter(f"stat {path}: {(error.strerror or '').lower()}") from None
    if not stat.S_ISBLK(found.st_mode):
        raise InvalidParameter(f"{path} is not a block device")
    return os.major(found.st_rdev), os.minor(found.st_rdev)


def _device(path: str, inside: str) -> Device | None:
    found = os.lstat(path)
    kind = "c" if stat.S_ISCHR(found.st_mode) else "b" if stat.S_ISBLK(found.st_mode) else None
    if kind is None:
        return None
    return Device(
        type=kind,
        path=inside,
        major=os.major(found.st_rdev),
        minor=os.minor(found.st_rdev),
        file_mode=stat.S_IMODE(found.st_mode),
        uid=found.st_uid,
        gid=found.st_gid,
    )


def _below(directory: str) -> list[Device]:
    devices: list[Device] = []
    for path, names, files in os.walk(directory):
        names[:] = sorted(name for name in names if name not in _NOT_FOR_CONTAINERS)
        for name in sorted(files):
            try:
                device = _device(f"{path}/{name}", f"{path}/{name}")
            except FileNotFoundError:  # unplugged between the two looks
                continue
            if device is not None:
                devices.append(device)
    return devices


def _renamed(device: Device, host: str, inside: str) -> Device:
    device.path = inside + device.path.removeprefix(host)
    return device
