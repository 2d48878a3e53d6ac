"""Files of containers in and out as archives: `docker cp`, and `docker export` and `docker diff` beside it.

Reading holds nobody up: what is stopped is seen through a mount of its own, which a start does not mind. Writing to
what is stopped keeps its lock, as two writable mounts of one root must not be.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncGenerator, Callable, Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack, ExitStack
from typing import TypeVar

from knarr.compute.interface import System
from knarr.engine import container_paths, file_views, users
from knarr.engine.container import Container
from knarr.engine.container_paths import PathStat, described
from knarr.engine.file_views import FileView
from knarr.engine.parts import Parts
from knarr.engine.sizes import container_tree
from knarr.errors import Conflict, Forbidden, InvalidParameter
from knarr.images.compression import Plain, Readable, Source, detect
from knarr.kernel import paths
from knarr.kernel.credentials import making_files_as
from knarr.storage import archive_writer, extraction
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.archive_writer import TreePacker
from knarr.storage.id_shift import IdShift
from knarr.storage.trees import owned

_T = TypeVar("_T")
_UPLOADS = 64
_MAGIC = 6
_NAME_FILES = ("resolv.conf", "hostname", "hosts")


class Archives:
    """Used in the event loop; all that touches files is done in threads."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        # threads that wait for clients: a stalled upload must not keep one from the engine's own work
        self._uploads = ThreadPoolExecutor(_UPLOADS, "archive-upload")
        self._closing: set[asyncio.Task[None]] = set()

    async def stat(self, reference: str, path: str) -> PathStat:
        """What there is at a path. Raises NotFound, InvalidParameter."""
        container = self._parts.registry.find(reference)
        wanted = container_paths.clean(path)
        async with AsyncExitStack() as stack:
            view, _ = await self._view(container, stack, writable=False)
            return await asyncio.to_thread(_stat, view, wanted, path, reference)

    async def read(self, reference: str, path: str) -> tuple[PathStat, AsyncGenerator[bytes, None]]:
        """What there is at a path, and it as an archive. Raises NotFound, InvalidParameter.

        The generator has to be closed.
        """
        container = self._parts.registry.find(reference)
        wanted = container_paths.clean(path)
        async with AsyncExitStack() as stack:
            view, _ = await self._view(container, stack, writable=False)
            found = await asyncio.to_thread(_stat, view, wanted, path, reference)
            pieces = await _in_thread(_pack(view, wanted), stack.pop_all())
        self._parts.publish(container, "archive-path")
        return found, pieces

    async def write(
        self, reference: str, path: str, archive: Readable, *, keep_kinds: bool = False, as_user: bool = False
    ) -> None:
        """Unpack an archive, compressed or not, in the directory at a path; what is there is replaced.

        `keep_kinds`: as in extraction. With `as_user` all files belong to who the container runs as. Raises NotFound,
        Forbidden where nothing can be written, InvalidParameter, Conflict if it is started again meanwhile.
        """
        container = self._parts.registry.find(reference)
        wanted = container_paths.clean(path)
        async with AsyncExitStack() as stack:
            view, system = await self._view(container, stack, writable=True)

            def proceed() -> None:
                if system is not None and container.system not in (None, system):
                    raise Conflict(f"container {container.id} was started again")

            def extract() -> None:
                with described(path, reference):
                    _check_target(container, view, wanted)
                    owner = _owner(container, view) if as_user else None
                    _extract(view, wanted, archive, owner, keep_kinds, proceed)

            try:
                await asyncio.get_running_loop().run_in_executor(self._uploads, extract)
            finally:
                self._close_later(stack.pop_all())
        self._parts.sizes.unsettle(container_tree(container.id))
        self._parts.publish(container, "extract-to-dir")

    def changes(self, reference: str) -> list[tuple[int, str]]:
        """What the container has changed in its image's files, as LayerStore.changes. Blocks. Raises NotFound."""
        return self._parts.layers.changes(self._parts.registry.find(reference).id)

    async def export(self, reference: str) -> AsyncGenerator[bytes, None]:
        """Its root file system, without what is mounted in it, as an archive. Raises NotFound, Conflict.

        The generator has to be closed.
        """
        container = self._parts.registry.find(reference)
        _check_usable(container, "export")
        async with AsyncExitStack() as stack:
            root_fd, ids = await asyncio.to_thread(self._open_root, container, container.system)
            stack.callback(os.close, root_fd)
            pieces = await _in_thread(_pack_all(root_fd, ids), stack.pop_all())
        self._parts.publish(container, "export")
        return pieces

    def _open_root(self, container: Container, system: System | None) -> tuple[int, IdShift | None]:
        if system is not None:
            try:
                with file_views.of_system(system, container.record.ids) as view:
                    return view.open_root(), view.ids
            except ProcessLookupError:  # it has just ended
                pass
        return self._parts.layers.view_root(container.id), None

    async def close(self) -> None:
        """Wait until nothing is mounted any more."""
        await asyncio.gather(*self._closing)
        self._uploads.shutdown(wait=False)

    # Views

    async def _view(
        self, container: Container, stack: AsyncExitStack, *, writable: bool
    ) -> tuple[FileView, System | None]:
        """The container's files until `stack` is closed, and the system if it runs. Raises Conflict, NotFound."""
        while True:
            _check_usable(container, "copy files of")
            await container.lock.acquire()
            with ExitStack() as locked:
                locked.callback(container.lock.release)
                system = container.system
                if system is None:
                    view = await self._view_of_stopped(container, writable=writable)
                    if writable:
                        stack.push(locked.pop_all())
                    stack.push_async_callback(asyncio.to_thread, view.close)
                    return view, None
                try:
                    view = await asyncio.to_thread(file_views.of_system, system, container.record.ids)
                except ProcessLookupError:
                    ended = container.run_ended
                else:
                    stack.push_async_callback(asyncio.to_thread, view.close)
                    return view, system
            if ended is not None:
                await asyncio.shield(ended)

    async def _view_of_stopped(self, container: Container, *, writable: bool) -> FileView:
        """To be called with the container's lock held."""
        _check_usable(container, "copy files of")
        parts, record = self._parts, container.record
        try:
            sources = await parts.volumes.acquire(record.id, record.mounts)
            return await asyncio.to_thread(self._mount, container, sources, writable)
        finally:  # what is mounted in the view is the view's own
            await parts.volumes.release(record.id, record.mounts)

    def _mount(self, container: Container, sources: dict[str, str], writable: bool) -> FileView:
        parts, record = self._parts, container.record
        directory = parts.settings.container_dir(record.id)
        # written at the container's first start
        files = {f"/etc/{name}": str(directory / name) for name in _NAME_FILES if (directory / name).is_file()}

        def mount() -> FileView:
            return file_views.of_root(
                lambda: parts.layers.mount_root(record.id) if writable else parts.layers.view_root(record.id),
                record.mounts,
                sources,
                files,
                str(parts.settings.run_root),
                make=writable,
                read_only=record.host_config.readonly_rootfs,
            )

        try:
            return mount()
        except FileNotFoundError:  # never started, so that there are no places for its volumes
            with owned(parts.layers.mount_root(record.id)) as root_fd:
                file_views.make_places(root_fd, record.mounts, sources)
            return mount()

    def _close_later(self, stack: AsyncExitStack) -> None:
        """Close a view that was written to, which takes its time: its files go to the disk. A start waits for it."""
        task = asyncio.create_task(stack.aclose())
        self._closing.add(task)
        task.add_done_callback(self._closing.discard)


