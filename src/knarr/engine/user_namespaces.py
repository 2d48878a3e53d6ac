"""User namespaces of containers: who has one, and which ids of the host are its own.

A container's ids are mapped to a range that no other container has (but those that share namespaces with it): whoever
gets out of one is nobody on the host, and nobody to other containers. Its files on the disk keep the ids that they have
in the container; mounts are id-mapped (see `id_mapping`).
"""

from __future__ import annotations

import re

from knarr.compute.spec import IdMapping, Process
from knarr.engine.config import HostConfig
from knarr.engine.container import Container, IdRange
from knarr.engine.registry import Registry
from knarr.engine.settings import EngineSettings
from knarr.errors import Conflict, InvalidParameter, KnarrError, Unsupported
from knarr.kernel import user_namespaces as kernel

DEFAULT_SIZE = 1 << 16
_AUTO = re.compile(r"auto(?::size=([1-9][0-9]{0,9}))?")
_JOINS = ("network_mode", "ipc_mode", "pid_mode")
_MAKER = IdMapping(2**32 - 2, 0, 1)
"""overlayfs makes whiteouts as the host's superuser, who needs an id on the disk that is nobody's."""


def parse_mode(mode: str) -> int | None:
    """The size of the range for a UsernsMode, None for no namespace ("" or "host"). Raises InvalidParameter."""
    if mode in ("", "host"):
        return None
    found = _AUTO.fullmatch(mode)
    if found is None:
        raise InvalidParameter(f"invalid USER mode: {mode}")
    return int(found[1] or DEFAULT_SIZE)


def mappings(ids: IdRange) -> list[IdMapping]:
    """A container's ids on the host."""
    return [IdMapping(0, ids.first, ids.size)]


def mount_mappings(ids: IdRange) -> list[IdMapping]:
    """The same for its mounts, the layers of its root among them."""
    return [*mappings(ids), _MAKER]


def check_user(process: Process, ids: IdRange | None) -> None:
    """Whoever runs needs a place in the namespace, be it the container's or the engine's. Raises InvalidParameter."""
    if ids is None:
        _check_own(process)
        return
    for id in (process.user.uid, process.user.gid, *process.user.additional_gids):
        if id >= ids.size:
            raise InvalidParameter(
                f"the container's user namespace has {ids.size} ids, too few for {id} (see --userns=auto:size=N)"
            )


def _check_own(process: Process) -> None:
    user, groups = process.user, [process.user.gid, *process.user.additional_gids]
    if kernel.inside() and (user.uid >= kernel.user_count() or max(groups) >= kernel.group_count()):
        raise InvalidParameter(
            f"there is no user {user.uid} with the group {', '.join(map(str, groups))}: this user's engine has the ids "
            f"up to {min(kernel.user_count(), kernel.group_count()) - 1} (see /etc/subuid and /etc/subgid)"
        )


class UserNamespaces:
    """Gives out ranges. What is taken is what containers have, and what is being created."""

    def __init__(self, settings: EngineSettings, registry: Registry) -> None:
        self._settings = settings
        self._registry = registry
        self._promised: dict[str, IdRange] = {}

    def choose(self, host_config: HostConfig) -> None:
        """Put the engine's default into a container's configuration. Raises InvalidParameter, as dockerd does, for
        what a user namespace does not go with."""
        if not host_config.userns_mode and self._settings.remap_users:
            donors = joined(host_config, self._registry)
            host_config.userns_mode = "auto" if all(donor.record.ids for donor in donors) else "host"
        if parse_mode(host_config.userns_mode) is None:
            return
        if kernel.inside():
            raise Unsupported(
                "a container cannot have a user namespace of its own in a user's engine: the kernel maps the ids of "
                "mounts for the host's root only"
            )
        if host_config.privileged:
            raise InvalidParameter(
                "privileged mode is incompatible with user namespaces.  You must run the container in the host "
                "namespace when running privileged mode"
            )
        for mode, words in (
            (host_config.network_mode, "host's network namespace"),
            (host_config.pid_mode, "host PID namespace"),
            (host_config.ipc_mode, "host IPC namespace"),
        ):
            if mode == "host":
                raise InvalidParameter(f"cannot share the {words} when user namespaces are enabled")

    def take(self, id: str, host_config: HostConfig) -> IdRange | None:
        """The range of a container to be made; to be given back by `settle`. Raises Conflict, KnarrError, Unsupported.

        Whoever joins namespaces of another container is in that one's user namespace.
        """
        size = parse_mode(host_config.userns_mode)
        if size is None:
            return None
        donors = joined(host_config, self._registry)
        if donors:
            return _shared(host_config, donors)
        ids = self._promised[id] = self._free(size)
        return ids

    def settle(self, id: str) -> None:
        """The container is there, or is not going to be."""
        self._promised.pop(id, None)

    def _free(self, size: int) -> IdRange:
        taken = [container.record.ids for container in self._registry.all() if container.record.ids]
        first, count = self._settings.id_pool
        end = first + count
        for ids in sorted([*taken, *self._promised.values()], key=lambda ids: ids.first):
            if ids.first - first >= size:
                break
            first = max(first, ids.first + ids.size)
        if end - first < size:
            raise KnarrError(f"not enough unused ids for a user namespace of {size}: see userns-pool in daemon.json")
        return IdRange(first, size)


def joined(host_config: HostConfig, registry: Registry) -> list[Container]:
    """The containers whose namespaces a container joins. Raises NotFound."""
    modes = [getattr(host_config, attribute) for attribute in _JOINS]
    return [registry.find(mode.partition(":")[2]) for mode in modes if mode.startswith("container:")]


def _shared(host_config: HostConfig, donors: list[Container]) -> IdRange:
    ids = donors[0].record.ids
    if ids is None or any(donor is not donors[0] for donor in donors):
        raise Conflict(
            f"cannot join namespaces of container {donors[0].id}: it is in another user namespace "
            "(hint: use --userns=host for containers that share namespaces)"
        )
    if not host_config.network_mode.startswith("container:"):
        raise Unsupported("a user namespace cannot be shared without the network namespace that belongs to it")
    return ids
