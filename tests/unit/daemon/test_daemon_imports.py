"""What knarrd imports: each module costs a start a part of a millisecond, and memory for as long as it runs."""

from __future__ import annotations

import subprocess
import sys

MOST = 525


def imported_by(*modules: str) -> set[str]:
    program = f"import sys, {', '.join(modules)}; print(*sys.modules)"
    return set(
        subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout.split()
    )


def test_a_start_is_light() -> None:
    imported = imported_by("knarr.daemon.service", "knarr.daemon.assembly")
    assert len(imported) <= MOST
    unwanted = {"urllib.request", "http.client", "tarfile", "urllib3", "multiprocessing", "knarr.client"}
    assert not imported & (unwanted | {"grpclib", "h2", "google.protobuf", "knarr.buildkit.service"})


def test_help_needs_no_engine() -> None:
    assert not imported_by("knarr.daemon.main") & {"asyncio", "ssl", "sqlite3", "h11", "knarr.engine"}
