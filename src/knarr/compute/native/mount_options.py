"""Mount options in the words of fstab(5) and the runtime spec, turned into attributes, propagation and data."""

from __future__ import annotations

from knarr.compute.native.operations import AnyOperation, BindMount, MountFilesystem, Remount
from knarr.compute.spec import IdMapping, Linux, Mount
from knarr.errors import InvalidParameter, Unsupported
from knarr.kernel import mounts

# option -> (attributes to set, attributes to clear); an r in front makes it recursive
_ATTRIBUTES: dict[str, tuple[int, int]] = {
    "ro": (mounts.MOUNT_ATTR_RDONLY, 0),
    "rw": (0, mounts.MOUNT_ATTR_RDONLY),
    "nosuid": (mounts.MOUNT_ATTR_NOSUID, 0),
    "suid": (0, mounts.MOUNT_ATTR_NOSUID),
    "nodev": (mounts.MOUNT_ATTR_NODEV, 0),
    "dev": (0, mounts.MOUNT_ATTR_NODEV),
    "noexec": (mounts.MOUNT_ATTR_NOEXEC, 0),
    "exec": (0, mounts.MOUNT_ATTR_NOEXEC),
    "nodiratime": (mounts.MOUNT_ATTR_NODIRATIME, 0),
    "diratime": (0, mounts.MOUNT_ATTR_NODIRATIME),
    "relatime": (0, mounts.MOUNT_ATTR__ATIME),
    "norelatime": (mounts.MOUNT_ATTR_STRICTATIME, mounts.MOUNT_ATTR__ATIME),
    "noatime": (mounts.MOUNT_ATTR_NOATIME, mounts.MOUNT_ATTR__ATIME),
    "atime": (0, mounts.MOUNT_ATTR__ATIME),
    "strictatime": (mounts.MOUNT_ATTR_STRICTATIME, mounts.MOUNT_ATTR__ATIME),
    "nostrictatime": (0, mounts.MOUNT_ATTR__ATIME),
    "nosymfollow": (mounts.MOUNT_ATTR_NOSYMFOLLOW, 0),
    "symfollow": (0, mounts.MOUNT_ATTR_NOSYMFOLLOW),
}
_PROPAGATIONS = {
    "private": mounts.MS_PRIVATE,
    "slave": mounts.MS_SLAVE,
    "shared": mounts.MS_SHARED,
    "unbindable": mounts.MS_UNBINDABLE,
}
_SUPERBLOCK_FLAGS = {"sync", "dirsync", "lazytime", "mand"}
# What is so anyway, or nothing to the kernel's newer calls: file systems that count versions always do.
_NOTHING = {"defaults", "async", "nolazytime", "nomand", "loud", "silent", "iversion", "noiversion", "nofail"}


def known() -> list[str]:
    """All options that are not a file system's own, sorted."""
    recursive = {f"r{option}" for option in (*_ATTRIBUTES, *_PROPAGATIONS, "bind", "idmap")}
    other = {"bind", "idmap", "remount", "tmpcopyup"}
    return sorted({*_ATTRIBUTES, *_PROPAGATIONS, *_SUPERBLOCK_FLAGS, *_NOTHING, *recursive, *other})


class _Parsed:
    def __init__(self, options: list[str]) -> None:
        self.set = self.clear = 0
        self.recursive_set = self.recursive_clear = 0
        self.bind = self.recursive_bind = False
        self.propagation = 0
        self.recursive_propagation = False
        self.idmap = self.recursive_idmap = False
        self.remount = self.copy_up = False
        self.data: list[tuple[str, str | None]] = []
        for option in options:
            self._take(option)

    def _take(self, option: str) -> None:
        recursive = option[1:] if option.startswith("r") else ""
        if option in ("bind", "rbind"):
            self.bind, self.recursive_bind = True, self.recursive_bind or option == "rbind"
        elif option in _ATTRIBUTES:
            on, off = _ATTRIBUTES[option]
            self.set, self.clear = self.set & ~off | on, self.clear & ~on | off
        elif recursive in _ATTRIBUTES:
            on, off = _ATTRIBUTES[recursive]
            self.recursive_set, self.recursive_clear = self.recursive_set & ~off | on, self.recursive_clear & ~on | off
        elif option in _PROPAGATIONS or recursive in _PROPAGATIONS:
            self.recursive_propagation = option not in _PROPAGATIONS
            self.propagation = _PROPAGATIONS[recursive if self.recursive_propagation else option]
        elif option in ("idmap", "ridmap"):
            self.idmap, self.recursive_idmap = True, option == "ridmap"
        elif option == "remount":
            self.remount = True
        elif option == "tmpcopyup":
            self.copy_up = True
        elif option not in _NOTHING:
            self._take_data(option)

    def _take_data(self, option: str) -> None:
        key, separator, value = option.partition("=")
        self.data.append((key, value if separator and option not in _SUPERBLOCK_FLAGS else None))


