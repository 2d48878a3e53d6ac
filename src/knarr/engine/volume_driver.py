"""The local volume driver: directories, or what mount(2) is told by the options type, device and o.

Functions here block: they are called in threads.
"""

from __future__ import annotations

import errno
import os
import secrets
import socket
from contextlib import suppress
from ipaddress import ip_address
from pathlib import Path

from knarr.errors import InvalidParameter, KnarrError
from knarr.kernel import mounts, paths
from knarr.storage import trees

_OPTIONS = frozenset({"type", "device", "o"})
_REMOVED = ".removed-"

# mount(8) option -> (flag, whether it is set); all else is for the file system
_FLAGS: dict[str, tuple[int, bool]] = {
    "ro": (mounts.MS_RDONLY, True),
    "rw": (mounts.MS_RDONLY, False),
    "nosuid": (mounts.MS_NOSUID, True),
    "suid": (mounts.MS_NOSUID, False),
    "nodev": (mounts.MS_NODEV, True),
    "dev": (mounts.MS_NODEV, False),
    "noexec": (mounts.MS_NOEXEC, True),
    "exec": (mounts.MS_NOEXEC, False),
    "sync": (mounts.MS_SYNCHRONOUS, True),
    "async": (mounts.MS_SYNCHRONOUS, False),
    "dirsync": (mounts.MS_DIRSYNC, True),
    "noatime": (mounts.MS_NOATIME, True),
    "atime": (mounts.MS_NOATIME, False),
    "nodiratime": (mounts.MS_NODIRATIME, True),
    "diratime": (mounts.MS_NODIRATIME, False),
    "relatime": (mounts.MS_RELATIME, True),
    "norelatime": (mounts.MS_RELATIME, False),
    "strictatime": (mounts.MS_STRICTATIME, True),
    "bind": (mounts.MS_BIND, True),
    "rbind": (mounts.MS_BIND | mounts.MS_REC, True),
    "defaults": (0, True),
}


def check_options(name: str, options: dict[str, str]) -> None:
    """Raises InvalidParameter in dockerd's words."""
    for option in options:
        if option == "size":
            raise InvalidParameter(f"create {name}: quota size requested but no quota support")
        if option not in _OPTIONS:
            raise InvalidParameter(f'create {name}: invalid option: "{option}"')
    for option in ("type", "device") if options else ():
        if not options.get(option):
            raise InvalidParameter(f'create {name}: missing required option: "{option}"')


def _is_mounted(path: Path) -> bool:
    """Whether something is mounted on a directory. Path.is_mount does not see binds within one file system."""
    with trees.opened(str(path.parent), os.O_PATH | os.O_DIRECTORY) as parent:
        try:
            os.close(paths.openat2(parent, path.name, os.O_PATH, resolve=paths.RESOLVE_NO_XDEV))
        except OSError as error:
            if error.errno == errno.EXDEV:
                return True
            raise
    return False


class LocalDriver:
    """The volumes' directories: `<root>/<name>/_data`."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def path(self, name: str) -> Path:
        """Where the content of a volume is."""
        return self._root / name / "_data"

    def create(self, name: str) -> None:
        """Make the directories; those that exist stay."""
        self._root.mkdir(mode=0o701, parents=True, exist_ok=True)
        (self._root / name).mkdir(mode=0o701, exist_ok=True)
        self.path(name).mkdir(exist_ok=True)
        os.chmod(self.path(name), 0o755)

    def set_aside(self, name: str) -> str:
        """Take a volume's directory out of the way in one step; what to give to `delete`. A missing one is fine."""
        self.unmount(name)
        aside = f"{_REMOVED}{secrets.token_hex(8)}"
        try:
            os.rename(self._root / name, self._root / aside)
        except FileNotFoundError:
            pass
        return aside

    def delete(self, aside: str) -> int:
        """Delete what `set_aside` has set aside; how many bytes there were."""
        with trees.opened(str(self._root)) as root:
            try:
                with trees.opened(aside, dir_fd=root) as directory:
                    size = trees.usage(directory)
            except FileNotFoundError:
                return 0
            trees.remove_tree(root, aside)
        return size

    def sweep(self, known: set[str]) -> None:
        """Delete what a crash has left set aside, or has left empty before it became a volume."""
        if not self._root.is_dir():
            return
        for name in os.listdir(self._root):
            if name.startswith(_REMOVED):
                self.unmount(name)
                self.delete(name)
            elif name not in known:
                for directory in (self.path(name), self._root / name):
                    with suppress(OSError):  # what has something in it is somebody's, and no volume of ours
                        directory.rmdir()

    def usage(self, name: str) -> int:
        """Bytes in a volume; 0 if its directory is gone."""
        try:
            with trees.opened(str(self.path(name))) as directory:
                return trees.usage(directory)
        except FileNotFoundError:
            return 0

    def mount(self, name: str, options: dict[str, str]) -> None:
        """Mount what the options describe on the volume's directory, unless it is there. Raises KnarrError."""
        path = self.path(name)
        if not options or _is_mounted(path):
            return
        flags, data = _parse_mount_options(options.get("o", ""))
        try:
            mounts.mount(options["device"], str(path), options["type"], flags, data or None)
        except OSError as error:
            details = (f", flags: {flags:#x}" if flags else "") + (f", data: {data}" if data else "")
            raise KnarrError(
                f"error while mounting volume '{path}': failed to mount local volume: "
                f"mount {options['device']}:{path}{details}: {(error.strerror or '').lower()}"
            ) from None

    def unmount(self, name: str) -> None:
        """Undo `mount`; without one, nothing happens."""
        path = self.path(name)
        try:
            while _is_mounted(path):
                mounts.umount(str(path), mounts.MNT_DETACH)
        except FileNotFoundError:
            pass

    def fill(self, name: str, root_fd: int, path: str) -> None:
        """Copy what is at `path` in a root to an empty volume: content, owners, modes, extended attributes.

        A volume that has something in it stays as it is; so it does where the root has nothing. Raises
        InvalidParameter where the root has something that is no directory.
        """
        try:
            source = paths.open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
        except OSError as error:
            if error.errno == errno.ENOTDIR:
                raise InvalidParameter(f"cannot mount volume over existing file, file exists {path}") from None
            if error.errno in (errno.ENOENT, errno.ELOOP):
                return
            raise
        with trees.owned(source), trees.opened(str(self.path(name))) as target:
            if not os.listdir(target):
                trees.copy_tree(source, target)

    def open_part(self, name: str, subpath: str) -> int:
        """An O_PATH descriptor of a file or directory inside a volume. Raises InvalidParameter."""
        with trees.opened(str(self.path(name))) as top:
            try:
                return paths.open_in_root(top, subpath)
            except OSError as error:
                raise InvalidParameter(
                    f"cannot access path {self.path(name)}/{subpath}: {(error.strerror or '').lower()}"
                ) from None


def _parse_mount_options(text: str) -> tuple[int, str]:
    """Flags and data. A name in nfs' addr= is resolved, as the kernel wants a number there."""
    flags, data = 0, []
    for word in filter(None, text.split(",")):
        if word in _FLAGS:
            flag, on = _FLAGS[word]
            flags = flags | flag if on else flags & ~flag
        elif word.startswith("addr="):
            data.append(f"addr={_resolve(word.removeprefix('addr='))}")
        else:
            data.append(word)
    return flags, ",".join(data)


def _resolve(host: str) -> str:
    try:
        return str(ip_address(host))
    except ValueError:
        pass
    try:
        return str(socket.getaddrinfo(host, None)[0][4][0])
    except OSError as error:
        raise KnarrError(f"error resolving passed in network volume address: {error}") from None
