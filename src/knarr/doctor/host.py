"""The machine as it is: kernel, processor, interpreter, emulators, other engines."""

from __future__ import annotations

import os
import platform
import socket
import sys
from collections.abc import Iterator
from pathlib import Path

from knarr.doctor import remedies
from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject

TITLE = "Host"

_PYTHON = (3, 11)
_EMULATORS = Path("/proc/sys/fs/binfmt_misc")
_ENGINES = {
    "dockerd": "/run/docker.sock",
    "podman": "/run/podman/podman.sock",
    "containerd": "/run/containerd/containerd.sock",
}
_USER_ENGINES = {"dockerd": "docker.sock", "podman": "podman/podman.sock"}


def examine(subject: Subject) -> Iterator[Finding]:
    """All findings of the group."""
    uname = os.uname()
    yield ok("Linux", f"{uname.release}, {uname.machine}")
    yield _python()
    yield _emulators()
    yield _other_engines(subject)


def _python() -> Finding:
    version = platform.python_version()
    if sys.version_info < _PYTHON:
        remedy = remedies.install(f"python{_PYTHON[0]}.{_PYTHON[1]}")
        return missing("Python", version, "knarr does not run", remedy, needed=True)
    return ok("Python", version)


def _emulators() -> Finding:
    """Whose programs run here besides the processor's own (binfmt_misc)."""
    name = "emulated platforms"
    effect = "steps of builds for other platforms (--platform) are refused"
    try:
        entries = sorted(path.name for path in _EMULATORS.iterdir() if path.name.startswith("qemu-"))
    except OSError:
        entries = []
    enabled = [entry.removeprefix("qemu-") for entry in entries if _is_enabled(_EMULATORS / entry)]
    if enabled:
        return ok(name, ", ".join(enabled))
    return missing(name, "no emulator is registered with binfmt_misc", effect, remedies.install("qemu-user-static"))


def _is_enabled(path: Path) -> bool:
    try:
        return path.read_text().startswith("enabled")
    except OSError:
        return False


def _other_engines(subject: Subject) -> Finding:
    """Others get along with knarr; but who looks for containers should know that there are several places."""
    sockets = dict(_ENGINES)
    if subject.rootless and subject.runtime_dir:
        sockets = {name: f"{subject.runtime_dir}/{path}" for name, path in _USER_ENGINES.items()}
    try:
        found = [f"{name} at {path}" for name, path in sockets.items() if _answers(path)]
    except PermissionError as error:
        return unknown("other engines", f"{error.filename} cannot be tried", "sudo knarr doctor")
    if not found:
        return ok("other engines", "none runs")
    return ok("other engines", ", ".join(found), "each has containers, images and networks of its own")


def _answers(path: str) -> bool:
    if not os.path.exists(path):
        return False
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        try:
            probe.connect(path)
        except PermissionError as error:
            error.filename = path
            raise
        except OSError:
            return False
    return True
