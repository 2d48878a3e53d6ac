"""What all tests share: who can run what where."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

_HERE = Path(__file__).parent

# The same examples each time and however slow the machine is; `--hypothesis-profile=explore` looks for new ones.
settings.register_profile("explore", deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.register_profile("repeat", settings.get_profile("explore"), derandomize=True, database=None)
settings.load_profile("repeat")


def pytest_configure(config: pytest.Config) -> None:
    """Engines of an ordinary user do not get into pytest's own directories."""
    if os.environ.get("KNARR_TEST_ROOTLESS") and not config.option.basetemp:
        directory = tempfile.mkdtemp(prefix="kn", dir="/tmp")
        os.chmod(directory, 0o755)
        config.option.basetemp = f"{directory}/tmp"
        config.add_cleanup(lambda: shutil.rmtree(directory, ignore_errors=True))


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Tests of the kernel and of whole engines need root; some need engines that are root's."""
    if os.environ.get("KNARR_TEST_ROOTLESS"):
        for item in items:
            for marker in item.iter_markers("rootful"):
                item.add_marker(pytest.mark.skip(reason=f"rootless: {marker.args[0]}"))
    if os.geteuid() == 0:
        return
    for item in items:
        if item.path.relative_to(_HERE).parts[0] in ("integration", "e2e"):
            item.add_marker(pytest.mark.skip(reason="needs root"))
