"""The content store: blobs by digest, kept byte for byte as they came (compressed or not).

    ROOT/blobs/sha256/<hex>      complete and verified; a blob appears at once, by link(2), and never changes
    ROOT/incoming/<random>       on its way in; emptied when the store is opened
    ROOT/partial/<hex>           on its way in from a registry; see downloads

Which blob belongs to which layer or image is not known here.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import BinaryIO

from knarr.errors import InvalidParameter, KnarrError, NotFound
from knarr.images.config import is_digest

CHUNK = 1 << 20


class ContentStore:
    """Blobs under `root`. Safe from several threads; one process at a time."""

    def __init__(self, root: Path) -> None:
        self.partial = root / "partial"
        self._blobs = root / "blobs" / "sha256"
        self._incoming = root / "incoming"
        for directory in (self._blobs, self._incoming):
            directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        for leftover in self._incoming.iterdir():
            leftover.unlink()

    def has(self, digest: str) -> bool:
        """Whether the blob is there."""
        return self._path(digest).exists()

    def size(self, digest: str) -> int:
        """Bytes of the blob. Raises NotFound."""
        try:
            return self._path(digest).stat().st_size
        except FileNotFoundError:
            raise NotFound(f"content {digest} not found") from None

    def chunks(self, digest: str) -> Iterator[bytes]:
        """The blob's bytes. Raises NotFound, and KnarrError at the end if they are not what was stored."""
        hasher = hashlib.sha256()
        with self.open(digest) as file:
            while chunk := file.read(CHUNK):
                hasher.update(chunk)
                yield chunk
        if "sha256:" + hasher.hexdigest() != digest:
            raise KnarrError(f"content {digest} is damaged on disk")

    def digests(self) -> list[str]:
        """All blobs."""
        return ["sha256:" + name for name in os.listdir(self._blobs)]

    def partial_size(self) -> int:
        """The bytes of what broken-off pulls have left, or running ones have fetched so far."""
        total = 0
        for path in self.partial.glob("*"):
            with suppress(FileNotFoundError):  # it has just been completed
                info = path.stat()
                total += info.st_size if info.st_nlink == 1 else 0  # else it is a blob already
        return total

    def incoming(self) -> Incoming:
        """A place for bytes that are not yet known to be good. The caller closes it."""
        fd, path = tempfile.mkstemp(dir=self._incoming)
        return Incoming(self, fd, Path(path))

    def adopt(self, path: Path, digest: str) -> None:
        """Make a file of the same file system a blob, which the caller has verified. One that is there stays."""
        try:
            os.link(path, self._path(digest))
        except FileExistsError:
            pass

    def open(self, digest: str) -> BinaryIO:
        """A blob's bytes, unbuffered; the caller closes it. Raises NotFound."""
        try:
            return self._path(digest).open("rb", buffering=0)
        except FileNotFoundError:
            raise NotFound(f"content {digest} not found") from None

    def remove(self, digest: str) -> None:
        """Forget a blob; missing is fine."""
        self._path(digest).unlink(missing_ok=True)

    def _path(self, digest: str) -> Path:
        if not is_digest(digest):
            raise InvalidParameter(f"invalid digest {digest[:100]!r}")
        return self._blobs / digest.removeprefix("sha256:")


class Incoming:
    """A file in the store that is no blob yet: written through `fd`, then kept under its digest or thrown away."""

    def __init__(self, store: ContentStore, fd: int, path: Path) -> None:
        self._store = store
        self._path = path
        self.fd = fd

    def write(self, data: bytes) -> None:
        """Append. Raises OSError."""
        view = memoryview(data)
        while view:
            view = view[os.write(self.fd, view) :]

    def finish(self) -> None:
        """Nothing more will be written: give the descriptor back."""
        if self.fd >= 0:
            os.close(self.fd)
            self.fd = -1

    def reader(self) -> BinaryIO:
        """The bytes so far, from the beginning, unbuffered; the caller closes it."""
        return self._path.open("rb", buffering=0)

    @property
    def size(self) -> int:
        """Bytes so far."""
        return self._path.stat().st_size

    def keep(self, digest: str) -> None:
        """Make it the blob `digest`, which the caller has computed from the bytes. One that is there already stays."""
        self._store.adopt(self._path, digest)

    def close(self) -> None:
        """Throw away what has not been kept."""
        self.finish()
        self._path.unlink(missing_ok=True)

    def __enter__(self) -> Incoming:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
