"""Whose files are whose in a container: the id mappings of what is mounted in it.

A mapping's extents lead from ids in a file system to ids of the host (which in a container without a user namespace of
its own are the container's). What no extent names belongs to nobody, and nobody can make such files.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable

from knarr.compute.spec import IdMapping, Mount
from knarr.engine import users
from knarr.engine.config import MountPoint
from knarr.kernel.mounts import can_map_ids

EVERYBODY = [IdMapping(0, 0, 2**32 - 1)]
_DOTTED = re.compile(r"[0-9]+\.[0-9]+")


def handed_over(space: list[IdMapping], owner: int, inside: int) -> list[IdMapping]:
    """The files of `owner` belong to a container's `inside` and what that one makes is the owner's; all other ids stay.

    `space`: what the container's ids are on the host. Whoever is displaced gets nothing: files of a disk's `inside`
    are nobody's, and a container's `owner` (another than `inside`) can make none.
    """
    result = [IdMapping(owner, host_id(space, inside), 1)]
    for extent in space:
        result += _without(extent, {owner, inside})
    return result


def host_id(space: list[IdMapping], id: int) -> int:
    """What a container's id is on the host. Raises KeyError for one without a place there."""
    for extent in space:
        if 0 <= id - extent.container_id < extent.size:
            return extent.host_id + id - extent.container_id
    raise KeyError(id)


def _without(extent: IdMapping, ids: set[int]) -> Iterable[IdMapping]:
    """An extent cut at some ids of its first side."""
    first, end = extent.container_id, extent.container_id + extent.size
    for id in [*sorted(id for id in ids if first <= id < end), end]:
        if id > first:
            yield IdMapping(first, extent.host_id + first - extent.container_id, id - first)
        first = id + 1


def map_owners(pairs: Iterable[tuple[MountPoint, Mount]], root_fd: int, user: str, space: list[IdMapping]) -> None:
    """Put in the mappings that were asked for by `idmap` (the source's files are `user`'s) and `owner=`.

    `space`: that of the container's user namespace, empty if it has none. `root_fd`: where names of users are looked
    up. Raises InvalidParameter, OSError.
    """
    for point, mount in pairs:
        if not (point.spec.idmap or point.spec.owner) or mount.source is None:
            continue
        wanted = users.resolve(root_fd, _with_colon(point.spec.owner or user)).user
        info = os.stat(mount.source)
        if not space and (info.st_uid, info.st_gid) == (wanted.uid, wanted.gid):
            continue
        mount.uid_mappings = handed_over(space or EVERYBODY, info.st_uid, wanted.uid)
        mount.gid_mappings = handed_over(space or EVERYBODY, info.st_gid, wanted.gid)
        mount.options.append("ridmap" if "rbind" in mount.options else "idmap")


def _with_colon(owner: str) -> str:
    """UID.GID, as chown(1) takes it, is for clients to whom a colon ends the option."""
    return owner.replace(".", ":") if _DOTTED.fullmatch(owner) else owner


def map_space(mounts: Iterable[Mount], space: list[IdMapping], mapping_fd: int) -> None:
    """Map all other bind mounts of a container with a user namespace, so that files keep the ids which they have on
    the disk, as far as file systems can. `mapping_fd` is a user namespace with the mapping. Raises OSError."""
    for mount in mounts:
        if mount.type != "bind" or mount.uid_mappings or not mount.source:
            continue
        if "rbind" in mount.options and can_map_ids(mount.source, mapping_fd, recursive=True):
            word = "ridmap"
        elif can_map_ids(mount.source, mapping_fd, recursive=False):
            word = "idmap"
        else:
            continue
        mount.uid_mappings = mount.gid_mappings = space
        mount.options.append(word)