def _check_usable(container: Container, what: str) -> None:
    if container.being_removed or container.state.status == "removing":
        raise Conflict(f"You cannot {what} container {container.id} which is being removed")
    if container.state.status == "dead":
        raise Conflict(f"You cannot {what} container {container.id} which is dead")


def _stat(view: FileView, wanted: str, path: str, reference: str) -> PathStat:
    with described(path, reference), container_paths.find(view.root_fd, wanted) as place:
        return container_paths.describe(view.root_fd, place)


def _pack(view: FileView, wanted: str) -> Generator[bytes, None, None]:
    with container_paths.find(view.root_fd, wanted) as place:
        packer = TreePacker(place.directory, view.ids)
        if place.name:
            yield from packer.pack([os.fsencode(place.name)])
        else:
            prefix = os.fsencode(place.shown).rstrip(b"/") + b"/"
            yield packer.pack_top(prefix)
            yield from packer.pack(archive_writer.tree_names(place.directory), prefix=prefix)
    yield archive_writer.end()


def _pack_all(root_fd: int, ids: IdShift | None) -> Generator[bytes, None, None]:
    yield from archive_writer.archive_tree(root_fd, ids)


async def _in_thread(pieces: Generator[bytes, None, None], stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
    """Pieces that are made in threads one by one, however long the client takes. Closes `stack` at the end."""
    generator = _made_in_thread(pieces, stack)
    await anext(generator)  # only a generator that has begun can clean up
    return generator


async def _made_in_thread(pieces: Generator[bytes, None, None], stack: AsyncExitStack) -> AsyncGenerator[bytes, None]:
    async with stack:
        stack.callback(pieces.close)
        piece: bytes | None = b""
        while piece is not None:
            yield piece
            piece = await _finished(asyncio.create_task(asyncio.to_thread(next, pieces, None)))


async def _finished(step: asyncio.Task[_T]) -> _T:
    """The result of a step in a thread; a cancellation waits until the thread has let go of what it uses."""
    try:
        return await asyncio.shield(step)
    except asyncio.CancelledError:
        await asyncio.wait([step])
        raise


def _check_target(container: Container, view: FileView, wanted: str) -> None:
    """Raises OSError, InvalidParameter if it is no directory, Forbidden if it cannot be written to."""
    real = container_paths.follow(view.root_fd, wanted)
    try:
        directory = paths.open_in_root(view.root_fd, wanted, os.O_PATH | os.O_DIRECTORY)
    except NotADirectoryError:
        raise InvalidParameter("extraction point is not a directory") from None
    with owned(directory):
        read_only = os.fstatvfs(directory).f_flag & os.ST_RDONLY
    if read_only and any(_is_below(real, point.destination) for point in container.record.mounts):
        raise Forbidden("mounted volume is marked read-only")
    if read_only:
        raise Forbidden("container rootfs is marked read-only")


def _is_below(path: str, directory: str) -> bool:
    return f"{path}/".startswith(f"{directory}/")


def _owner(container: Container, view: FileView) -> tuple[int, int] | None:
    if not container.config.user:
        return None
    user = users.resolve(view.root_fd, container.config.user).user
    return user.uid, user.gid


def _extract(
    view: FileView,
    wanted: str,
    archive: Readable,
    owner: tuple[int, int] | None,
    keep_kinds: bool,
    proceed: Callable[[], None],
) -> None:
    source = Source(archive)
    source.leave_digest()
    start = source.peek(_MAGIC)
    if not start:  # nothing to unpack
        return
    with ExitStack() as stack:
        stream = stack.enter_context(Plain(source)) if detect(start) else source
        if view.ids is not None:
            stack.enter_context(making_files_as(view.ids.first, view.ids.first))
        extraction.extract(
            ArchiveReader(stream, hashing=False),
            view.root_fd,
            os.fsencode(wanted),
            owner=owner,
            ids=view.ids,
            keep_kinds=keep_kinds,
            proceed=proceed,
        )
