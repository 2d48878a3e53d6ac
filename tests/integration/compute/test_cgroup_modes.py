"""The contract on hosts with other control groups than this one: the same kernel, seen through a private mount tree."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

from knarr.kernel.cgroups import detect

_MODES = {
    "v1": "umount -R -l /sys/fs/cgroup/unified",
    "v2": "umount -R -l /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup",
}
_PARTS = "exit_status or exec_shares or execs_end or pause or delete_leaves or forking or own or killed_shim"


@pytest.mark.parametrize("mode", _MODES)
def test_the_contract_holds(mode: str) -> None:
    if detect().mode != "hybrid":
        pytest.skip("only a hybrid host can show both")
    check = f"from knarr.kernel.cgroups import detect; assert detect().mode == '{mode}'"
    here = Path(__file__).parent
    run = [sys.executable, "-m", "pytest", "-k", _PARTS, here / "test_contract.py", here / "test_safety.py"]
    inside = f'{_MODES[mode]} && {sys.executable} -c "{check}" && exec "$@"'
    result = subprocess.run(
        ["unshare", "--mount", "sh", "-c", inside, "sh", *run], capture_output=True, text=True, timeout=110
    )
    assert result.returncode == 0, result.stdout + result.stderr
    assert "passed" in result.stdout
