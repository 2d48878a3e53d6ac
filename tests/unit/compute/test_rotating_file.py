"""A log on a disk that is full, or that somebody was killed while writing to: whole lines only."""

from __future__ import annotations

import os
import resource
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from knarr.compute.interface import LogSettings
from knarr.compute.native.rotating_file import RotatingFile


@contextmanager
def room(size: int) -> Iterator[None]:
    """No file can become larger than `size`: the nearest to a full disk that needs no privilege."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
        signal.signal(signal.SIGXFSZ, handler)


def test_no_part_of_a_line_stays_where_there_is_no_room(tmp_path: Path) -> None:
    log = RotatingFile(LogSettings(path=str(tmp_path / "log")))
    with room(25):
        log.append(b"0123456789\n0123456789\n0123456789\n")
        log.append(b"lost as well\n")
    log.append(b"later\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == b"0123456789\n0123456789\nlater\n"


def test_what_cannot_be_compressed_stays_as_it_is(tmp_path: Path) -> None:
    log = RotatingFile(LogSettings(path=str(tmp_path / "log"), max_size=4096, max_file=2, compress=True))
    log.append(b"x" * 4000 + b"\n")
    (tmp_path / "log.1.gz").symlink_to("/dev/full")
    log.append(b"y" * 4000 + b"\n")
    log.close()
    assert (tmp_path / "log.1").read_bytes() == b"x" * 4000 + b"\n"
    assert (tmp_path / "log").read_bytes() == b"y" * 4000 + b"\n"
    assert sorted(os.listdir(tmp_path)) == ["log", "log.1"]


@pytest.mark.parametrize("left", [b"", b"whole\n", b"whole\npart", b"part", b"whole\n" + b"part" * 40_000])
def test_half_a_line_that_a_kill_has_left_is_cut_off(tmp_path: Path, left: bytes) -> None:
    (tmp_path / "log").write_bytes(left)
    log = RotatingFile(LogSettings(path=str(tmp_path / "log")))
    log.append(b"next\n")
    log.close()
    assert (tmp_path / "log").read_bytes() == (b"whole\n" if b"\n" in left else b"") + b"next\n"
