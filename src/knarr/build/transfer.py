"""One COPY or ADD: its sources found, their place in the image, all of it as entries of one layer."""

from __future__ import annotations

import hashlib
import os
import posixpath
import stat
from collections.abc import Iterator
from contextlib import ExitStack
from typing import BinaryIO, cast

from knarr.build import selection
from knarr.build.context import is_archive
from knarr.build.copying import Copy, Identify, Ownership, Unpacked, is_directory
from knarr.errors import InvalidParameter
from knarr.ignore import Patterns
from knarr.images.compression import Plain, Readable, Source
from knarr.kernel import paths
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.tar_format import Entry
from knarr.storage.trees import owned
from knarr.storage.unpack import Entries


class MissingFile(InvalidParameter):
    """A source that is not there; `path` is from the root of the tree that it should be in."""

    def __init__(self, words: str, path: str) -> None:
        super().__init__(words)
        self.path = path


class Transfer:
    """What one instruction brings. Descriptors are borrowed until the layer is made."""

    def __init__(
        self,
        keyword: str,
        view_fd: int,
        working_dir: str,
        destination: str,
        ownership: Ownership,
        identify: Identify | None = None,
        *,
        may_be_empty: bool = False,
    ) -> None:
        """`view_fd` is the root of what is built on; `destination` may be relative to `working_dir`.

        `may_be_empty`: patterns that nothing fits are no error.
        """
        self._may_be_empty = may_be_empty
        self._keyword = keyword
        self._view = view_fd
        self._copy = Copy(ownership, identify=identify)
        self._archives: list[tuple[int, str, bytes]] = []
        self._as_directory = destination.endswith(("/", "/.")) or destination == "."
        full = posixpath.normpath(posixpath.join("/", working_dir, destination))
        self._target = os.fsencode(full.lstrip("/"))
        self.kind = ""
        """What the history calls it: file, dir or multi."""

    def add_sources(
        self, root_fd: int, sources: list[str], *, where: str, parents: bool = False, excludes: list[str] | None = None
    ) -> None:
        """Files of a tree by path or pattern; `where` says in errors what the tree is. Raises InvalidParameter,
        MissingFile."""
        found = [(path, source) for source in sources for path in self._find(root_fd, source, where)]
        if not found and sources and not self._may_be_empty:
            raise InvalidParameter(f"{self._keyword} failed: no source files were specified")
        if len(found) > 1:
            self.need_directory()
        patterns = Patterns(excludes) if excludes else None
        for path, source in found:
            with owned(self._open(root_fd, path, where)) as fd:
                mode = os.fstat(fd).st_mode
            self._add(root_fd, path, mode, self._kept_parents(path, source) if parents else None, patterns)

    def need_directory(self) -> None:
        """There are several sources. Raises InvalidParameter unless the destination is written as a directory."""
        self.kind = "multi"
        if not self._as_directory:
            raise InvalidParameter(
                f"When using {self._keyword} with more than one source file, the destination must be a directory and"
                " end with a /"
            )

    def _find(self, root_fd: int, source: str, where: str) -> list[str]:
        path = selection.cleaned(source, self._keyword)
        try:
            os.close(self._open(root_fd, path, where))
            return [path]
        except InvalidParameter:
            if selection.is_pattern(path):
                return selection.matches(root_fd, path)
            raise

    def _open(self, root_fd: int, path: str, where: str) -> int:
        """O_PATH; the descriptor is the caller's. Raises InvalidParameter, MissingFile."""
        try:
            return paths.open_in_root(root_fd, path)
        except OSError as error:
            failed = f"{self._keyword} failed: {where}stat {path}"
            if isinstance(error, FileNotFoundError):
                raise MissingFile(f"{failed}: file does not exist", path) from None
            raise InvalidParameter(f"{failed}: {str(error.strerror).lower()}") from None

    @staticmethod
    def _kept_parents(path: str, source: str) -> str:
        """With --parents, the part of a path that is kept: all of it, or what follows "/./"."""
        before, pivot, _ = source.partition("/./")
        depth = len(selection.cleaned(before, "COPY").split("/")) if pivot and before not in ("", ".") else 0
        return "/".join(path.split("/")[depth:])

    def _add(self, root_fd: int, path: str, mode: int, kept: str | None, patterns: Patterns | None) -> None:
        if stat.S_ISDIR(mode):
            self.kind = self.kind or "dir"
            target = self._target if kept is None else _join(self._target, kept)
            self._copy.add_directories(self._view, target, stat.S_IMODE(mode))
            self._copy.add_tree(root_fd, path, target, patterns)
            return
        self.kind = self.kind or "file"
        name = kept or posixpath.basename(path)
        if patterns is None or not patterns.excludes(name):
            self._copy.add_file(root_fd, path, self.place(name, inside=kept is not None))

    @property
    def wants_name(self) -> bool:
        """Whether a file needs one of its own, as the destination is a directory."""
        return self._as_directory or is_directory(self._view, self._target)

    def place(self, name: str, *, inside: bool = False) -> bytes:
        """Where a file of this name goes; the directories for it are added."""
        target = _join(self._target, name) if inside or self.wants_name else self._target
        directory = target.rpartition(b"/")[0]
        self._copy.add_directories(self._view, directory)
        return target

    def add_document(self, name: str, content: bytes, mode: int = 0o644, mtime_ns: int | None = None) -> None:
        """A file whose content is at hand."""
        self.kind = self.kind or "file"
        self._copy.add_document(self.place(name), content, mode, mtime_ns)

    def add_archive(self, root_fd: int, source: str) -> bool:
        """Unpack a file of a tree at the destination, if it is an archive: whether it is."""
        try:
            fd = paths.open_in_root(root_fd, selection.cleaned(source, self._keyword), os.O_RDONLY | os.O_NONBLOCK)
        except (OSError, InvalidParameter):
            return False
        with owned(fd):
            if not stat.S_ISREG(os.fstat(fd).st_mode) or not is_archive(os.pread(fd, 1024, 0)):
                return False
            with open(fd, "rb", closefd=False) as file:
                digest = hashlib.file_digest(file, "sha256").hexdigest()
        self.kind = self.kind or "file"
        self._copy.add_directories(self._view, self._target)
        self._archives.append((root_fd, source, digest.encode()))
        return True

    def digest(self) -> str:
        """The digest of all that is brought, but the destination's beginning. Blocks: every file is read."""
        result = hashlib.sha256(self._copy.digest().encode())
        for _, _, digest in self._archives:
            result.update(digest)
        return result.hexdigest()

    # as entries

    def names(self) -> list[bytes] | None:
        """The paths of all entries, in their order. None if archives have to be read for that."""
        return None if self._archives else self._copy.names()

    def __iter__(self) -> Iterator[Entry]:
        self._current: Entries = self._copy
        yield from self._copy
        for root_fd, source, _ in self._archives:
            with ExitStack() as stack:
                fd = paths.open_in_root(root_fd, selection.cleaned(source, self._keyword), os.O_RDONLY)
                file = stack.enter_context(open(fd, "rb", buffering=0))
                plain = stack.enter_context(Plain(Source(cast(BinaryIO, file))))
                self._current = Unpacked(ArchiveReader(cast(Readable, plain), hashing=False), self._target)
                yield from self._current

    def write_data(self, entry: Entry, fd: int) -> bytes | None:
        """See Entries."""
        return self._current.write_data(entry, fd)


def _join(directory: bytes, name: str) -> bytes:
    return os.fsencode(os.path.join(os.fsdecode(directory), name))
