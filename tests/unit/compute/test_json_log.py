"""The json-file log: what is written is what dockerd would have written."""

from __future__ import annotations

import json
import re
import tempfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from knarr.compute.interface import LogSettings
from knarr.compute.native.json_log import MAX_LINE, JsonLog, escape, timestamp


def written(path: Path, *pieces: tuple[str, bytes], **settings: object) -> list[dict[str, object]]:
    log = JsonLog(LogSettings(path=str(path), **settings))  # type: ignore[arg-type]
    for stream, data in pieces:
        log.write(stream, data)
    log.close()
    return [json.loads(line) for line in path.read_bytes().splitlines()]  # of text that would split at U+0085, too


def texts(records: list[dict[str, object]]) -> list[object]:
    return [record["log"] for record in records]


def test_lines_become_records(tmp_path: Path) -> None:
    records = written(tmp_path / "log", ("stdout", b"one\ntwo\n"), ("stderr", b"three\n"))
    assert [(r["log"], r["stream"]) for r in records] == [
        ("one\n", "stdout"),
        ("two\n", "stdout"),
        ("three\n", "stderr"),
    ]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{9}Z", str(records[0]["time"]))


def test_pieces_of_a_line_are_joined(tmp_path: Path) -> None:
    assert texts(written(tmp_path / "log", ("stdout", b"ab"), ("stdout", b"c\nd"))) == ["abc\n", "d\n"]


def test_streams_do_not_mix(tmp_path: Path) -> None:
    records = written(tmp_path / "log", ("stdout", b"a"), ("stderr", b"b\n"), ("stdout", b"c\n"))
    assert texts(records) == ["b\n", "ac\n"]


def test_long_lines_are_split_without_a_newline(tmp_path: Path) -> None:
    records = written(tmp_path / "log", ("stdout", b"x" * (2 * MAX_LINE + 5) + b"\nshort\n"))
    assert [len(str(text)) for text in texts(records)] == [MAX_LINE, MAX_LINE, 6, 6]
    assert [str(text).endswith("\n") for text in texts(records)] == [False, False, True, True]


def test_attributes_stand_in_every_record(tmp_path: Path) -> None:
    (record,) = written(tmp_path / "log", ("stdout", b"x\n"), attrs={"b": "2", "a": "1"})
    assert list(record) == ["log", "stream", "attrs", "time"]
    assert record["attrs"] == {"a": "1", "b": "2"}


def test_escapes_are_gos() -> None:
    assert escape(b'<a href="x">&\\\t\x01\n') == b'\\u003ca href=\\"x\\"\\u003e\\u0026\\\\\\t\\u0001\n'
    assert escape(b"\xff") == b"\\ufffd"


@given(st.lists(st.binary(max_size=200), max_size=8))
def test_nothing_is_lost_whatever_is_written(pieces: list[bytes]) -> None:
    with tempfile.TemporaryDirectory() as directory:
        records = written(Path(directory) / "log", *[("stdout", piece) for piece in pieces])
    whole = b"".join(pieces)
    if whole and not whole.endswith(b"\n"):
        whole += b"\n"
    assert "".join(map(str, texts(records))) == whole.decode(errors="replace")


def test_timestamp_has_nine_digits() -> None:
    assert timestamp(1_700_000_000_000_000_005) == "2023-11-14T22:13:20.000000005Z"
