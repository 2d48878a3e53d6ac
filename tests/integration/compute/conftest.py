"""A bench for systems on the real kernel."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from compute_bench import Bench
from runtime_bench import Runtime

from knarr.kernel.cgroups import Cgroup, detect


@pytest.fixture
def bench(tmp_path: Path) -> Iterator[Bench]:
    """A backend with a busybox root."""
    bench = Bench(tmp_path)
    yield bench
    bench.close()


@pytest.fixture
def runtime(tmp_path: Path) -> Iterator[Runtime]:
    """knarr-runtime with a busybox root; its container is gone afterwards."""
    runtime = Runtime(tmp_path)
    yield runtime
    runtime("delete", "--force", runtime.id)
    assert not Cgroup(detect(), f"/knarr-test-{runtime.id}").exists()
