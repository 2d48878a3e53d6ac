"""Exporters that give the client the files themselves: as a directory (local) or as one archive of them (tar)."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack

from knarr.build.threads import in_thread
from knarr.buildkit.exporters.request import Job
from knarr.buildkit.filesend import Tree, send_file, send_tree
from knarr.buildkit.progress import Vertex
from knarr.storage import archive_writer
from knarr.storage import tar_format as tar
from knarr.storage.archive_writer import TreePacker, tree_names
from knarr.storage.layers import LayerStore
from knarr.storage.tar_format import Entry


class _Count:
    """Bytes that have been sent, which the client is shown."""

    def __init__(self, vertex: Vertex, what: str) -> None:
        self._vertex = vertex
        self._what = what
        self._sent = 0

    def __call__(self, size: int) -> None:
        """So many more have."""
        self._sent += size
        self._vertex.status(self._what, self._sent)

    def finish(self) -> None:
        """All have."""
        self._vertex.status(self._what, self._sent, completed=True)


class LocalExporter:
    """The client writes the files into a directory of its own; of several platforms each into one below it."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def export(self, job: Job) -> dict[str, str]:
        """Send the files. Raises KnarrError."""
        job.wanted.refuse()
        count = _Count(job.vertex, "copying files")
        with ExitStack() as stack:
            tree = Tree()
            for prefix, root in _roots(job, self._layers, stack):
                await in_thread(tree.add, root, prefix)
            await send_tree(job.session, job.wanted.number, tree, count)
        count.finish()
        return {}


class TarExporter:
    """The same as an archive."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def export(self, job: Job) -> dict[str, str]:
        """Send the archive. Raises KnarrError."""
        job.wanted.refuse()
        count = _Count(job.vertex, "sending tarball")
        with ExitStack() as stack:
            pieces = _archive(_roots(job, self._layers, stack))
            await send_file(job.session, job.wanted.number, pieces, {}, count)
        count.finish()
        return {}


def _roots(job: Job, layers: LayerStore, stack: ExitStack) -> list[tuple[str, int]]:
    """Each platform's directory (none if there is one platform only) and root."""
    several = job.wanted.flag("platform-split", len(job.results) > 1)
    found = []
    for result in job.results:
        name = str(result.outcome.platform).replace("/", "_") if several else ""
        found.append((name, stack.enter_context(layers.view(result.chain))))
    return found


def _archive(roots: list[tuple[str, int]]) -> Iterator[bytes]:
    for name, root in roots:
        prefix = f"{name}/".encode() if name else b""
        if prefix:
            yield archive_writer.header(Entry(prefix, tar.DIRECTORY, 0o755))
        yield from TreePacker(root).pack(tree_names(root), prefix=prefix)
    yield archive_writer.end()
