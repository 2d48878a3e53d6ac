"""The driver options of an endpoint, with Docker's names: the interface's name and settings of the kernel."""

from __future__ import annotations

import re
from collections.abc import Mapping

from knarr.errors import InvalidParameter
from knarr.network import options

INTERFACE = "com.docker.network.endpoint.ifname"
SYSCTLS = "com.docker.network.endpoint.sysctls"
# The docker command writes options in lower case, IFNAME as well.
_SYSCTL = re.compile(r"net\.(ipv4|ipv6|mpls)\.([a-z]+)\.(?:IFNAME|ifname)\.([a-zA-Z0-9_]+)")


def check(given: Mapping[str, str]) -> None:
    """Raises InvalidParameter, in dockerd's words."""
    for name in given:
        if name not in (INTERFACE, SYSCTLS):
            raise InvalidParameter(f"unknown driver option {name} for an endpoint")
    if INTERFACE in given:
        _check_interface(given[INTERFACE])
    sysctls(given, "")


def _check_interface(name: str) -> None:
    try:
        options.interface(name)
    except ValueError as error:
        raise InvalidParameter(str(error)) from None
    if name == "lo":
        raise InvalidParameter(f"invalid interface name: {name}")


def sysctls(given: Mapping[str, str], interface: str) -> dict[str, str]:
    """The settings for an interface, by path below /proc/sys/net. Raises InvalidParameter.

    They are written as net.ipv4.conf.IFNAME.log_martians=1,net.ipv6.conf.IFNAME.accept_ra=0.
    """
    found = {}
    for entry in filter(None, given.get(SYSCTLS, "").split(",")):
        name, separator, value = entry.partition("=")
        if not separator:
            raise InvalidParameter(f"invalid sysctl '{entry}': it should be NAME=VALUE")
        parts = _SYSCTL.fullmatch(name)
        if parts is None:
            raise InvalidParameter(
                f"unrecognised network interface sysctl '{name}'; represent 'net.X.Y.ethN.Z=V' as "
                "'net.X.Y.IFNAME.Z=V', 'X' must be 'ipv4', 'ipv6' or 'mpls'"
            )
        found[f"{parts[1]}/{parts[2]}/{interface}/{parts[3]}"] = value
    return found
