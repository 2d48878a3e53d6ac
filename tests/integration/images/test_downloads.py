"""What broken-off downloads leave."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path

import pytest

from knarr.errors import InvalidParameter, KnarrError
from knarr.images.cancellation import Cancellation
from knarr.images.downloads import Downloads
from knarr.images.progress import LayerProgress
from knarr.images.transfer import Wanted

DATA = os.urandom(3000)
DIGEST = "sha256:" + hashlib.sha256(DATA).hexdigest()


class Stream:
    """Bytes from somewhere on, in small pieces, at most so many."""

    def __init__(self, data: bytes, offset: int, most: int = 1 << 20) -> None:
        self.offset = offset
        self._data = data[offset : offset + most]

    def read(self, size: int, /) -> bytes:
        piece, self._data = self._data[:100], self._data[100:]
        return piece

    def close(self) -> None:
        pass


@pytest.fixture
def downloads(tmp_path: Path) -> Iterator[Downloads]:
    downloads = Downloads(tmp_path / "partial", at_once=2, attempts=2)
    yield downloads
    downloads.close()


def progress() -> LayerProgress:
    return LayerProgress(lambda _: None, "a")


def fetch(downloads: Downloads, wanted: Wanted) -> bytes:
    with downloads.using(wanted, progress()) as download, download.follow(Cancellation()) as follower:
        pieces = []
        while piece := follower.read(1000):
            pieces.append(piece)
    return b"".join(pieces)


def test_over_many_connections(downloads: Downloads) -> None:
    """As long as each of them brings something they are not counted."""
    asked = []

    def open(offset: int, _: Cancellation) -> Stream:
        asked.append(offset)
        return Stream(DATA, offset, 700)

    assert fetch(downloads, Wanted(DIGEST, len(DATA), open)) == DATA
    assert asked == [0, 700, 1400, 2100, 2800]


def test_too_many_bytes(downloads: Downloads) -> None:
    wanted = Wanted(DIGEST, len(DATA), lambda offset, _: Stream(DATA + b"more" * 100, offset))
    with pytest.raises(InvalidParameter, match="verification failed"):
        fetch(downloads, wanted)


def test_an_answer_that_is_final_is_not_asked_for_again(downloads: Downloads) -> None:
    asked = []

    class NotThere(KnarrError):
        status = 404

    def open(offset: int, _: Cancellation) -> Stream:
        asked.append(offset)
        raise NotThere("blob unknown")

    with pytest.raises(NotThere):
        fetch(downloads, Wanted(DIGEST, len(DATA), open))
    assert asked == [0]


def test_pruning(downloads: Downloads, tmp_path: Path) -> None:
    (tmp_path / "partial" / ("0" * 64)).write_bytes(b"12345")
    fetch(downloads, Wanted(DIGEST, len(DATA), all_of_it))
    assert downloads.prune() == 5 + len(DATA)
    assert list((tmp_path / "partial").iterdir()) == []


def all_of_it(offset: int, _: Cancellation) -> Stream:
    return Stream(DATA, offset)


def test_what_still_runs_is_forgotten_at_its_end(downloads: Downloads, tmp_path: Path) -> None:
    with downloads.using(Wanted(DIGEST, len(DATA), all_of_it), progress()) as download:
        download.wait(Cancellation())
        downloads.forget(DIGEST)
        assert (tmp_path / "partial" / DIGEST[7:]).exists()
    downloads.close()
    assert list((tmp_path / "partial").iterdir()) == []


def test_old_ones_go_at_the_next_start(tmp_path: Path) -> None:
    old, new = tmp_path / ("0" * 64), tmp_path / ("1" * 64)
    for path in (old, new):
        path.write_bytes(b"1")
    os.utime(old, (0, 0))
    Downloads(tmp_path, at_once=1, attempts=1).close()
    assert list(tmp_path.iterdir()) == [new]


@pytest.mark.parametrize("digest", ["sha512:" + "0" * 128, "sha256:../../etc/passwd", ""])
def test_no_digest_is_a_path(downloads: Downloads, digest: str) -> None:
    with pytest.raises(InvalidParameter, match="unsupported digest"):
        fetch(downloads, Wanted(digest, 1, all_of_it))


def test_a_disk_that_cannot_be_written(downloads: Downloads, tmp_path: Path) -> None:
    (tmp_path / "partial" / DIGEST[7:]).mkdir()
    with pytest.raises(KnarrError, match=r"write .*: is a directory"):
        fetch(downloads, Wanted(DIGEST, len(DATA), all_of_it))