def plan_mount(mount: Mount, linux: Linux | None = None) -> list[AnyOperation]:
    """The operations for one mount of a spec; it may be mapped like the system of which that has the part `linux`.

    Raises InvalidParameter and Unsupported.
    """
    if not mount.destination.startswith("/"):
        raise InvalidParameter(f"mount destination {mount.destination} not absolute")
    parsed = _Parsed(mount.options)
    if parsed.copy_up and mount.type != "tmpfs":
        raise InvalidParameter(f"mount option tmpcopyup is for tmpfs only: {mount.destination}")
    if parsed.remount:
        return [_remount(mount, parsed)]
    if parsed.bind or mount.type == "bind":
        return [_bind(mount, parsed, linux or Linux())]
    if not mount.type:
        raise InvalidParameter(f"mount at {mount.destination} has no type")
    if mount.uid_mappings or mount.gid_mappings or parsed.idmap:
        raise Unsupported("id-mapped mounts other than bind mounts are not supported by the native runtime")
    return [
        MountFilesystem(
            fstype=mount.type,
            destination=mount.destination,
            source=mount.source or "",
            attributes=parsed.set | parsed.recursive_set,
            options=parsed.data,
            propagation=parsed.propagation,
            copy_up=parsed.copy_up,
        )
    ]


def _remount(mount: Mount, parsed: _Parsed) -> Remount:
    """With "bind" the mount alone is changed, else its file system too."""
    return Remount(
        destination=mount.destination,
        set=parsed.set,
        clear=parsed.clear,
        options=[] if parsed.bind else parsed.data,
        propagation=parsed.propagation,
    )


def _bind(mount: Mount, parsed: _Parsed, linux: Linux) -> BindMount:
    """Options of file systems (mode=755) mean nothing to one that is there, as for mount(2)."""
    if not mount.source:
        raise InvalidParameter(f"bind mount at {mount.destination} has no source")
    users, groups = mount.uid_mappings, mount.gid_mappings
    if parsed.idmap and not users and not groups:
        users, groups = linux.uid_mappings, linux.gid_mappings
    if bool(users) != bool(groups) or (parsed.idmap and not users):
        raise InvalidParameter(f"an id-mapped mount needs uidMappings and gidMappings: {mount.destination}")
    clear_atime = parsed.set & mounts.MOUNT_ATTR__ATIME
    return BindMount(
        source=mount.source,
        destination=mount.destination,
        recursive=parsed.recursive_bind,
        set=parsed.set | parsed.recursive_set,
        clear=parsed.clear | parsed.recursive_clear | (mounts.MOUNT_ATTR__ATIME if clear_atime else 0),
        recursive_attributes=bool(parsed.recursive_set or parsed.recursive_clear),
        propagation=parsed.propagation or mounts.MS_PRIVATE,
        recursive_propagation=parsed.recursive_propagation or not parsed.propagation,
        uid_map=id_map(users),
        gid_map=id_map(groups),
        recursive_map=parsed.recursive_idmap,
    )


def id_map(mappings: list[IdMapping]) -> str:
    """The lines of /proc/PID/uid_map for mappings."""
    return "".join(f"{entry.container_id} {entry.host_id} {entry.size}\n" for entry in mappings)
