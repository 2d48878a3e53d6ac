"""The engine is killed in the middle: the next one finds whole layers and nothing else."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable
from typing import Any

_CHILD = """
import sys
from pathlib import Path
from knarr.database import Database
from knarr.storage.layers import LayerStore
root, driver, parent = sys.argv[1:]
LayerStore(Path(root), Database(Path(root) / "state.db"), driver).apply(parent, sys.stdin.buffer)
"""


def test_killed_while_unpacking(bench: Any, make: Callable[..., Any], archive: Callable[..., Any]) -> None:
    base = bench.layer(None, make("etc/file", b"base"))
    before = bench.files()
    bench.stop()
    data = archive(*(make(f"d{number}/file", b"x" * 100_000) for number in range(60))).getvalue()
    child = subprocess.Popen([sys.executable, "-c", _CHILD, str(bench.root), bench.driver, base], stdin=subprocess.PIPE)
    assert child.stdin is not None
    child.stdin.write(data[: len(data) // 2])  # more than a pipe holds: half of it is being unpacked now
    child.send_signal(signal.SIGKILL)
    assert child.wait() == -signal.SIGKILL
    child.stdin.close()
    assert bench.files() != before
    bench.start()
    assert (bench.files(), [layer.chain_id for layer in bench.store.layers()]) == (before, [base])
    assert bench.tree(base).read("etc/file") == b"base"


def test_files_without_a_row_go_and_come_back(bench: Any, make: Callable[..., Any]) -> None:
    base = bench.layer(None, make("file", b"data"))
    bench.database.execute("DELETE FROM layers")  # as if killed between the files and the row
    bench.restart()
    assert bench.store.layers() == []
    assert bench.layer(None, make("file", b"data")) == base
    assert os.listdir(bench.root / ("overlay" if bench.driver == "overlay2" else "vfs") / "tmp") == []
