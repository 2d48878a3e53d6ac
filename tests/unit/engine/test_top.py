"""Process tables."""

from __future__ import annotations

import asyncio
import os

import pytest

from knarr.engine import top
from knarr.errors import InvalidParameter


def test_only_the_containers_processes() -> None:
    table = top.parse("PID COMMAND\n  1 init\n 22 sleep 10\n222 other\n", {22})
    assert table.titles == ["PID", "COMMAND"]
    assert table.processes == [["22", "sleep 10"]]


def test_output_without_ids() -> None:
    with pytest.raises(InvalidParameter, match="Couldn't find PID field in ps output"):
        top.parse("COMMAND\ninit\n", {1})


def test_full_format_without_ps() -> None:
    (row,) = asyncio.run(top.processes([os.getpid()], "-ef")).processes
    assert row[1:3] == [str(os.getpid()), str(os.getppid())]
    assert len(row) == 8


def test_a_process_that_has_ended() -> None:
    assert asyncio.run(top.processes([2**22 + 1], "-ef")).processes == []


def test_a_nul_among_the_arguments() -> None:
    with pytest.raises(InvalidParameter, match="invalid argument"):
        asyncio.run(top.processes([1], "-o\0"))
