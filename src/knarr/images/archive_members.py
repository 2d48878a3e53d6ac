"""The members of an archive, spooled from a stream: what they are stands in the last of them."""

from __future__ import annotations

import hashlib
import posixpath
from contextlib import ExitStack

from knarr.errors import InvalidParameter
from knarr.images import config
from knarr.images.compression import Readable
from knarr.images.content import CHUNK, ContentStore, Incoming
from knarr.images.layouts import Descriptor
from knarr.storage import tar_format as tar
from knarr.storage.archive_reader import ArchiveReader

_MAX_MEMBERS = 50_000
_MOST_HOLES = 64 << 30  # bytes that need not be sent, and have to be read nevertheless
_MAX_DOCUMENT = 16 << 20


class Members:
    """By path, each in a file of its own, which lasts as long as `stack`."""

    def __init__(self, content: ContentStore, stack: ExitStack) -> None:
        self._content = content
        self._stack = stack
        self._files: dict[str, Incoming] = {}
        self._links: dict[str, str] = {}

    def spool(self, stream: Readable) -> None:
        """Read all of the archive. Raises InvalidParameter."""
        reader = ArchiveReader(stream)
        for entry in reader:
            if len(self._files) + len(self._links) >= _MAX_MEMBERS:
                raise InvalidParameter(f"invalid archive: more than {_MAX_MEMBERS} members")
            path = normal(entry.name.decode(errors="surrogateescape"))
            target = entry.link.decode(errors="surrogateescape")
            if entry.kind == tar.REGULAR:
                if entry.size - entry.stored > _MOST_HOLES:
                    raise InvalidParameter(f"invalid archive: {path[:200]} is too large")
                file = self._stack.enter_context(self._content.incoming())
                reader.write_data(entry, file.fd)
                file.finish()
                self._files[path] = file
            elif entry.kind == tar.SYMLINK:  # old docker archives have one for a layer that came before
                self._links[path] = normal(posixpath.join(posixpath.dirname(path), target))
            elif entry.kind == tar.HARD_LINK:
                self._links[path] = normal(target)
        reader.drain()

    def __contains__(self, path: str) -> bool:
        return self._target(path) in self._files

    def file(self, path: str) -> Incoming:
        """A member. Raises InvalidParameter if there is none."""
        try:
            return self._files[self._target(path)]
        except KeyError:
            raise InvalidParameter(f"invalid archive: {path[:200]} is missing") from None

    def read(self, path: str) -> bytes:
        """A small member's bytes. Raises InvalidParameter."""
        file = self.file(path)
        if file.size > _MAX_DOCUMENT:
            raise InvalidParameter(f"invalid archive: {path[:200]} is too large")
        with file.reader() as reader:
            return reader.read()

    def has(self, descriptor: Descriptor) -> bool:
        """Whether the blob of an OCI layout is there. Raises InvalidParameter for a digest that is none."""
        return blob_path(descriptor.digest) in self

    def blob(self, descriptor: Descriptor) -> Incoming:
        """A blob of an OCI layout, its size checked. Raises InvalidParameter."""
        file = self.file(blob_path(descriptor.digest))
        if file.size != descriptor.size:
            raise _another(descriptor.digest)
        return file

    def verified(self, descriptor: Descriptor) -> bytes:
        """The document that a descriptor names, size and digest checked. Raises InvalidParameter."""
        data = self.read(blob_path(descriptor.digest))
        if len(data) != descriptor.size or config.digest_of(data) != descriptor.digest:
            raise _another(descriptor.digest)
        return data

    def keep(self, descriptor: Descriptor) -> None:
        """Put a blob into the content store, size and digest checked. Raises InvalidParameter."""
        file = self.blob(descriptor)
        digest = hashlib.sha256()
        with file.reader() as reader:
            while piece := reader.read(CHUNK):
                digest.update(piece)
        if f"sha256:{digest.hexdigest()}" != descriptor.digest:
            raise _another(descriptor.digest)
        file.keep(descriptor.digest)

    def _target(self, path: str) -> str:
        path = normal(path)
        return self._links.get(path, path)


def normal(path: str) -> str:
    """A path from the archive's root. It is a key only: no file is ever opened by it."""
    return posixpath.normpath("/" + path).lstrip("/")


def blob_path(digest: str) -> str:
    """Where an OCI layout has a blob. Raises InvalidParameter for a digest that is none."""
    if not config.is_digest(digest):
        raise InvalidParameter(f"invalid archive: unsupported digest {digest[:100]!r}")
    return "blobs/" + digest.replace(":", "/")


def _another(digest: str) -> InvalidParameter:
    return InvalidParameter(f"invalid archive: the content of {digest} is another")
