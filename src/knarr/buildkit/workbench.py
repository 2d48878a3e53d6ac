"""What a step finds mounted: parts of other file systems, caches that outlive it, secrets, sockets, scripts.

Each step has a tmpfs on the host, mounted for it alone: what is secret is never on a disk.
"""

from __future__ import annotations

import asyncio
import os
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, ExitStack, asynccontextmanager, contextmanager
from pathlib import Path

import msgspec
from msgspec import Struct, field

from knarr.build.interface import StepMount
from knarr.build.run_mounts import CacheDirectories
from knarr.build.threads import in_thread
from knarr.build.transfer import MissingFile
from knarr.buildkit import callbacks
from knarr.buildkit.contexts import Context
from knarr.buildkit.graph import MountedInput, Run
from knarr.buildkit.keys import Content
from knarr.buildkit.keys import content as key_of
from knarr.buildkit.remote import RemoteContext
from knarr.buildkit.sessions import Session
from knarr.dockerfile.run_mounts import RunMount
from knarr.errors import InvalidParameter, NotFound
from knarr.kernel import mounts, paths
from knarr.storage import trees
from knarr.storage.layers import LayerStore

_AGENT = "/run/buildkit/ssh_agent.{}"


class Equipment(Struct):
    """Mounts and variables of one step; `places` are the paths that mounting makes in its root."""

    mounts: list[StepMount] = field(default_factory=list)
    environment: list[str] = field(default_factory=list)
    places: set[bytes] = field(default_factory=set)

    def add(self, mount: StepMount) -> None:
        """One more mount."""
        self.mounts.append(mount)
        parts = mount.target.strip("/").split("/")
        self.places.update("/".join(parts[:count]).encode() for count in range(1, len(parts) + 1))


