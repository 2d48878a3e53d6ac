"""`RUN --mount`: from what the Dockerfile says to files of the host, for the time of one step."""

from __future__ import annotations

import asyncio
import os
import posixpath
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from pathlib import Path

from knarr.build import cache
from knarr.build.interface import StepMount
from knarr.build.kept import KeptDirectories
from knarr.build.threads import in_thread
from knarr.dockerfile.run_mounts import RunMount
from knarr.errors import InvalidParameter, Unsupported
from knarr.kernel import paths

Tree = Callable[[str, AsyncExitStack], Awaitable[int]]
"""Gives the root of a stage, an image or (for "") the context, as long as the stack is open."""


class CacheDirectories:
    """The directories of `--mount=type=cache`, which live on from build to build."""

    def __init__(self, kept: KeptDirectories) -> None:
        self._kept = kept
        self._locks: dict[str, asyncio.Lock] = {}

    async def enter(
        self, mount: RunMount, stack: AsyncExitStack, fill: Callable[[Path], None] = lambda path: None
    ) -> str:
        """The directory of a mount, made with its owner if missing; to this step alone unless `sharing` is shared.

        `fill` brings a new one its content, in a thread.
        """
        name = cache.key(mount.id or mount.target)
        if mount.sharing != "shared":
            await stack.enter_async_context(self._locks.setdefault(name, asyncio.Lock()))

        def make(path: Path) -> None:
            path.mkdir(mode=0o700)
            fill(path)
            os.chmod(path, 0o755 if mount.mode is None else mount.mode)
            os.chown(path, mount.uid, mount.gid)

        stack.callback(os.close, await in_thread(self._kept.hold, name, make))
        return str(self._kept.root / name)


async def enter(
    mounts: list[RunMount], working_dir: str, directories: CacheDirectories, tree: Tree, stack: AsyncExitStack
) -> list[StepMount]:
    """The mounts of a step, there as long as `stack` is open. Raises InvalidParameter, Unsupported, NotFound."""
    found = []
    for mount in mounts:
        target = posixpath.normpath(posixpath.join("/", working_dir, mount.target))
        match mount.kind:
            case "tmpfs":
                found.append(StepMount(target=target, tmpfs=True, size=mount.size))
            case "cache":
                if mount.from_stage or mount.source:
                    raise Unsupported("a cache mount with from or source is not supported")
                source = await directories.enter(mount, stack)
                found.append(StepMount(target=target, source=source, readonly=mount.readonly))
            case "bind":
                root_fd = await tree(mount.from_stage, stack)
                found.append(StepMount(target=target, source=_part(root_fd, mount.source, stack), readonly=True))
            case _:
                raise Unsupported(
                    "the --mount option requires BuildKit. Refer to https://docs.docker.com/go/buildkit/ to learn how "
                    f"to build images with BuildKit enabled: type={mount.kind} needs the client's session"
                )
    return found


def _part(root_fd: int, path: str, stack: AsyncExitStack) -> str:
    """A file or directory of a tree by its descriptor, which stays open with `stack`."""
    try:
        fd = paths.open_in_root(root_fd, path)
    except OSError as error:
        raise InvalidParameter(f'failed to mount "{path}": {(error.strerror or "").lower()}') from None
    stack.callback(os.close, fd)
    return f"/proc/{os.getpid()}/fd/{fd}"
