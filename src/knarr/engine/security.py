"""What a program may do: capability sets and security options, by dockerd's rules and in its words."""

from __future__ import annotations

from msgspec import Struct

from knarr.compute.spec import Capabilities
from knarr.errors import InvalidParameter
from knarr.kernel import capabilities

DEFAULT_CAPABILITIES: tuple[str, ...] = (
    "CAP_CHOWN",
    "CAP_DAC_OVERRIDE",
    "CAP_FSETID",
    "CAP_FOWNER",
    "CAP_MKNOD",
    "CAP_NET_RAW",
    "CAP_SETGID",
    "CAP_SETUID",
    "CAP_SETFCAP",
    "CAP_SETPCAP",
    "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT",
    "CAP_KILL",
    "CAP_AUDIT_WRITE",
)
_ALL = "ALL"


class SecurityOptions(Struct):
    """--security-opt, read. `seccomp` is "" for the default, "unconfined", or a profile's JSON; `apparmor` is "" or the
    name of a profile, `label` something that SELinux is asked for."""

    seccomp: str = ""
    apparmor: str = ""
    label: str = ""
    no_new_privileges: bool | None = None
    system_paths_unconfined: bool = False


def parse_options(options: list[str]) -> SecurityOptions:
    """Read NAME=VALUE (and the older NAME:VALUE). Raises InvalidParameter."""
    result = SecurityOptions()
    for option in options:
        if option == "no-new-privileges":
            result.no_new_privileges = True
        elif option != "disable":
            _take(result, option)
    return result


def _take(result: SecurityOptions, option: str) -> None:
    separator = "=" if "=" in option else ":"
    name, found, value = option.partition(separator)
    if not found:
        raise InvalidParameter(f'invalid --security-opt 1: "{option}"')
    if name == "seccomp":
        result.seccomp = "" if value == "builtin" else value
    elif name == "no-new-privileges" and value.lower() in ("true", "false", "1", "0", "t", "f"):
        result.no_new_privileges = value.lower() in ("true", "1", "t")
    elif name == "systempaths" and value == "unconfined":
        result.system_paths_unconfined = True
    elif name == "apparmor":
        result.apparmor = value
    elif name == "label":
        result.label = "" if value == "disable" else value
    else:
        raise InvalidParameter(f'invalid --security-opt 2: "{option}"')


def bounding_set(add: list[str], drop: list[str], *, privileged: bool, own: int) -> list[str]:
    """The names of the capabilities that a container has. `own` is the mask of what this engine can give.

    Raises InvalidParameter for unknown names, and for a name that was added and that this engine lacks itself.
    """
    if privileged:
        return capabilities.names(own)
    added, dropped = normalize("CapAdd", add), normalize("CapDrop", drop)
    if _ALL in added:
        return [name for name in capabilities.names(own) if name not in dropped]
    missing = [name for name in added if not own >> capabilities.NUMBERS[name] & 1]
    if missing:
        raise InvalidParameter(f"invalid CapAdd: this engine does not have {missing[0]} itself")
    if _ALL in dropped:
        return added
    kept = [name for name in DEFAULT_CAPABILITIES if name not in dropped and own >> capabilities.NUMBERS[name] & 1]
    return list(dict.fromkeys([*kept, *added]))


def normalize(option: str, names: list[str]) -> list[str]:
    """Names in capitals with CAP_ in front, "ALL" as it is. Raises InvalidParameter."""
    result = []
    for given in names:
        name = given.upper()
        if name != _ALL and not name.startswith("CAP_"):
            name = f"CAP_{name}"
        if name != _ALL and name not in capabilities.NUMBERS:
            raise InvalidParameter(f'invalid {option}: unknown capability: "{name}"')
        result.append(name)
    return list(dict.fromkeys(result))


def sets(bounding: list[str], uid: int) -> Capabilities:
    """The five sets: a program of user 0 has all in the bounding set, any other none (as execve would have it)."""
    held = bounding if uid == 0 else []
    return Capabilities(bounding=bounding, effective=held, permitted=held)