class Workbench:
    """Makes the mounts of steps. `run` is the engine's directory for mounts."""

    def __init__(self, layers: LayerStore, caches: CacheDirectories, run: Path) -> None:
        self._layers = layers
        self._caches = caches
        self._run = run

    @asynccontextmanager
    async def equip(self, step: Run, contents: list[Content], session: Session) -> AsyncIterator[Equipment]:
        """Have a step's mounts for the length of a block; `contents` are its mounts' sources, in their order.

        Raises KnarrError, OSError.
        """
        equipment = Equipment()
        async with AsyncExitStack() as undo:
            desk = undo.enter_context(self._desk())
            for number, (each, content) in enumerate(zip(step.mounts, contents, strict=True)):
                await self._add(equipment, desk / str(number), step, each, content, session, undo)
            for number, (path, text) in enumerate(step.scripts.items()):
                file = desk / f"script-{number}"
                _write(file, text.encode(), 0o755, 0, 0)
                equipment.add(StepMount(target=path, source=str(file), readonly=True))
            yield equipment

    @contextmanager
    def _desk(self) -> Iterator[Path]:
        """A directory in memory."""
        path = self._run / secrets.token_hex(8)
        path.mkdir(mode=0o700, parents=True)
        try:
            with (
                trees.owned(mounts.mount_detached("tmpfs", [("mode", "0755")])) as mount,
                trees.opened(str(path), os.O_PATH | os.O_DIRECTORY) as target,
            ):
                mounts.move_mount(mount, target)
            try:
                yield path
            finally:
                mounts.umount(str(path))
        finally:
            path.rmdir()

    async def _add(
        self,
        equipment: Equipment,
        place: Path,
        step: Run,
        wanted: MountedInput,
        content: Content,
        session: Session,
        undo: AsyncExitStack,
    ) -> None:
        mount = wanted.mount
        target = os.path.normpath(os.path.join(step.directory, mount.target)) if mount.target else ""
        match mount.kind:
            case "tmpfs":
                equipment.add(StepMount(target=target, tmpfs=True, size=mount.size))
            case "bind":
                source = await asyncio.to_thread(self._bind, undo, place, content, mount)
                equipment.add(StepMount(target=target, source=source, readonly=mount.readonly))
            case "cache":
                directory = await self._cache(place, step, wanted, content, target, undo)
                equipment.add(StepMount(target=target, source=directory, readonly=mount.readonly))
            case "secret":
                await self._secret(equipment, place, mount, target, session)
            case "ssh":
                await self._agent(undo, equipment, place, mount, target, session)

    async def _cache(
        self, place: Path, step: Run, wanted: MountedInput, content: Content, target: str, undo: AsyncExitStack
    ) -> str:
        """The directory of a cache; one that begins as a copy of something is another for each of what it is copied."""
        mount = wanted.mount
        name = f"{step.cache_namespace}/{mount.id or target}" if step.cache_namespace else mount.id or target
        if wanted.source is None:
            return await self._caches.enter(msgspec.structs.replace(mount, id=name), undo)

        def fill(path: Path) -> None:
            with ExitStack() as stack:
                root = stack.enter_context(self._shown(place, content, readonly=True))
                source = stack.enter_context(trees.owned(_inside(root, mount.source, os.O_RDONLY | os.O_DIRECTORY)))
                trees.copy_tree(source, stack.enter_context(trees.opened(str(path))))

        name = f"{name} {await in_thread(key_of, content, mount.source)}"
        return await self._caches.enter(msgspec.structs.replace(mount, id=name), undo, fill)

    # Files of others

    def _bind(self, undo: AsyncExitStack, place: Path, content: Content, mount: RunMount) -> str:
        root = undo.enter_context(self._shown(place, content, mount.readonly))
        fd = _inside(root, mount.source)
        undo.callback(os.close, fd)
        return f"/proc/{os.getpid()}/fd/{fd}"

    @contextmanager
    def _shown(self, place: Path, content: Content, readonly: bool) -> Iterator[int]:
        """The root directory of a mount's content; what is written there is thrown away."""
        context = content if isinstance(content, (Context, RemoteContext)) else None
        if context is not None and readonly:
            yield context.root_fd
            return
        id = f"build-mount-{secrets.token_hex(8)}"
        self._layers.create_root(id, None if isinstance(content, (Context, RemoteContext)) else content, volatile=True)
        try:
            place.mkdir()
            with trees.owned(self._layers.mount_root(id)) as mount, trees.opened(str(place), os.O_PATH) as target:
                mounts.move_mount(mount, target)
            try:
                with trees.opened(str(place)) as root:
                    if context is not None:
                        trees.copy_tree(context.root_fd, root)
                    yield root
            finally:
                mounts.umount(str(place))
        finally:
            self._layers.remove_root(id)

    # The client's

    async def _secret(self, equipment: Equipment, place: Path, mount: RunMount, target: str, session: Session) -> None:
        id = mount.id or os.path.basename(target)
        data = await callbacks.secret(session, id)
        if data is None:
            if mount.required:
                raise NotFound(f"secret {id}: not found")
            return
        if mount.env:
            equipment.environment.append(f"{mount.env}={data.decode('utf-8', 'surrogateescape')}")
            if not target:
                return
        _write(place, data, 0o400 if mount.mode is None else mount.mode, mount.uid, mount.gid)
        equipment.add(StepMount(target=target or f"/run/secrets/{id}", source=str(place), readonly=True))

    async def _agent(
        self,
        undo: AsyncExitStack,
        equipment: Equipment,
        place: Path,
        mount: RunMount,
        target: str,
        session: Session,
    ) -> None:
        id = mount.id or "default"
        if not await callbacks.has_agent(session, id):
            if mount.required:
                raise NotFound(f"unset ssh forward key {id}")
            return
        agent = callbacks.AgentSocket(session, id, place)
        undo.push_async_callback(agent.close)
        await agent.open()
        os.chown(place, mount.uid, mount.gid)
        os.chmod(place, 0o600 if mount.mode is None else mount.mode)
        target = target or _AGENT.format(len(equipment.mounts))
        equipment.add(StepMount(target=target, source=str(place)))
        if not any(entry.startswith("SSH_AUTH_SOCK=") for entry in equipment.environment):
            equipment.environment.append(f"SSH_AUTH_SOCK={target}")


def _inside(root: int, path: str, flags: int = os.O_PATH) -> int:
    try:
        return paths.open_in_root(root, path, flags)
    except OSError as error:
        words = f"failed to mount {path}: {(error.strerror or '').lower()}"
        if isinstance(error, FileNotFoundError):
            raise MissingFile(words, path.strip("/")) from error
        raise InvalidParameter(words) from error


def _write(path: Path, data: bytes, mode: int, uid: int, gid: int) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    with open(fd, "wb") as file:
        file.write(data)
        os.fchown(fd, uid, gid)
        os.fchmod(fd, mode)
