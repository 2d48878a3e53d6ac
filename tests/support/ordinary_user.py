"""An ordinary user for tests that root runs: what a new process does to become one who can run this interpreter."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from knarr.kernel import mounts
from knarr.kernel.namespaces import CLONE_NEWNS, unshare
from knarr.kernel.processes import PR_SET_DUMPABLE, prctl

USER = 4321
"""In no passwd file, so that nobody else's limits count."""


def become(uid: int = USER, *needed: Path) -> None:
    """To be called before exec, as root. Whatever is root's alone on the way to the interpreter, to knarr and to
    `needed` is covered, in a mount namespace of the process's own, by directories that lead just there."""
    open_ways(*needed)
    os.setgroups([])
    os.setresgid(uid, uid, uid)
    os.setresuid(uid, uid, uid)
    prctl(PR_SET_DUMPABLE, 1)  # its files in /proc are its own


def open_ways(*needed: Path) -> None:
    """The first half of `become`: the mount namespace."""
    unshare(CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_PRIVATE)
    for path in (Path(sys.executable).parent, Path(sys.prefix), Path(sys.base_prefix), Path(__file__), *needed):
        _open_way(path)


def _open_way(path: Path) -> None:
    for directory in reversed(path.parents):
        if directory.stat().st_mode & 0o005 != 0o005:
            _uncover(directory, directory / path.relative_to(directory).parts[0])
            return _open_way(path)
    return None


def _uncover(directory: Path, inside: Path) -> None:
    """Put in the place of `directory` one that everybody may enter, with nothing but `inside`."""
    tree = mounts.open_tree(mounts.AT_FDCWD, str(inside), clone=True, recursive=True)
    mounts.mount("tmpfs", str(directory), "tmpfs", data="mode=755")
    if os.path.isdir(f"/proc/self/fd/{tree}"):
        inside.mkdir()
    else:
        inside.touch()
    target = os.open(inside, os.O_PATH)
    mounts.move_mount(tree, target)
    os.close(target)
    os.close(tree)
