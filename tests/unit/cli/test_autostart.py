"""Who may start an engine."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from knarr import places
from knarr.cli import autostart
from knarr.cli.errors import CommandError


def test_others_than_root_are_told_what_to_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(places, "SYSTEM_RUN", str(tmp_path / "knarr"))
    with pytest.raises(CommandError, match=r"Is the docker daemon running\?\nIt is started by .* use sudo"):
        autostart.ensure_running(str(tmp_path / "knarr.sock"))
    assert not list(tmp_path.iterdir())
