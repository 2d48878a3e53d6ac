"""One daemon per directory."""

from __future__ import annotations

import stat
import subprocess
import sys
from pathlib import Path

import pytest

from knarr.daemon.locks import DirectoryLock
from knarr.errors import Conflict

TAKE = "import sys, pathlib; from knarr.daemon.locks import DirectoryLock; DirectoryLock(pathlib.Path(sys.argv[1]))"


def take_elsewhere(directory: Path) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", TAKE, str(directory)], capture_output=True, text=True, check=False)


def test_a_second_process_is_told_who_holds_it(tmp_path: Path) -> None:
    import os

    lock = DirectoryLock(tmp_path / "root")
    assert f"is in use by another knarrd (process {os.getpid()})" in take_elsewhere(tmp_path / "root").stderr
    lock.release()
    assert take_elsewhere(tmp_path / "root").returncode == 0


def test_the_directory_is_private(tmp_path: Path) -> None:
    DirectoryLock(tmp_path / "a" / "b").release()
    assert stat.S_IMODE((tmp_path / "a" / "b").stat().st_mode) == 0o700


def test_a_directory_of_somebody_else_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "letters").write_text("dear")
    tmp_path.chmod(0o755)
    with pytest.raises(Conflict, match="not knarr's"):
        DirectoryLock(tmp_path)
    assert stat.S_IMODE(tmp_path.stat().st_mode) == 0o755
