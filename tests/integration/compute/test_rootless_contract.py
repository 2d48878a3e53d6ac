"""The contract of compute backends, once more: kept by our backends as an ordinary user's, in a user namespace."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
import subordinate_user

_HERE = Path(__file__).parent
_SETTINGS = _HERE.parents[2] / "pyproject.toml"
_SCRIPT = """
import os, sys, pytest
from pathlib import Path
from knarr.rootless import entrance
home = Path(os.environ["HOME"])
outside, note = entrance.enter(home)
assert os.geteuid() == 0 and not note, note
sys.exit(pytest.main([*sys.argv[1:], "--basetemp", str(home / "tmp")]))
"""


@pytest.fixture
def home() -> Iterator[Path]:
    directory = Path(tempfile.mkdtemp(prefix="kn", dir="/tmp"))  # pytest's own directories are closed to others
    directory.chmod(0o755)
    yield directory / "home"
    shutil.rmtree(directory)


@pytest.mark.parametrize(
    "others", ["crun and not knarr-runtime", pytest.param("crun and not knarr]", marks=pytest.mark.slow)]
)
def test_a_backend_of_an_ordinary_user_keeps_the_contract(home: Path, others: str) -> None:
    chosen = [
        str(_HERE / "test_contract.py"),
        "-k",
        f"not runc and not {others}",
        "-c",
        str(_SETTINGS),
        "--rootdir",
        str(home),
    ]
    command = [sys.executable, subordinate_user.__file__, str(home), sys.executable, "-P", "-c", _SCRIPT]
    command += ["-q", "-p", "no:cacheprovider", *chosen]
    environment = {**os.environ, "PYTHONDONTWRITEBYTECODE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, timeout=100, check=False, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert ".........." in done.stdout  # there was something to pass
