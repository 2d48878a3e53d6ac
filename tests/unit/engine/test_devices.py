from __future__ import annotations

import pytest

from knarr.compute.spec import DeviceRule
from knarr.engine import devices
from knarr.engine.config import DeviceMapping, DeviceRequest
from knarr.errors import InvalidParameter


def test_one_device_under_another_name() -> None:
    mapping = DeviceMapping(path_on_host="/dev/null", path_in_container="/dev/x", cgroup_permissions="r")
    [(device, rule)] = devices.mapped(mapping)
    assert (device.path, device.type, device.major, device.minor) == ("/dev/x", "c", 1, 3)
    assert rule == DeviceRule(True, "c", 1, 3, "r")


def test_a_link_and_a_directory() -> None:
    [(device, rule)] = devices.mapped(DeviceMapping(path_on_host="/dev/../dev/zero"))
    assert (device.path, rule.access) == ("/dev/../dev/zero", "rwm")
    found = {device.path for device, _ in devices.mapped(DeviceMapping(path_on_host="/dev", path_in_container="/d"))}
    assert {"/d/null", "/d/zero"} <= found
    assert not any(path.startswith("/d/pts") for path in found)


@pytest.mark.parametrize(
    ("path", "words"),
    [
        ("/dev/nope", 'while adding custom device "/dev/nope": no such file or directory'),
        ("/etc/passwd", 'while adding custom device "/etc/passwd": not a device node'),
        ("/etc/apt", "not a device node"),
        ("", 'while adding custom device "": no such file or directory'),
        ("dev/null", 'while adding custom device "dev/null": no such file or directory'),
    ],
)
def test_what_is_no_device(path: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        devices.mapped(DeviceMapping(path_on_host=path))


def test_permissions_are_checked() -> None:
    with pytest.raises(InvalidParameter, match="invalid device permissions: rx"):
        devices.mapped(DeviceMapping(path_on_host="/dev/null", cgroup_permissions="rx"))


def test_rules() -> None:
    assert devices.rule("c 1:* rw") == DeviceRule(True, "c", 1, None, "rw")
    assert devices.rule("a *:* rwm") == DeviceRule(True, "a", None, None, "rwm")
    for text in ("", "x 1:1 r", "c 1 r", "c 1:1 rwmx", "c 1:1 r\n", "c 99999999999:1 r"):
        with pytest.raises(InvalidParameter, match="invalid device cgroup rule format"):
            devices.rule(text)


def test_no_driver_chooses_devices() -> None:
    devices.refuse_requests([])
    with pytest.raises(InvalidParameter, match=r'device driver "" with capabilities: \[\[gpu compute\]\]'):
        devices.refuse_requests([DeviceRequest(count=-1, capabilities=[["gpu", "compute"]])])


def test_the_host_has_null_but_no_terminals_slaves() -> None:
    found = {device.path for device in devices.host_devices()}
    assert "/dev/null" in found
    assert not any(path.startswith("/dev/pts/") for path in found)


def test_block_numbers() -> None:
    with pytest.raises(InvalidParameter, match="stat /dev/nope: no such file or directory"):
        devices.block_number("/dev/nope")
    with pytest.raises(InvalidParameter, match="not a block device"):
        devices.block_number("/dev/null")
