"""Limits on what containers use: control groups, and who may make them."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from knarr.doctor import remedies
from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject
from knarr.doctor.trial import tried
from knarr.engine import host_facts
from knarr.engine.host_facts import HostFacts
from knarr.kernel import cgroups
from knarr.kernel.cgroups import Cgroup, Hierarchies

TITLE = "Control groups"

_OPTIONS = {
    "cpu": "--cpus and --cpu-shares",
    "cpuset": "--cpuset-cpus",
    "io": "--blkio-weight and --device-read-bps",
    "memory": "--memory",
    "pids": "--pids-limit",
}
"""What is lost without a controller, by its name in version 2."""
_V1_NAMES = {"io": "blkio"}
_DELEGATE = (
    "sudo mkdir -p /etc/systemd/system/user@.service.d && "
    "printf '[Service]\\nDelegate=cpu cpuset io memory pids\\n' | "
    "sudo tee /etc/systemd/system/user@.service.d/delegate.conf && sudo systemctl daemon-reload"
)
_UNIFIED = "boot with systemd.unified_cgroup_hierarchy=1"


def examine(subject: Subject) -> Iterator[Finding]:
    """All findings of the group."""
    mounted = cgroups.mounted()
    yield ok("version", {"v1": "1", "v2": "2", "hybrid": "1, with version 2 beside it (hybrid)"}[mounted.mode])
    if subject.rootless:
        yield from _delegated(subject, mounted)
        return
    facts = host_facts.gather()
    yield tried(
        subject,
        "new groups",
        lambda: _make_group(facts),
        effect="no container can be started",
        remedy="mount the control groups writable (inside docker: --privileged)",
        needed=True,
    )
    yield from _controllers(facts)
    if not facts.swap_limit:
        effect = "--memory-swap is refused, and --memory does not limit swap"
        yield missing("swap accounting", "no such control", effect, "boot with swapaccount=1")
    else:
        yield ok("swap accounting")


def _make_group(facts: HostFacts) -> str:
    group = Cgroup(facts.hierarchies, f"/knarr-doctor-{os.getpid()}")
    try:
        group.create()
    finally:
        group.remove()
    return ""


def _controllers(facts: HostFacts) -> Iterator[Finding]:
    unified = Path(facts.hierarchies.unified or "/", "cgroup.controllers")
    present = set(facts.hierarchies.controllers) | (set(_words(unified)) if facts.hierarchies.unified else set())
    for name, options in _OPTIONS.items():
        if name in present or _V1_NAMES.get(name) in present:
            yield ok(f"{name} controller")
        else:
            remedy = "boot with cgroup_enable=memory" if name == "memory" else "a kernel with that controller"
            yield missing(f"{name} controller", "not there", f"{options} are refused", remedy)


def _delegated(subject: Subject, mounted: Hierarchies) -> Iterator[Finding]:
    """What systemd has handed to the user."""
    effect = f"options that limit containers are refused ({', '.join(_OPTIONS.values())})"
    if mounted.mode != "v2":
        yield missing("delegation", "only version 2 can be handed to users", effect, _UNIFIED)
        return
    directory = _group_of(subject, mounted.unified or "")
    if directory is None:
        reason = f"user {subject.name} has no session, so its groups cannot be seen"
        yield unknown("delegation", reason, f"sudo loginctl enable-linger {subject.name}")
        return
    yield tried(
        subject,
        "delegation",
        lambda: _make_directory(directory),
        effect=effect,
        remedy=f"start the engine in a session of systemd's: systemd-run --user --scope knarrd; or {_DELEGATE}",
        detail=str(directory),
    )
    for name in _OPTIONS.keys() - set(_words(directory / "cgroup.controllers")):
        remedy = f"{_DELEGATE}, then {remedies.LOG_IN_AGAIN}"
        yield missing(f"{name} controller", f"not handed to {subject.name}", f"{_OPTIONS[name]} are refused", remedy)


def _group_of(subject: Subject, unified: str) -> Path | None:
    """Where the user's engine would make its groups: in the group of the user's manager, else in its own."""
    manager = Path(unified, f"user.slice/user-{subject.uid}.slice/user@{subject.uid}.service")
    if manager.exists():
        return manager
    if subject.is_other:
        return None
    return Path(unified + cgroups.own_path())


def _make_directory(parent: Path) -> str:
    directory = parent / f"knarr-doctor-{os.getpid()}"
    directory.mkdir()
    directory.rmdir()
    return ""


def _words(path: Path) -> list[str]:
    try:
        return path.read_text().split()
    except OSError:
        return []
