"""Reading json-file logs."""

from __future__ import annotations

import asyncio
import gzip
from pathlib import Path

import pytest

from knarr.engine import logs
from knarr.engine.log_files import LogFile, LogFiles, ends_line
from knarr.engine.logs import LogOptions
from knarr.errors import InvalidParameter


def record(text: str, stream: str = "stdout", second: int = 0, attrs: str = "") -> str:
    escaped = text.replace("\\", "\\\\").replace("\n", "\\n").replace('"', '\\"')
    return f'{{"log":"{escaped}","stream":"{stream}"{attrs},"time":"2024-01-01T00:00:{second:02d}.000000000Z"}}\n'


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "c-json.log"


async def _collect(path: Path, options: LogOptions, framed: bool, ended: asyncio.Future[None] | None) -> bytes:
    return b"".join([chunk async for chunk in await logs.read(path, options, framed=framed, ended=ended)])


def output(path: Path, *, framed: bool = False, **options: object) -> bytes:
    return asyncio.run(_collect(path, LogOptions(**options), framed, None))  # type: ignore[arg-type]


def numbered(path: Path, count: int, first: int = 0) -> None:
    path.write_text("".join(record(f"{number}\n") for number in range(first, first + count)))


def test_whole(path: Path) -> None:
    path.write_text(record('a "b" \\n\n') + record("c\n"))
    assert output(path) == b'a "b" \\n\nc\n'


def test_no_log_yet(path: Path) -> None:
    assert output(path) == b""


def test_streams_are_framed_apart(path: Path) -> None:
    path.write_text(record("o\n") + record("e\n", "stderr"))
    assert output(path, framed=True) == b"\1\0\0\0\0\0\0\2o\n\2\0\0\0\0\0\0\2e\n"


def test_one_stream_only(path: Path) -> None:
    path.write_text(record("o\n") + record("e\n", "stderr"))
    assert output(path, stdout=False) == b"e\n"


def test_many_lines_share_frames(path: Path) -> None:
    numbered(path, 20_000)
    framed = output(path, framed=True)
    assert len(framed) - len(output(path)) < 8 * 100


@pytest.mark.parametrize("count", [0, 1, 3, 5000, 20_000, 30_000])
def test_tail(path: Path, count: int) -> None:
    numbered(path, 20_000)
    kept = range(max(0, 20_000 - count), 20_000)
    assert output(path, tail=str(count)) == "".join(f"{number}\n" for number in kept).encode()


def test_a_tail_beyond_all_numbers_is_everything(path: Path) -> None:
    path.write_text(record("a\n") + record("b\n"))
    assert output(path, tail="9" * 5000) == output(path, tail="٣") == b"a\nb\n"


def test_tail_of_records_longer_than_a_block(path: Path) -> None:
    path.write_text("".join(record(character * 300_000 + "\n") for character in "abc"))
    assert output(path, tail="2") == b"b" * 300_000 + b"\n" + b"c" * 300_000 + b"\n"


def test_tail_counts_lines_not_records(path: Path) -> None:
    path.write_text(record("first\n") + record("part ") + record("and rest\n"))
    assert output(path, tail="1") == b"part and rest\n"


def test_tail_counts_an_unfinished_line(path: Path) -> None:
    path.write_text(record("first\n") + record("unfinished"))
    assert output(path, tail="1") == b"unfinished"


def test_tail_over_rotated_and_compressed_files(path: Path) -> None:
    numbered(path, 10)
    Path(f"{path}.2.gz").write_bytes(gzip.compress(path.read_bytes()))
    numbered(path, 10, 10)
    path.rename(f"{path}.1")
    numbered(path, 10, 20)
    assert output(path, tail="25") == "".join(f"{number}\n" for number in range(5, 30)).encode()


def test_since_and_until(path: Path) -> None:
    path.write_text("".join(record(f"{second}\n", second=second) for second in range(5)))
    assert output(path, since="2024-01-01T00:00:01Z", until="1704067203") == b"1\n2\n3\n"


def test_times_written_short(path: Path) -> None:
    path.write_text('{"log":"a\\n","stream":"stdout","time":"2024-01-01T00:00:01.5Z"}\n')
    assert output(path, timestamps=True) == b"2024-01-01T00:00:01.500000000Z a\n"


def test_time_that_is_none(path: Path) -> None:
    with pytest.raises(InvalidParameter):
        output(path, since="yesterday")


def test_long_line_has_one_timestamp(path: Path) -> None:
    path.write_text(record("part ") + record("and rest\n"))
    assert output(path, timestamps=True) == b"2024-01-01T00:00:00.000000000Z part and rest\n"


def test_details(path: Path) -> None:
    path.write_text(record("x\n", attrs=',"attrs":{"foo":"bar","a":"b c"}'))
    assert output(path, details=True) == b"a=b+c,foo=bar x\n"


def test_torn_record_is_left_out(path: Path) -> None:
    path.write_text(record("a\n") + '{"log":"tor' + "\n" + record("b\n"))
    assert output(path) == b"a\nb\n"


@pytest.mark.parametrize(("text", "ends"), [("a\n", True), ("a", False), ("a\\n", False), ("\\\n", True), ("\n", True)])
def test_ends_line(text: str, ends: bool) -> None:
    assert ends_line(record(text).encode()) is ends


def test_torn_end_is_read_when_complete(path: Path) -> None:
    path.write_text(record("a\n") + '{"log":')
    file = LogFile(path)
    assert list(file.blocks()) == [record("a\n").encode()]
    with path.open("a") as log:
        log.write('"b\\n"}\n')
    assert list(file.blocks()) == [b'{"log":"b\\n"}\n']
    file.close()


def test_newer_files(path: Path) -> None:
    numbered(path, 1)
    first = LogFile(path)
    for _ in range(2):
        if Path(f"{path}.1").exists():
            Path(f"{path}.1").rename(f"{path}.2")
        path.rename(f"{path}.1")
        numbered(path, 1)
    newer = LogFiles(path).newer_than(first.inode)
    assert len(newer) == 2
    for file in [first, *newer]:
        file.close()


async def _follow(path: Path, write: list[tuple[str, bool]]) -> bytes:
    """Follow the log while `write` goes to it: texts, each into a new file if so marked."""
    ended = asyncio.get_running_loop().create_future()
    reader = await logs.read(path, LogOptions(follow=True, tail="1"), framed=False, ended=ended)
    seen = await anext(reader)
    for text, rotate in write:
        if rotate:
            path.rename(f"{path}.1")
        with path.open("a") as log:
            log.write(record(text))
        seen += await anext(reader)
    with path.open("a") as log:
        log.write(record("last\n"))
    ended.set_result(None)
    return seen + b"".join([chunk async for chunk in reader])


def test_follow(path: Path) -> None:
    numbered(path, 3)
    assert asyncio.run(_follow(path, [("a\n", False), ("b\n", False)])) == b"2\na\nb\nlast\n"


def test_follow_over_rotation(path: Path) -> None:
    numbered(path, 3)
    assert asyncio.run(_follow(path, [("a\n", False), ("b\n", True), ("c\n", False)])) == b"2\na\nb\nc\nlast\n"
