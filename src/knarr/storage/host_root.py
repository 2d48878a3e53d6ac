"""The root file system of this machine as what lies below a container's: which part of it shows, and how it is mounted.

Root has it as the one lower layer of an overlay. In a user namespace the kernel does not let "/" go without the mounts
on it (locked mounts, mount_namespaces(7)), and overlayfs takes no directory with mounts below: so each directory of "/"
is an overlay of its own on the root's writable layer. Its files are nobody's there, to be read and not to be changed.
"""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterable
from contextlib import ExitStack, suppress

from knarr.kernel import mounts, paths, private_mounts, user_namespaces
from knarr.storage import trees
from knarr.storage.directories import make_opaque
from knarr.storage.trees import DIRECTORY_FLAGS, opened, owned

HIDDEN = (b"proc", b"sys", b"dev", b"run", b"tmp")
_NO_LINKS = paths.RESOLVE_NO_SYMLINKS | paths.RESOLVE_BENEATH | paths.RESOLVE_NO_XDEV


def open_host() -> int:
    """A descriptor of "/", the caller's: without what is mounted on it, where the kernel lets us see that."""
    if user_namespaces.inside():
        return os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    return mounts.open_tree(mounts.AT_FDCWD, "/", clone=True)


def closed() -> list[bytes]:
    """The directories of "/" that an engine in a user namespace may not look into."""
    return [name for name in os.listdir(b"/") if not os.access(b"/" + name, os.R_OK | os.X_OK)]


def furnish(upper: int, hidden: Iterable[bytes]) -> None:
    """Cover in a root over the host's own what is not to be seen: in `upper`, as no lower layer may lie in "/".

    `hidden` are paths. Raises OSError.
    """
    with owned(open_host()) as host:
        for name in HIDDEN:
            os.mkdir(name, 0o755, dir_fd=upper)
            with opened(name, dir_fd=upper) as fd:
                _imitate(host, name, fd)
                make_opaque(fd)
        if user_namespaces.inside():
            _make_places(upper)
        for path in hidden:
            _mask_path(host, upper, path)


def _imitate(host: int, name: bytes, fd: int) -> None:
    """Give a directory the owner and mode of the host's, if it has one."""
    try:
        info = os.stat(name, dir_fd=host)
    except FileNotFoundError:
        return
    if not user_namespaces.inside():
        os.fchown(fd, info.st_uid, info.st_gid)
    os.fchmod(fd, stat.S_IMODE(info.st_mode))


def _make_places(upper: int) -> None:
    """What is in "/": links, and directories for the parts to be mounted on."""
    with os.scandir(b"/") as entries:
        for entry in entries:
            if entry.name in HIDDEN:
                continue
            if entry.is_symlink():
                os.symlink(os.readlink(entry.path), entry.name, dir_fd=upper)
            elif entry.is_dir():
                os.mkdir(entry.name, 0o755, dir_fd=upper)


def without_places(rows: list[tuple[int, str]]) -> list[tuple[int, str]]:
    """Changes without those that `furnish` alone has made to what is in "/": nothing below has changed."""
    if not user_namespaces.inside():
        return rows
    changed = {path.split("/")[1] for _, path in rows if path.count("/") > 1}
    made = {f"/{name}" for name in os.listdir("/")} - {f"/{name}" for name in changed}
    return [(kind, path) for kind, path in rows if path not in made]


def _mask_path(host: int, upper: int, path: bytes) -> None:
    """Hide one directory of the host: a whiteout in `upper`, on the way to it copies of the directories."""
    parts = path.split(b"/")
    if parts[0] in HIDDEN:
        return
    with ExitStack() as stack:
        for depth, part in enumerate(parts[:-1], start=1):
            try:
                below = paths.openat2(host, b"/".join(parts[:depth]), DIRECTORY_FLAGS, resolve=_NO_LINKS)
            except (FileNotFoundError, NotADirectoryError):
                return  # hidden by the mount that it is on
            with owned(below):
                try:
                    os.mkdir(part, 0o700, dir_fd=upper)
                except FileExistsError:
                    upper = stack.enter_context(opened(part, dir_fd=upper))
                    continue
                upper = stack.enter_context(opened(part, dir_fd=upper))
                trees.copy_attributes(below, upper)
        with suppress(FileExistsError):
            os.mknod(parts[-1], stat.S_IFCHR, 0, dir_fd=upper)


def mount_parts(
    root: int, anchor: str, names: Iterable[bytes], mount_part: Callable[[bytes], int], hidden: Iterable[bytes]
) -> int:
    """The detached mount `root` with the parts of the host that `names` are, each on its directory: a detached tree.

    `mount_part` gives the overlay of one. `anchor` is an empty directory. The result is the caller's, `root` is used
    up. Raises OSError.
    """
    tree = -1

    def build() -> None:
        nonlocal tree
        for name in names:
            part = _part(name, mount_part, hidden)
            if part is None:
                continue
            with owned(part), opened(name, os.O_PATH | os.O_DIRECTORY | os.O_NOFOLLOW, root) as place:
                mounts.move_mount(part, place)
        tree = mounts.open_tree(root, "", clone=True, recursive=True)

    with owned(root):
        os.close(private_mounts.assemble(root, anchor, build))
    return tree


def _part(name: bytes, mount_part: Callable[[bytes], int], hidden: Iterable[bytes]) -> int | None:
    """One directory of "/" as a detached mount; None for what is none, may not be
    read, or is another file system."""
    path = b"/" + name
    if os.path.islink(path) or not os.path.isdir(path) or not os.access(path, os.R_OK | os.X_OK):
        return None
    if os.stat(path).st_dev != os.stat("/").st_dev:
        return None
    try:
        return mount_part(name)
    except OSError as error:
        if error.errno != errno.EINVAL or any(one.startswith(name + b"/") for one in hidden):
            raise
    clone = mounts.open_tree(mounts.AT_FDCWD, path, clone=True, recursive=True)  # something is mounted below
    mounts.mount_setattr(clone, set=mounts.MOUNT_ATTR_RDONLY, recursive=True)
    return clone
