"""The build context: a directory of the engine's own, filled from an archive, the web or a git repository."""

from __future__ import annotations

import asyncio
import hashlib
import os
import shutil
from pathlib import Path
from typing import cast

from knarr.build import fetching
from knarr.build.selection import cleaned
from knarr.build.threads import in_thread
from knarr.errors import InvalidParameter, NotFound
from knarr.ignore import Patterns, read
from knarr.images.compression import Plain, Readable, Source
from knarr.kernel import paths
from knarr.storage import trees
from knarr.storage.archive_reader import ArchiveReader
from knarr.storage.trees import DIRECTORY_FLAGS
from knarr.storage.unpack import unpack

_DOCKERFILE = "Dockerfile"
_IGNORE = ".dockerignore"
_LIMIT = 4 << 20


class Context:
    """`root_fd` is the directory; `dockerfile` the text that is built from."""

    def __init__(self, path: Path) -> None:
        """An empty one at `path`, which is made. To be closed."""
        path.mkdir(mode=0o700, parents=True)
        self.path = path
        self.dockerfile = ""
        self.pin = ""
        """What tells what was fetched for ever: the digest of a file, or sha1:COMMIT."""
        self._top = os.open(path, DIRECTORY_FLAGS)
        os.mkdir("files", 0o755, dir_fd=self._top)
        self.root_fd = os.open("files", DIRECTORY_FLAGS, dir_fd=self._top)

    def close(self) -> None:
        """Remove it. Blocks."""
        os.close(self.root_fd)
        os.close(self._top)
        shutil.rmtree(self.path)

    async def fill(self, archive: Readable, remote: str, dockerfile: str) -> None:
        """Put in what is to be built, and read the Dockerfile of that name.

        Raises InvalidParameter, NotFound (no such Dockerfile), and what fetching and reading raise.
        """
        await asyncio.to_thread(self._read_dockerfile, await self.fetch(archive, remote, dockerfile))

    async def fetch(
        self, archive: Readable, remote: str, dockerfile: str, *, keep_git_dir: bool = False, unpack: bool = True
    ) -> str:
        """Put in what is to be built; the name of the Dockerfile in it. Without `unpack` a file of the web stays as it
        is, under its own name. Raises what fetching and reading raise."""
        if remote and fetching.is_git(remote):
            await self._clone(fetching.parse_git(remote), keep_git_dir)
        elif remote and fetching.is_url(remote):
            # not waited for if cancelled: it uses nothing of the context but a name for its file
            found = await asyncio.to_thread(fetching.download, remote, self.path / "download")
            self.pin = f"sha256:{await in_thread(_digest, found.path)}"
            if not unpack:
                found.keep(self.path / "files")
                return dockerfile
            dockerfile = await in_thread(self._take_download, found.path, dockerfile)
        elif remote not in ("", "client-session"):
            raise InvalidParameter(f"unable to prepare context: path {remote!r} not found")
        else:
            await asyncio.to_thread(self._unpack, archive)
        return dockerfile

    def _unpack(self, archive: Readable) -> None:
        with Plain(Source(archive)) as plain:
            reader = ArchiveReader(cast(Readable, plain), hashing=False)
            unpack(reader, self.root_fd, whiteouts=False)
            reader.drain()

    def _take_download(self, path: Path, dockerfile: str) -> str:
        """Unpack what was fetched, or take it for the Dockerfile: the Dockerfile's name."""
        with path.open("rb") as file:
            if is_archive(file.read(1024)):
                file.seek(0)
                self._unpack(file)
                return dockerfile
        os.rename(path, self.path / "files" / _DOCKERFILE)
        return _DOCKERFILE

    async def _clone(self, repository: fetching.Repository, keep_git_dir: bool) -> None:
        commit = await fetching.clone(repository, self.path / "files", keep_git_dir=keep_git_dir)
        self.pin = f"sha1:{commit}"
        if repository.directory:
            try:
                part = paths.open_in_root(self.root_fd, repository.directory, os.O_RDONLY | os.O_DIRECTORY)
            except OSError as error:
                raise InvalidParameter(f"error fetching: {repository.directory}: {error.strerror}") from None
            os.close(self.root_fd)
            self.root_fd = part

    def _read_dockerfile(self, name: str) -> None:
        path = cleaned(name or _DOCKERFILE, "build").removeprefix("/")
        data = self._read(path)
        if data is None and path == _DOCKERFILE:
            path, data = path.lower(), self._read(path.lower())
        if data is None:
            raise NotFound(f"Cannot locate specified Dockerfile: {name or _DOCKERFILE}")
        if not data.strip():
            raise InvalidParameter(f"the Dockerfile ({name or _DOCKERFILE}) cannot be empty")
        self.dockerfile = data.decode("utf-8", "replace")
        self._apply_ignore(path)

    def _read(self, path: str) -> bytes | None:
        try:
            return paths.read_regular(self.root_fd, path, _LIMIT)
        except OSError:
            return None

    def _apply_ignore(self, dockerfile: str) -> None:
        """The client has left out what is to be ignored, but for the two files that were needed up to now."""
        data = self._read(_IGNORE)
        if data is None:
            return
        patterns = Patterns(read(data.decode("utf-8", "replace")))
        for path in (dockerfile, _IGNORE):
            if patterns.excludes(path):
                head, _, name = path.rpartition("/")
                directory = trees.open_directory(self.root_fd, os.fsencode(head))
                if directory is not None:
                    with trees.owned(directory):
                        trees.remove_tree(directory, name)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def is_archive(start: bytes) -> bool:
    """Whether a file that begins so is a tar archive, compressed or not."""
    from knarr.images.compression import detect

    if detect(start):
        return True
    return len(start) >= 512 and start[257:262] == b"ustar"
