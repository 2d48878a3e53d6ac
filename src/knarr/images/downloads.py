"""Layers on their way in from registries: each once, however many pulls want it, and never from the start again.

    DATA/content/partial/<hex>     what has come of a blob, good or not; the digest is checked when all has come

A download ends when nobody wants it any more. What has arrived stays, over restarts too, for whoever asks next; what
nobody asked for in a week goes.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path

from knarr.errors import InvalidParameter
from knarr.images.config import is_digest
from knarr.images.progress import LayerProgress
from knarr.images.transfer import Download, Wanted

_KEPT_SECONDS = 7 * 24 * 3600


class Downloads:
    """All downloads of an engine, so many at once; each has so many attempts."""

    def __init__(self, directory: Path, *, at_once: int, attempts: int) -> None:
        directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        self._directory = directory
        self._attempts = attempts
        self._threads = ThreadPoolExecutor(at_once, "download")
        self._lock = threading.Lock()
        self._running: dict[str, Download] = {}
        self._forgotten: set[str] = set()  # what goes as soon as it does not run any more
        self._forget_old()

    @contextmanager
    def using(self, wanted: Wanted, progress: LayerProgress) -> Iterator[Download]:
        """A download under way, begun if it is not yet; in the end, if nobody else uses it, it ends.

        Raises InvalidParameter for a digest that is none.
        """
        if not is_digest(wanted.digest):
            raise InvalidParameter(f"unsupported digest {wanted.digest[:100]!r}")
        with self._lock:
            download = self._running.get(wanted.digest)
            if download is None or download.given_up:
                path = self._directory / wanted.digest.removeprefix("sha256:")
                download = Download(wanted, path, self._attempts, after=download)
                self._running[wanted.digest] = download
                self._forgotten.discard(wanted.digest)
                self._threads.submit(self._run, download)
            download.watch(progress)
        try:
            yield download
        finally:
            with self._lock:
                download.unwatch(progress)
                self._drop_ended(download)

    def _run(self, download: Download) -> None:
        download.run()
        with self._lock:
            self._drop_ended(download)

    def _drop_ended(self, download: Download) -> None:
        if download.ended and not download.wanted and self._running.get(download.digest) is download:
            del self._running[download.digest]
            if download.digest in self._forgotten:
                self._forgotten.remove(download.digest)
                self._path(download.digest).unlink(missing_ok=True)

    def forget(self, digest: str) -> None:
        """The blob is where it belongs: what was kept for a later attempt can go, once nobody reads it."""
        with self._lock:
            if digest in self._running:
                self._forgotten.add(digest)
            else:
                self._path(digest).unlink(missing_ok=True)

    def prune(self) -> int:
        """Forget all that is kept for later attempts; the bytes that this frees."""
        return sum(self._unlink(path) for path in self._directory.iterdir())

    def close(self) -> None:
        """End what is under way. What has come is kept."""
        with self._lock:
            for download in self._running.values():
                download.cancel()
        self._threads.shutdown(cancel_futures=True)

    def _path(self, digest: str) -> Path:
        return self._directory / digest.removeprefix("sha256:")

    def _unlink(self, path: Path) -> int:
        with self._lock:
            if f"sha256:{path.name}" in self._running:
                return 0
            size = path.stat().st_size if path.stat().st_nlink == 1 else 0
            path.unlink()
            return size

    def _forget_old(self) -> None:
        oldest = time.time() - _KEPT_SECONDS
        for path in self._directory.iterdir():
            if path.stat().st_mtime < oldest:
                path.unlink()
