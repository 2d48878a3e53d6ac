"""Runs a command as an ordinary user with an account: subordinate_user.py [--one-id] HOME COMMAND...

Root is needed, and nothing of the machine is changed: the account exists in a mount namespace only, in files over
/etc/passwd and its kin. Its subordinate ids do too; with --one-id it has none.
"""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

from ordinary_user import open_ways

import knarr
from knarr.kernel import mounts

NAME, ID = "knarr-test", 54321
_SUBORDINATE = f"{NAME}:600100000:65536\n"
_RECORDS = {
    "passwd": f"{NAME}:x:{ID}:{ID}::/nonexistent:/bin/sh\n",
    "group": f"{NAME}:x:{ID}:\n",
}
_TUN = Path("/dev/net/tun")


def main() -> None:
    """Does not return."""
    arguments = sys.argv[1:]
    one_id = arguments[0] == "--one-id"
    home, *command = arguments[1:] if one_id else arguments
    open_ways(Path(knarr.__file__).parent)
    subordinate = "" if one_id else _SUBORDINATE
    for name, record in {**_RECORDS, "subuid": subordinate, "subgid": subordinate}.items():
        path = Path("/etc", name)
        _cover_file(path, (path.read_text() if name in _RECORDS else "") + record)
    if _TUN.exists():
        _open_to_all(_TUN)
    Path(home).mkdir(mode=0o700, exist_ok=True)
    os.chown(home, ID, ID)
    os.setgroups([])
    os.setresgid(ID, ID, ID)
    os.setresuid(ID, ID, ID)
    os.execvpe(command[0], command, {**os.environ, "HOME": home})


def _cover_file(path: Path, content: str) -> None:
    place = mounts.mount_detached("tmpfs")
    fd = os.open("file", os.O_WRONLY | os.O_CREAT, 0o644, dir_fd=place)
    os.write(fd, content.encode())
    os.close(fd)
    os.chmod("file", 0o644, dir_fd=place)
    _attach(mounts.open_tree(place, "file", clone=True), path)
    os.close(place)


def _open_to_all(node: Path) -> None:
    """Let everybody use a device, as udev does with this one."""
    place = mounts.mount_detached("tmpfs")
    os.mknod("node", stat.S_IFCHR | 0o666, node.stat().st_rdev, dir_fd=place)
    os.chmod("node", 0o666, dir_fd=place)
    _attach(mounts.open_tree(place, "node", clone=True), node)
    os.close(place)


def _attach(tree: int, path: Path) -> None:
    target = os.open(path, os.O_PATH | os.O_CLOEXEC)
    mounts.move_mount(tree, target)
    os.close(target)
    os.close(tree)


if __name__ == "__main__":
    main()
