"""A bench for systems on the real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from compute_bench import Bench


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A backend with a busybox root."""
    bench = Bench(tmp_path)
    yield bench
    bench.close()
