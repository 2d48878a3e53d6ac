"""Network interfaces of the host's that a container gets (config-linux.md, "Network Devices")."""

from __future__ import annotations

import errno
import os

from knarr.compute.native.launch import LaunchError
from knarr.compute.spec import NetDevice
from knarr.kernel import namespaces, rtnetlink
from knarr.kernel.netlink import NetlinkSocket


def move(wanted: dict[str, NetDevice], pid: int) -> None:
    """Give interfaces to the network namespace of a process, by their names here: renamed where asked for, up, and with
    the addresses that they had. Raises LaunchError."""
    theirs = os.open(f"/proc/{pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    try:
        with NetlinkSocket() as here, namespaces.inside_network(theirs, NetlinkSocket) as there:
            for name, device in wanted.items():
                try:
                    _move(here, there, theirs, name, device.name or name)
                except OSError as error:
                    words = (error.strerror or "").lower()
                    raise LaunchError(f"moving network device {name} to the container: {words}") from None
    finally:
        os.close(theirs)


def _move(here: NetlinkSocket, there: NetlinkSocket, netns: int, name: str, new_name: str) -> None:
    """`new_name` may be a template ("eth%d") that the kernel completes. The kernel takes the addresses away."""
    link = rtnetlink.link(here, name)
    kept = [one for one in rtnetlink.addresses(here) if one.index == link.index and one.configured]
    before = {one.index: one.name for one in rtnetlink.links(there)}
    if new_name in before.values():  # which the kernel sees only when the interface is there
        raise OSError(errno.EEXIST, os.strerror(errno.EEXIST))
    here.request(rtnetlink.set_link(link.index, name=new_name, netns=netns))
    (index,) = {one.index for one in rtnetlink.links(there)} - before.keys()
    there.transact([rtnetlink.add_address(index, one.interface) for one in kept])
    there.request(rtnetlink.set_link(index, up=True))
