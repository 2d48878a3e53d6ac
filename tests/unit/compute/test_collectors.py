"""Output sent to log collectors, on real sockets."""

from __future__ import annotations

import array
import mmap
import os
import re
import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from knarr.compute.interface import JournalSettings, LogSettings, SyslogSettings
from knarr.compute.native.collector import Collector


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def datagram_server(path: Path, stack: ExitStack) -> socket.socket:
    server = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM))
    server.bind(str(path))
    server.settimeout(20)
    return server


def entry(data: bytes) -> dict[str, bytes]:
    """A journal entry of fields without newlines."""
    return {key.decode(): value for key, _, value in (line.partition(b"=") for line in data.splitlines())}


def send(settings: SyslogSettings | JournalSettings, *output: tuple[str, bytes]) -> None:
    collector = Collector(LogSettings(driver="none", sink=settings))
    for stream, data in output:
        collector.write(stream, data)
    collector.close()


@pytest.mark.parametrize(
    ("format", "pattern"),
    [
        ("", rb"<%d>\w{3} [ \d]\d \d\d:\d\d:\d\d box\[%d\]: hello\n"),
        ("rfc3164", rb"<%d>\w{3} [ \d]\d \d\d:\d\d:\d\d \S+ box\[%d\]: hello\n"),
        ("rfc5424", rb"<%d>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d) \S+ box %d box - hello\n"),
        ("rfc5424micro", rb"<%d>1 \d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}(?:Z|[+-]\d\d:\d\d) \S+ box %d box - hello\n"),
    ],
)
def test_formats_of_syslog(format: str, pattern: bytes, tmp_path: Path, stack: ExitStack) -> None:
    server = datagram_server(tmp_path / "log", stack)
    settings = SyslogSettings("unixgram", str(tmp_path / "log"), format=format, facility=16, tag="box")
    send(settings, ("stdout", b"hello\n"), ("stderr", b"hello"))
    assert re.fullmatch(pattern % (16 * 8 + 6, os.getpid()), server.recv(9999))
    assert re.fullmatch(pattern % (16 * 8 + 3, os.getpid()), server.recv(9999))


def test_syslog_over_tcp_connects_again(stack: ExitStack) -> None:
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    server.settimeout(20)
    settings = SyslogSettings("tcp", "127.0.0.1", server.getsockname()[1], tag="box")
    collector = Collector(LogSettings(driver="none", sink=settings))
    collector.write("stdout", b"zero\n")
    first, _ = server.accept()
    with first, first.makefile("rb") as lines:
        assert lines.readline().endswith(b": zero\n")
        collector.write("stdout", b"one\n")
        assert lines.readline().endswith(b": one\n")
    collector.write("stdout", b"two\nthree\n")
    second, _ = server.accept()
    with second, second.makefile("rb") as lines:
        assert [lines.readline()[-6:], lines.readline()[-6:]] == [b": two\n", b"three\n"]
    collector.close()


def test_syslog_over_udp(stack: ExitStack) -> None:
    server = stack.enter_context(socket.socket(socket.AF_INET, socket.SOCK_DGRAM))
    server.bind(("127.0.0.1", 0))
    server.settimeout(20)
    send(SyslogSettings("udp", "localhost", server.getsockname()[1], tag="box"), ("stdout", b"one\ntwo\n"))
    assert server.recv(999).endswith(b": one\n")
    assert server.recv(999).endswith(b": two\n")


def test_what_was_written_before_the_collector_came(tmp_path: Path, stack: ExitStack) -> None:
    collector = Collector(LogSettings(driver="none", sink=JournalSettings(str(tmp_path / "journal"))))
    collector.write("stdout", b"early\n")
    server = datagram_server(tmp_path / "journal", stack)
    assert entry(server.recv(9999))["MESSAGE"] == b"early"
    collector.close()


def test_without_a_collector_nothing_waits_and_the_end_comes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("knarr.compute.native.collector._PARTING", 0.05)
    collector = Collector(LogSettings(driver="none", buffer=1000, sink=JournalSettings(str(tmp_path / "none"))))
    for _ in range(2000):
        collector.write("stdout", b"x" * 100 + b"\n")
    collector.close()


def test_a_full_buffer_without_a_collector_holds_output_back_once_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("knarr.compute.native.collector._PARTING", 0.05)
    collector = Collector(LogSettings(driver="none", sink=JournalSettings(str(tmp_path / "none"))))
    for _ in range(4000):  # some MiB: were each to wait, this would take an hour
        collector.write("stdout", b"x" * 1000 + b"\n")
    collector.close()


def test_fields_of_the_journal(tmp_path: Path, stack: ExitStack) -> None:
    server = datagram_server(tmp_path / "journal", stack)
    settings = JournalSettings(str(tmp_path / "journal"), {"CONTAINER_NAME": "box", "NOTE": "two\nlines"})
    send(settings, ("stderr", b"hello\n"))
    data = server.recv(9999)
    assert {"MESSAGE=hello", "PRIORITY=3", "CONTAINER_NAME=box", "CONTAINER_LOG_ORDINAL=1"} <= {
        *data.decode().splitlines()
    }
    assert b"\nNOTE\n\x09\0\0\0\0\0\0\0two\nlines\n" in data
    assert b"PARTIAL" not in data


def test_parts_of_a_line_in_the_journal(tmp_path: Path, stack: ExitStack) -> None:
    server = datagram_server(tmp_path / "journal", stack)
    send(JournalSettings(str(tmp_path / "journal")), ("stdout", b"x" * 20_000 + b"\n"))
    first, second = entry(server.recv(99_999)), entry(server.recv(99_999))
    assert first["CONTAINER_PARTIAL_MESSAGE"] == b"true"
    assert "CONTAINER_PARTIAL_MESSAGE" not in second
    assert first["CONTAINER_PARTIAL_ID"] == second["CONTAINER_PARTIAL_ID"]
    assert (second["CONTAINER_PARTIAL_ORDINAL"], second["CONTAINER_PARTIAL_LAST"]) == (b"2", b"true")


def test_an_entry_too_large_for_a_datagram_is_a_sealed_file(tmp_path: Path, stack: ExitStack) -> None:
    server = datagram_server(tmp_path / "journal", stack)
    send(JournalSettings(str(tmp_path / "journal"), {"BIG": "y" * (4 << 20)}), ("stdout", b"hello\n"))
    _, control, _, _ = server.recvmsg(1, socket.CMSG_SPACE(4))
    with os.fdopen(array.array("i", control[0][2])[0], "rb") as file:
        file.seek(0)
        assert entry(file.read())["BIG"] == b"y" * (4 << 20)
        with pytest.raises(PermissionError):
            mmap.mmap(file.fileno(), 0, mmap.MAP_SHARED, mmap.PROT_WRITE)


def test_a_collector_that_is_slow_gets_everything(stack: ExitStack) -> None:
    """Output waits for it as long as it takes any."""
    server = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
    server.settimeout(20)
    collector = Collector(LogSettings(driver="none", sink=SyslogSettings("tcp", "127.0.0.1", server.getsockname()[1])))
    output = b"".join(b"%d\n" % number for number in range(100_000))
    writer = threading.Thread(target=lambda: [collector.write("stdout", output), collector.close()])
    writer.start()
    connection, _ = server.accept()
    with connection, connection.makefile("rb") as lines:
        seen = [int(next(lines).rpartition(b" ")[2]) for _ in range(100_000)]
    writer.join()
    assert seen == list(range(100_000))
