"""What all tests share: who can run what where."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_HERE = Path(__file__).parent

# How long an example takes depends on what else the machine does.
settings.register_profile("knarr", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile("knarr")


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the kernel and of whole engines need root."""
    if os.geteuid() == 0:
        return
    for item in items:
        if item.path.relative_to(_HERE).parts[0] in ("integration", "e2e"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
