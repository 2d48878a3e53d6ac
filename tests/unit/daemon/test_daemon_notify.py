"""sd_notify."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from knarr.daemon.notify import Notifier


def test_lines_arrive_in_one_message(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as receiver:
        receiver.bind(str(tmp_path / "n"))
        monkeypatch.setenv("NOTIFY_SOCKET", str(tmp_path / "n"))
        Notifier.from_environment().send("READY=1", "STATUS=fine")
        assert receiver.recv(100) == b"READY=1\nSTATUS=fine"
    assert "NOTIFY_SOCKET" not in os.environ


def test_nobody_to_tell_is_no_error(tmp_path: Path) -> None:
    Notifier("").send("READY=1")
    Notifier(str(tmp_path / "gone")).send("READY=1")
