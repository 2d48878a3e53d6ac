"""Whole engines on the real kernel."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from engine_bench import EngineBench


@pytest.fixture(scope="module")
def bench() -> Iterator[EngineBench]:
    """An engine with a busybox image. Tests of a module share it: they look only at containers of their own."""
    bench = EngineBench()
    yield bench
    bench.close()
