"""What is done to the file system view of a new system, as a list of small operations.

The planner makes them in knarrd; the shim calls `prepare` on each before clone3 (with the host's view and rights: it
opens what comes from outside), the new process calls `execute` inside its own namespaces. Every target is resolved
inside the root by descriptor; nothing is joined as strings.
"""

from __future__ import annotations

import errno
import os
import stat

from knarr.kernel import device_nodes, filesystems, mounts, paths, user_namespaces
from knarr.light import NamedTuple, Struct, field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

DEVICE_TYPES = {"c": stat.S_IFCHR, "u": stat.S_IFCHR, "b": stat.S_IFBLK, "p": stat.S_IFIFO}


class Scene(NamedTuple):
    """What operations act on: the attached root, and the host's /dev/null as seen in the new mount namespace."""

    root_fd: int
    null_fd: int


class Operation(Struct, tag=True, tag_field="op"):
    """One step. `prepare` may return a descriptor, which `execute` gets and closes."""

    def prepare(self) -> int | None:
        """Open what the step needs of the host. Raises OSError."""
        return None

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Carry the step out inside the new namespaces. Raises OSError."""
        raise AssertionError

    def describe(self) -> str:
        """The step for an error message."""
        return str(self)


# Files that tools like lxcfs replace; anything else in /proc that a mount covers could fool the set-up (runc's list).
_PROC_ALLOWED = frozenset(
    {
        "/proc/cpuinfo",
        "/proc/diskstats",
        "/proc/loadavg",
        "/proc/meminfo",
        "/proc/slabinfo",
        "/proc/stat",
        "/proc/swaps",
        "/proc/sys/crypto/fips_enabled",
        "/proc/sys/kernel/ns_last_pid",
        "/proc/uptime",
    }
)


def _require_outside_proc(target: int, destination: str) -> None:
    """Refuse a mount onto procfs, other than on the few files that are known to be harmless."""
    if "/" + "/".join(paths.split(destination)) in _PROC_ALLOWED:
        return
    if filesystems.magic(target) == filesystems.PROC_SUPER_MAGIC:
        raise OSError(errno.EPERM, "cannot be mounted because it is inside /proc", destination)


class MountFilesystem(Operation):
    """Mount a new instance of a filesystem. `attributes` are MOUNT_ATTR_*; `propagation` MS_* or 0.

    A tmpfs has the mode of the directory that it covers, and with `copy_up` its owner and content too; `options`
    count more. `root_label` is for SELinux.
    """

    fstype: str
    destination: str
    source: str = ""
    attributes: int = 0
    options: list[tuple[str, str | None]] = field(default_factory=list)
    propagation: int = 0
    copy_up: bool = False
    root_label: str = ""

    def prepare(self) -> int | None:
        """Import what copies while the host's files can be seen: few systems ask for it."""
        if self.copy_up:
            from knarr.compute.native import copying  # noqa: F401
        return None

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Make the instance first, so that a wrong option leaves no directory behind."""
        options = [("source", self.source), *self.options] if self.source else [*self.options]
        if self.fstype == "tmpfs":
            options[:0] = self._covered(scene.root_fd)
        late = self.attributes & mounts.MOUNT_ATTR_RDONLY if self.copy_up else 0
        mount_fd = mounts.mount_detached(self.fstype, options, self.attributes & ~late)
        try:
            if self.root_label:
                os.setxattr(f"/proc/self/fd/{mount_fd}", "security.selinux", self.root_label.encode() + b"\0")
            target = self._open_target(scene.root_fd)
            try:
                _require_outside_proc(target, self.destination)
                if self.copy_up:
                    self._copy_up(target, mount_fd, late)
                if self.propagation:
                    mounts.mount_setattr(mount_fd, propagation=self.propagation)
                mounts.move_mount(mount_fd, target)
            finally:
                os.close(target)
        finally:
            os.close(mount_fd)

    def _covered(self, root_fd: int) -> list[tuple[str, str | None]]:
        """What the directory that will be covered has, as options: of the same option twice the last one counts."""
        try:
            target = paths.open_in_root(root_fd, self.destination)
        except OSError:
            return []
        try:
            status = os.fstat(target)
        finally:
            os.close(target)
        found: list[tuple[str, str | None]] = [("mode", f"{stat.S_IMODE(status.st_mode):o}")]
        if self.copy_up:
            found += [("uid", str(status.st_uid)), ("gid", str(status.st_gid))]
        return found

    def _copy_up(self, target: int, mount_fd: int, attributes: int) -> None:
        from knarr.compute.native import copying

        copying.copy_content(target, mount_fd)
        if attributes:
            mounts.mount_setattr(mount_fd, set=attributes)

    def _open_target(self, root_fd: int) -> int:
        """procfs and sysfs go where their name says: an image must not move them by a symbolic link."""
        if self.fstype in ("proc", "sysfs"):
            try:
                flags = os.O_PATH | os.O_DIRECTORY
                return paths.open_in_root(root_fd, self.destination, flags, resolve=paths.RESOLVE_NO_SYMLINKS)
            except FileNotFoundError:
                pass
            except OSError as error:
                if error.errno in (errno.ELOOP, errno.ENOTDIR):
                    raise OSError(error.errno, "must be mounted on ordinary directory") from None
                raise
        return paths.make_directories(root_fd, self.destination)

    def describe(self) -> str:
        return f"mounting {self.fstype} at {self.destination}"


_WRONG_TYPE = (
    "not a directory: are you trying to mount a directory onto a file (or vice-versa)? "
    "Check if the specified host path exists and is the expected type"
)


class BindMount(Operation):
    """Show a path of the host at `destination`. The clone is taken in the host's mount namespace, so that shared
    propagation relates to the host's mount; or where it makes no difference in the new one, so that mounts are listed
    in their order. That has the root at `root_path`; "" if it may not be done. `uid_map` and `gid_map` (lines of "id in
    the file system, id of the host, count") change whom its files belong to."""

    source: str
    destination: str
    recursive: bool = True
    set: int = 0
    clear: int = 0
    recursive_attributes: bool = False
    propagation: int = mounts.MS_PRIVATE
    recursive_propagation: bool = True
    uid_map: str = ""
    gid_map: str = ""
    recursive_map: bool = False
    root_path: str = ""

    def prepare(self) -> int | None:
        """Clone the source's mount while it is the host's, if that matters."""
        return self._clone() if not self.root_path or self._has_relations() else None

    def _has_relations(self) -> bool:
        """With mounts of the host, or with the new root, which would be a part of itself."""
        if self.propagation & mounts.MS_SHARED and mounts.any_shared():
            return True
        source = os.path.realpath(self.source).rstrip("/")
        return self.recursive and f"{os.path.realpath(self.root_path)}/".startswith(f"{source}/")

    def _clone(self) -> int:
        """Map ids while nobody else sees it."""
        clone = mounts.open_tree(mounts.AT_FDCWD, self.source, clone=True, recursive=self.recursive)
        if self.uid_map:
            try:
                self._map_ids(clone)
            except BaseException:
                os.close(clone)
                raise
        return clone

    def _map_ids(self, clone: int) -> None:
        users = user_namespaces.mapping(self.uid_map, self.gid_map)
        try:
            mounts.mount_setattr(clone, set=mounts.MOUNT_ATTR_IDMAP, userns_fd=users, recursive=self.recursive_map)
        except OSError as error:
            if error.errno == errno.EINVAL:
                words = "its file system, or one mounted below it, does not support id-mapped mounts"
            elif error.errno == errno.EPERM:
                words = "it is, or has below it, an id-mapped mount already"
            else:
                raise
            raise OSError(errno.EOPNOTSUPP, f"ids cannot be mapped: {words}") from None

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Attach the clone on a directory or file that is made where missing."""
        if fd is not None:
            self._attach(scene, fd)
            return
        fd = self._clone()
        try:
            self._attach(scene, fd)
        finally:
            os.close(fd)

    def _attach(self, scene: Scene, fd: int) -> None:
        target = self._make_target(scene.root_fd, stat.S_ISDIR(os.fstat(fd).st_mode))
        try:
            _require_outside_proc(target, self.destination)
            if not self.recursive:
                mounts.mount_setattr(fd, set=self.set, clear=self.clear, propagation=self.propagation)
            else:
                mounts.mount_setattr(fd, propagation=self.propagation, recursive=self.recursive_propagation)
                mounts.mount_setattr(fd, set=self.set, clear=self.clear, recursive=self.recursive_attributes)
            mounts.move_mount(fd, target)
        finally:
            os.close(target)

    def _make_target(self, root_fd: int, is_directory: bool) -> int:
        if is_directory:
            try:
                return paths.make_directories(root_fd, self.destination)
            except NotADirectoryError:
                raise OSError(errno.ENOTDIR, _WRONG_TYPE) from None
        target = paths.make_file(root_fd, self.destination)
        if stat.S_ISDIR(os.fstat(target).st_mode):
            os.close(target)
            raise OSError(errno.ENOTDIR, _WRONG_TYPE)
        return target

    def describe(self) -> str:
        return f"mounting {self.source} to rootfs at {self.destination}"


class MakeDirectory(Operation):
    """mkdir -p with an owner for what is new: the working directory."""

    path: str
    uid: int = 0
    gid: int = 0

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Make what is missing."""
        os.close(paths.make_directories(scene.root_fd, self.path, uid=self.uid, gid=self.gid))

    def describe(self) -> str:
        return f"mkdir {self.path}"


class MakeDevice(Operation):
    """mknod, or with `bind` a bind of the host's node where the kernel refuses mknod (a user namespace)."""

    path: str
    type: str
    major: int
    minor: int
    mode: int
    uid: int = 0
    gid: int = 0
    bind: bool = False

    def prepare(self) -> int | None:
        """Open the host's node where it will be bound."""
        if not self.bind:
            return None
        path = device_nodes.path_of(self.type, self.major, self.minor) or self.path
        return mounts.open_tree(mounts.AT_FDCWD, path, clone=True)

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Make the node in a directory found inside the root; an existing file there is replaced."""
        if fd is not None:
            _attach_node(scene, self.path, fd)
            return
        *parents, name = paths.split(self.path)
        directory = paths.make_directories(scene.root_fd, "/".join(parents))
        try:
            self.make_node(directory, name)
        finally:
            os.close(directory)

    def make_node(self, directory: int, name: str) -> None:
        """Make it in a directory; a file of that name is replaced."""
        kind = DEVICE_TYPES[self.type]
        number = os.makedev(self.major, self.minor)
        try:
            os.mknod(name, kind | self.mode, number, dir_fd=directory)
        except FileExistsError:
            os.unlink(name, dir_fd=directory)
            os.mknod(name, kind | self.mode, number, dir_fd=directory)
        node = paths.openat2(directory, name, os.O_PATH | os.O_NOFOLLOW)
        try:
            made = os.fstat(node)
            if stat.S_IFMT(made.st_mode) != kind or (kind != stat.S_IFIFO and made.st_rdev != number):
                raise OSError(errno.EEXIST, "device node was replaced while it was made", self.path)
        finally:
            os.close(node)
        os.chown(name, self.uid, self.gid, dir_fd=directory, follow_symlinks=False)

    def describe(self) -> str:
        return f"creating device node {self.path}"


def _attach_node(scene: Scene, path: str, fd: int) -> None:
    target = paths.make_file(scene.root_fd, path)
    try:
        mounts.move_mount(fd, target)
    finally:
        os.close(target)


class LendDevice(MakeDevice):
    """A device for a user namespace, which may make none: made on a file system of the host's, owner in its ids."""

    def prepare(self) -> int | None:
        """Make it where nobody sees it."""
        place = mounts.mount_detached("tmpfs", [("mode", "700")])
        try:
            self.make_node(place, "node")
            return mounts.open_tree(place, "node", clone=True)
        finally:
            os.close(place)


class Symlink(Operation):
    """A symbolic link, unless something is there already."""

    path: str
    target: str

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Make the link in a directory found inside the root."""
        *parents, name = paths.split(self.path)
        directory = paths.make_directories(scene.root_fd, "/".join(parents))
        try:
            os.symlink(self.target, name, dir_fd=directory)
        except FileExistsError:
            pass
        finally:
            os.close(directory)

    def describe(self) -> str:
        return f"creating symlink {self.path}"


_EMPTY: list[tuple[str, str | None]] = [("size", "0"), ("nr_inodes", "1"), ("mode", "755")]


def _cover(scene: Scene, path: str, make_cover: Callable[[int], int]) -> None:
    """Mount over what is at a path, if there is anything: `make_cover` gets its descriptor and gives a mount's."""
    try:
        target = paths.open_in_root(scene.root_fd, path)
    except (FileNotFoundError, NotADirectoryError):
        return
    try:
        cover = make_cover(target)
        try:
            mounts.move_mount(cover, target)
        finally:
            os.close(cover)
    finally:
        os.close(target)


class MaskPath(Operation):
    """Make a path unreadable: /dev/null over a file, an empty read-only tmpfs over a directory. Missing is fine.

    `label` is the tmpfs's for SELinux.
    """

    path: str
    label: str = ""

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Mount over it."""

        def mask(target: int) -> int:
            if stat.S_ISDIR(os.fstat(target).st_mode):
                options = [*_EMPTY, ("context", self.label)] if self.label else _EMPTY
                return mounts.mount_detached("tmpfs", options, mounts.MOUNT_ATTR_RDONLY)
            return mounts.open_tree(scene.null_fd, "", clone=True)

        _cover(scene, self.path, mask)

    def describe(self) -> str:
        return f"masking {self.path}"


class ReadonlyPath(Operation):
    """Make a path read-only by a bind of itself. Missing is fine."""

    path: str

    def execute(self, scene: Scene, fd: int | None) -> None:
        """Bind and set read-only before it is attached."""
        _cover(scene, self.path, _readonly_clone)

    def describe(self) -> str:
        return f"making {self.path} read-only"


def _readonly_clone(target: int) -> int:
    clone = mounts.open_tree(target, "", clone=True, recursive=True)
    try:
        mounts.mount_setattr(clone, set=mounts.MOUNT_ATTR_RDONLY, recursive=True)
    except OSError:
        os.close(clone)
        raise
    return clone


class Remount(Operation):
    """Change a mount that an earlier operation has made: attributes as in `BindMount`, options of its file system."""

    destination: str
    set: int = 0
    clear: int = 0
    options: list[tuple[str, str | None]] = field(default_factory=list)
    propagation: int = 0

    def execute(self, scene: Scene, fd: int | None) -> None:
        """mount_setattr(2) on what is mounted there, fspick(2) for its file system."""
        target = paths.open_in_root(scene.root_fd, self.destination)
        try:
            mounts.mount_setattr(target, set=self.set, clear=self.clear, propagation=self.propagation)
            if self.options:
                mounts.reconfigure(target, self.options)
        finally:
            os.close(target)

    def describe(self) -> str:
        return f"remounting {self.destination}"


class SetAttributes(Operation):
    """Change the attributes (MOUNT_ATTR_*) of the mount that is at a path."""

    path: str
    set: int

    def execute(self, scene: Scene, fd: int | None) -> None:
        """mount_setattr on what is mounted there."""
        target = paths.open_in_root(scene.root_fd, self.path)
        try:
            mounts.mount_setattr(target, set=self.set)
        finally:
            os.close(target)

    def describe(self) -> str:
        return f"changing the mount at {self.path}"


AnyOperation = (
    MountFilesystem
    | BindMount
    | MakeDirectory
    | MakeDevice
    | LendDevice
    | Symlink
    | MaskPath
    | ReadonlyPath
    | Remount
    | SetAttributes
)
