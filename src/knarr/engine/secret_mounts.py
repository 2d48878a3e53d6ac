"""The files of a container's secrets: in a tmpfs of its own on the host, never on a disk, as long as it runs.

RUN/secrets/CONTAINER is that tmpfs; what belongs into /run/secrets is in a directory of it that is mounted there, what
belongs elsewhere is mounted file by file.
"""

from __future__ import annotations

import os
import posixpath
import re
from collections.abc import Sequence
from pathlib import Path

from knarr.compute.spec import Mount
from knarr.engine.config import SecretReference
from knarr.engine.memory_mounts import FLAGS, MemoryMounts
from knarr.errors import InvalidParameter
from knarr.kernel import mounts

DIRECTORY = "/run/secrets"
_OPTIONS = ["rbind", "ro", "rprivate", "nosuid", "nodev", "noexec"]
_SHARED = "shared"
_ROOM = 64 << 10  # bytes for directories, and what a page leaves unused
_ID = re.compile(r"[0-9]{1,10}")


def check(reference: SecretReference) -> None:
    """Raises InvalidParameter for a target, an owner or a mode that makes no sense."""
    target = reference.target
    if not target or target.endswith("/") or "\0" in target or ".." in target.split("/"):
        raise InvalidParameter(f"invalid target of secret {reference.source}: {target!r}")
    for name, text in (("uid", reference.uid), ("gid", reference.gid)):
        if not _ID.fullmatch(text) or int(text) >= 2**32 - 1:
            raise InvalidParameter(f"invalid {name} of secret {reference.source}: {text!r}")
    if not 0 <= reference.mode <= 0o777:
        raise InvalidParameter(f"invalid mode of secret {reference.source}: {reference.mode:o}")


def path_of(reference: SecretReference) -> str:
    """Where it is in the container."""
    return posixpath.normpath(posixpath.join(DIRECTORY, reference.target))


class SecretMounts(MemoryMounts):
    """The directory with those mounts."""

    def make(self, id: str, references: Sequence[SecretReference], contents: Sequence[bytes]) -> list[Mount]:
        """Write the files of a container that is to start; how to mount them. Blocks. Raises OSError."""
        self.remove(id)  # of a run that a reboot ended
        directory = self.path(id)
        self._root.mkdir(mode=0o700, parents=True, exist_ok=True)
        directory.mkdir(mode=0o700)
        room = _ROOM * (1 + len(contents)) + sum(map(len, contents))
        _mount(str(directory), f"mode=0700,size={room}")
        made: dict[str, Mount] = {}
        for number, (reference, content) in enumerate(zip(references, contents, strict=True)):
            path = path_of(reference)
            if path.startswith(f"{DIRECTORY}/"):
                source = directory / _SHARED / path.removeprefix(f"{DIRECTORY}/")
                made[DIRECTORY] = Mount(DIRECTORY, "bind", str(directory / _SHARED), list(_OPTIONS))
            else:
                source = directory / str(number)
                made[path] = Mount(path, "bind", str(source), list(_OPTIONS))
            _write(source, reference, content)
        return list(made.values())


def _mount(path: str, options: str) -> None:
    """Its pages are not to be written to a swap device, which Linux can promise from 6.4 on."""
    try:
        mounts.mount("secrets", path, "tmpfs", FLAGS, f"{options},noswap")
    except OSError:
        mounts.mount("secrets", path, "tmpfs", FLAGS, options)


def _write(path: Path, reference: SecretReference, content: bytes) -> None:
    path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    try:
        os.fchown(fd, int(reference.uid), int(reference.gid))
        os.fchmod(fd, reference.mode)
        view = memoryview(content)
        while view:
            view = view[os.write(fd, view) :]
    finally:
        os.close(fd)
