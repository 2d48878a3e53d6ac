"""One blob on its way in: a thread fetches it into a file, and whoever unpacks it follows there."""

from __future__ import annotations

import hashlib
import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from msgspec import Struct

from knarr.errors import InvalidParameter, KnarrError
from knarr.images.cancellation import Cancellation, Cancelled
from knarr.images.progress import LayerProgress

CHUNK = 1 << 20
_DELAY = 1.0  # before a second attempt; the next ones wait longer


class Stream(Protocol):
    """A blob's bytes from `offset` on."""

    offset: int

    def read(self, size: int, /) -> bytes:
        """What has come, b"" at the end."""
        ...

    def close(self) -> None:
        """Give it up."""
        ...


class Wanted(Struct, frozen=True):
    """A blob to be fetched. `open` gives its bytes from somewhere on; it heeds the cancellation."""

    digest: str
    size: int
    open: Callable[[int, Cancellation], Stream]


class Restarted(Exception):
    """What had come was not the blob: it comes anew from its first byte, and who has read it must forget it."""


class Download:
    """One blob on its way. `run` is its thread; the rest is for those that want it."""

    def __init__(self, wanted: Wanted, path: Path, attempts: int, after: Download | None) -> None:
        self.digest = wanted.digest
        self.size = wanted.size
        self.path = path
        self.complete = False
        self.received = 0
        self.generation = 0
        self.error: BaseException | None = None
        self.changed = threading.Condition()
        self._open = wanted.open
        self._attempts = attempts
        self._after = after
        self._over = threading.Event()
        self._started = False
        self._cancellation = Cancellation()
        self._watchers: list[LayerProgress] = []
        self._hash = hashlib.sha256()
        self._fd = -1

    # -- for those that want it

    @property
    def given_up(self) -> bool:
        """Whether it will never be complete: another one has to be begun."""
        return self.error is not None or self._cancellation.asked

    @property
    def ended(self) -> bool:
        """Whether nothing more will come of it."""
        return self._over.is_set()

    @property
    def wanted(self) -> bool:
        """Whether somebody waits for it."""
        return bool(self._watchers)

    def watch(self, progress: LayerProgress) -> None:
        """Tell `progress` how it goes from now on."""
        self._watchers = [*self._watchers, progress]
        if self.complete:
            progress.status("Download complete")
        elif not self._started:
            progress.status("Waiting")
        elif self.received:
            progress.advance("Downloading", self.received, self.size)

    def unwatch(self, progress: LayerProgress) -> None:
        """Tell it no more. Without anybody to tell it is given up."""
        self._watchers = [other for other in self._watchers if other is not progress]
        if not self._watchers:
            self.cancel()

    def cancel(self) -> None:
        """Give it up."""
        if not self.complete:
            self._cancellation.cancel()

    def follow(self, cancellation: Cancellation) -> Follower:
        """Its bytes from the first on, as they come; the caller closes it. Raises Cancelled, and its own errors."""
        with cancellation.breaking(self._wake), self.changed:
            while not self.received and not self.complete and self.error is None:
                cancellation.check()
                self.changed.wait()
            if self.error is not None:
                raise self.error
            return Follower(self, cancellation)

    def wait(self, cancellation: Cancellation) -> None:
        """Return when it is complete. Raises Cancelled, and its own errors."""
        with cancellation.breaking(self._wake), self.changed:
            while not self.complete:
                cancellation.check()
                if self.error is not None:
                    raise self.error
                self.changed.wait()

    def _wake(self) -> None:
        with self.changed:
            self.changed.notify_all()

    # -- its thread

    def run(self) -> None:
        """Fetch it."""
        self._started = True
        try:
            if self._after is not None:
                self._after._over.wait()  # it ends soon, and may write until then
            self._cancellation.check()
            self._fd = self._open_file()
            self._take_up()
            self._fetch()
        except OSError as error:
            self.error = KnarrError(f"write {self.path}: {(error.strerror or str(error)).lower()}")
        except BaseException as error:  # noqa: BLE001  # the thread's edge: those that wait for it get it
            self.error = error
        finally:
            if self._fd >= 0:
                os.close(self._fd)
            self._over.set()
            self._wake()

    def _open_file(self) -> int:
        return os.open(self.path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def _take_up(self) -> None:
        """Read what an earlier attempt has left."""
        while self.received <= self.size and (data := os.read(self._fd, CHUNK)):
            self._hash.update(data)
            self._came(len(data))
            self._cancellation.check()

    def _fetch(self) -> None:
        doubtful = self.received > 0
        while True:
            self._fetch_rest()
            self._tell("Verifying Checksum")
            if self.received == self.size and "sha256:" + self._hash.hexdigest() == self.digest:
                break
            if not doubtful:
                self.path.unlink(missing_ok=True)
                raise InvalidParameter(f"filesystem layer verification failed for digest {self.digest}")
            doubtful = False
            self._start_again()
        with self.changed:
            self.complete = True
            self.changed.notify_all()
        self._tell("Download complete")

    def _fetch_rest(self) -> None:
        """All bytes that are missing, over as many connections as are allowed."""
        delay = _DELAY
        left = self._attempts
        while self.received < self.size:
            before = self.received
            try:
                self._fetch_some()
                failure = KnarrError("unexpected EOF")
            except Cancelled:
                raise
            except KnarrError as error:
                failure = error
            if self.received >= self.size:
                return
            left = self._attempts if self.received > before else left - 1
            if left <= 0 or not _may_pass(failure):
                raise failure
            if self.received == before:
                self._tell(f"Retrying in {delay:.0f} second{'s' if delay > 1 else ''}")
                self._cancellation.wait(delay)
                delay *= 2

    def _fetch_some(self) -> None:
        """What one connection brings."""
        stream = self._open(self.received, self._cancellation)
        try:
            skip = self.received - stream.offset
            if skip < 0:
                raise KnarrError("the registry has sent another part than the one that was asked for")
            while data := stream.read(CHUNK):
                if skip:  # from a registry that does not know ranges
                    data, skip = data[skip:], max(skip - len(data), 0)
                if data:
                    self._keep(data)
                if self.received > self.size:
                    return
        finally:
            stream.close()

    def _keep(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]
        self._hash.update(data)
        self._came(len(data))
        for progress in self._watchers:
            progress.advance("Downloading", self.received, self.size)

    def _came(self, count: int) -> None:
        with self.changed:
            self.received += count
            self.changed.notify_all()

    def _start_again(self) -> None:
        with self.changed:
            self.generation += 1
            self.received = 0
            self._hash = hashlib.sha256()
            self.path.unlink(missing_ok=True)  # and not emptied: a blob may be the same file
            os.close(self._fd)
            self._fd = self._open_file()
            self.changed.notify_all()

    def _tell(self, text: str) -> None:
        for progress in self._watchers:
            progress.status(text)


class Follower:
    """Reads a download's file, waiting at its end until there is more or all has been verified."""

    def __init__(self, download: Download, cancellation: Cancellation) -> None:
        self._download = download
        self._cancellation = cancellation
        self._generation = download.generation
        self._fd = os.open(download.path, os.O_RDONLY | os.O_CLOEXEC)
        self.offset = 0

    def read(self, size: int, /) -> bytes:
        """At most `size` bytes, b"" at the end. Raises Restarted, Cancelled, and the download's errors."""
        available = self._wait()
        data = os.pread(self._fd, min(size, available), self.offset)
        self.offset += len(data)
        return data

    def _wait(self) -> int:
        download = self._download
        with self._cancellation.breaking(download._wake), download.changed:
            while True:
                self._cancellation.check()
                if download.generation != self._generation:
                    raise Restarted
                if self.offset < download.received or download.complete:
                    return download.received - self.offset
                if download.error is not None:
                    raise download.error
                download.changed.wait()

    def close(self) -> None:
        """Give the descriptor back."""
        os.close(self._fd)

    def __enter__(self) -> Follower:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


def _may_pass(failure: KnarrError) -> bool:
    """Whether another attempt may go better: not where the registry has understood and said no."""
    status = getattr(failure, "status", 0)
    return status < 400 or status in (408, 425, 429) or status >= 500
