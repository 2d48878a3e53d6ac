"""The log's mode non-blocking. A fifo stands for a slow disk: whoever writes to a full one waits."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr.compute.interface import LogSettings
from knarr.compute.native.json_log import JsonLog
from knarr.compute.native.log_buffer import LogBuffer
from knarr.compute.native.rotating_file import RotatingFile


@pytest.fixture
def slow(tmp_path: Path) -> tuple[RotatingFile, int]:
    """A file that takes nothing, and the descriptor to read from that it goes on."""
    os.mkfifo(tmp_path / "fifo")
    reader = os.open(tmp_path / "fifo", os.O_RDONLY | os.O_NONBLOCK)
    writer = os.open(tmp_path / "fifo", os.O_WRONLY | os.O_NONBLOCK)
    try:
        while True:
            os.write(writer, b"x" * 4096)
    except BlockingIOError:
        os.close(writer)
    os.set_blocking(reader, True)
    return RotatingFile(LogSettings(path=str(tmp_path / "fifo"))), reader


def _read_to_end(reader: int) -> bytes:
    with os.fdopen(reader, "rb") as file:
        return file.read().lstrip(b"x")


def test_all_is_written_in_order(tmp_path: Path) -> None:
    buffer = LogBuffer(RotatingFile(LogSettings(path=str(tmp_path / "log"))), 1 << 20)
    lines = [b"%d\n" % number for number in range(5000)]
    for line in lines:
        buffer.append(line)
    buffer.flush()
    assert (tmp_path / "log").read_bytes() == b"".join(lines)
    buffer.close()


def test_the_oldest_are_lost_when_the_file_is_slow(slow: tuple[RotatingFile, int]) -> None:
    file, reader = slow
    buffer = LogBuffer(file, 30)
    for number in range(10):
        buffer.append(b"line %d...\n" % number)  # 10 bytes each; the first may be in the writer's hands
    os.read(reader, 4096)
    buffer._awaited = True  # nobody waits: close returns at once
    buffer.close()
    rest = _read_to_end(reader)
    assert rest.endswith(b"line 7...\nline 8...\nline 9...\n")
    assert rest.count(b"\n") <= 4


def test_a_log_with_a_buffer_is_whole_when_flushed(tmp_path: Path) -> None:
    log = JsonLog(LogSettings(path=str(tmp_path / "log"), buffer=1 << 20))
    log.write("stdout", b"one\ntwo")
    log.flush()
    assert len((tmp_path / "log").read_text().splitlines()) == 2
    log.close()
