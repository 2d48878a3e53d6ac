"""Exporters that give the client the files themselves: as a directory (local) or as one archive of them (tar)."""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import ExitStack

import msgspec
from msgspec import Struct

from knarr.build.threads import in_thread
from knarr.buildkit.exporters.request import Job
from knarr.buildkit.filesend import Tree, send_file, send_tree
from knarr.buildkit.progress import Vertex
from knarr.kernel import paths
from knarr.storage import archive_writer, trees
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


class Output(Struct, frozen=True):
    """One platform's files: the directory that they go to ("" for the top), their root, documents beside them."""

    directory: str
    root_fd: int
    documents: list[tuple[str, bytes]]


class LocalExporter:
    """The client writes the files into a directory of its own; of several platforms each into one below it."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def export(self, job: Job) -> dict[str, str]:
        """Send the files. Raises KnarrError."""
        count = _Count(job.vertex, "copying files")
        with ExitStack() as stack:
            tree = Tree()
            for output in await in_thread(_outputs, job, self._layers, stack):
                await in_thread(tree.add, output.root_fd, output.directory)
                for name, data in output.documents:
                    tree.add_document(f"{output.directory}/{name}".lstrip("/"), data)
            await send_tree(job.session, job.wanted.number, tree, count)
        count.finish()
        return {}


class TarExporter:
    """The same as an archive."""

    def __init__(self, layers: LayerStore) -> None:
        self._layers = layers

    async def export(self, job: Job) -> dict[str, str]:
        """Send the archive. Raises KnarrError."""
        count = _Count(job.vertex, "sending tarball")
        with ExitStack() as stack:
            pieces = _archive(await in_thread(_outputs, job, self._layers, stack))
            await send_file(job.session, job.wanted.number, pieces, {}, count)
        count.finish()
        return {}


def _outputs(job: Job, layers: LayerStore, stack: ExitStack) -> list[Output]:
    """What is to be sent. Blocks: attestations tell the digest of every file."""
    job.wanted.refuse(*(name for name in job.wanted.attributes if name.startswith("annotation")))
    several = len(job.results) > 1
    split = job.wanted.flag("platform-split", several)
    outputs = []
    for result in job.results:
        platform = str(result.platform).replace("/", "_")
        root = stack.enter_context(layers.view(result.chain))
        said = [each for each in result.attestations if not each.inline_only]
        subjects = _digests(root) if said else []
        prefix = job.wanted.attributes.get("attestation-prefix", "")
        mark = f".{platform}" if several and not split else ""
        documents = [
            (prefix + _marked(each.path, mark), msgspec.json.format(each.statement(subjects))) for each in said
        ]
        outputs.append(Output(platform if split else "", root, documents))
    return outputs


def _marked(name: str, mark: str) -> str:
    stem, dot, ending = name.partition(".")
    return f"{stem}{mark}{dot}{ending}"


def _digests(root_fd: int) -> list[tuple[str, str]]:
    """All files of a tree with their digests."""
    found = []
    for name in tree_names(root_fd):
        with trees.owned(paths.open_in_root(root_fd, name, os.O_PATH | os.O_NOFOLLOW)) as here:
            if not stat.S_ISREG(os.fstat(here).st_mode):
                continue
        with open(paths.open_in_root(root_fd, name, os.O_RDONLY | os.O_NOFOLLOW), "rb") as file:
            found.append((os.fsdecode(name), f"sha256:{hashlib.file_digest(file, 'sha256').hexdigest()}"))
    return found


def _archive(outputs: list[Output]) -> Iterator[bytes]:
    for output in outputs:
        prefix = f"{output.directory}/".encode() if output.directory else b""
        if prefix:
            yield archive_writer.header(Entry(prefix, tar.DIRECTORY, 0o755))
        yield from TreePacker(output.root_fd).pack(tree_names(output.root_fd), prefix=prefix)
        for name, data in output.documents:
            yield archive_writer.member(Entry(prefix + name.encode(), mode=0o600), data)
    yield archive_writer.end()
