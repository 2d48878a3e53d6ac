"""The line that tells how much is done."""

from __future__ import annotations

import io
from typing import Any

import pytest

from knarr.cli import meter


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True

    def fileno(self) -> int:
        return -1


@pytest.fixture(autouse=True)
def _no_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(meter, "_SECONDS", 0.0)


def test_a_bar_that_is_gone_afterwards() -> None:
    out = Terminal()
    assert list(meter.metered([b"12345", b"67890"], "Sending", 10, out)) == [b"12345", b"67890"]
    assert f"Sending [{'=' * 25}>{' ' * 24}]  5B/10B" in out.getvalue()
    assert out.getvalue().endswith("\r\x1b[2K")


def test_an_unknown_and_a_wrong_total() -> None:
    out = Terminal()
    list(meter.metered([b"x" * 2000], "Copying", 0, out))
    list(meter.metered([b"x" * 3000], "Writing", 1000, out))
    assert "Copying 2kB" in out.getvalue()
    assert "3kB/3kB" in out.getvalue()


def test_nothing_is_shown_elsewhere() -> None:
    out = io.StringIO()
    assert list(meter.metered([b"x"], "Sending", 1, out)) == [b"x"]
    assert out.getvalue() == ""


def test_it_is_gone_after_a_failure() -> None:
    out: Any = Terminal()
    pieces = meter.metered([b"x", b"y"], "Sending", 2, out)
    next(pieces)
    pieces.close()
    assert out.getvalue() == "\r\x1b[2K"
