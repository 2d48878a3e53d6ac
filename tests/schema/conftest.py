"""The specification to hold answers against, and an engine. Without a specification all of this is skipped.

KNARR_API_SPEC=engine-api-1.50.yaml .venv/bin/python -m pytest tests/schema
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import busybox
import pytest
from harness import Daemon

if "KNARR_API_SPEC" not in os.environ:
    collect_ignore_glob = ["test_*.py"]


@pytest.fixture(scope="session")
def specification() -> Path:
    return Path(os.environ["KNARR_API_SPEC"])


@pytest.fixture(scope="module")
def daemon() -> Iterator[Daemon]:
    daemon = Daemon()
    daemon.start()
    daemon.docker("import", "-", "busybox:latest", input=busybox.archive())
    yield daemon
    daemon.remove()
    assert "request failed" not in daemon.log, "a handler raised what is no KnarrError"
