"""What a start of the program imports: each module here is paid for by every command."""

from __future__ import annotations

import subprocess
import sys

import pytest

_EXPENSIVE = {
    *("asyncio", "argparse", "ctypes", "dataclasses", "datetime", "email", "h11", "http.client", "inspect", "logging"),
    *(
        "msgspec",
        "selectors",
        "shutil",
        "socket",
        "ssl",
        "subprocess",
        "tempfile",
        "threading",
        "typing",
        "urllib.parse",
    ),
}


def _imported_by(*command_line: str) -> set[str]:
    call = f"from knarr.cli.main import main; main({list(command_line)!r})"
    code = f"import sys; {call}; print(*sys.modules, file=sys.stderr)"
    finished = subprocess.run([sys.executable, "-I", "-c", code], capture_output=True, text=True, check=True)
    base = subprocess.run(
        [sys.executable, "-I", "-c", "import sys; print(*sys.modules, file=sys.stderr)"],
        capture_output=True,
        text=True,
        check=True,
    )
    return set(finished.stderr.split("\n")[-2].split()) - set(base.stderr.split())


def test_help_imports_little() -> None:
    modules = _imported_by("--help")
    assert not modules & (_EXPENSIVE | {"json"})
    assert len(modules) <= 32, sorted(modules)


@pytest.mark.parametrize("command", ["run", "exec", "ps", "rm"])
def test_commands_import_nothing_expensive(command: str) -> None:
    modules = _imported_by("-H", "unix:///nonexistent", command, "a", "b")
    assert not modules & _EXPENSIVE, sorted(modules & _EXPENSIVE)
    assert len(modules) <= 80, sorted(modules)
