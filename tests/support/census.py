"""What a daemon has in the kernel and on disk, counted: before and after a storm both must be the same."""

from __future__ import annotations

import os
import re
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

from harness import Daemon, cgroup_directories

from knarr.network import names

SETTLE_SECONDS = 20

Census = dict[str, Counter[str]]

_ID = re.compile(r"[0-9a-f]{64}")
_NUMBER = re.compile(r"\d+")
_TEMPORARY = re.compile(r"state\.db-(wal|shm|journal)$")


def take(daemon: Daemon) -> Census:
    """Everything of the daemon's, by kind. Names and numbers that differ from run to run are left out."""
    return {
        "mounts": Counter(_lines(Path("/proc/self/mountinfo"), f" {daemon.directory}/")),
        "links": Counter(_links(daemon)),
        "nftables": Counter(_table(daemon)),
        "cgroups": Counter(_cgroups(daemon)),
        "processes": Counter(_titles(daemon)),
        "namespaces": Counter({"in use": len(_namespaces(daemon))}),
        "descriptors": Counter(_descriptors(daemon)),
        "tasks": Counter({"in knarrd": daemon.request("GET", "/info")[1]["NGoroutines"]}),
        "files": Counter(_files(daemon)),
    }


def differences(before: Census, after: Census) -> dict[str, str]:
    """By kind, what there is more and what there is less than before."""
    found = {}
    for kind, things in before.items():
        more, less = after[kind] - things, things - after[kind]
        if more or less:
            found[kind] = f"more: {dict(more.most_common(8))} less: {dict(less.most_common(8))}"
    return found


def await_same(daemon: Daemon, before: Census, *, push: Callable[[], None] = lambda: None) -> None:
    """What is removed goes in the background: fail if it has not gone in time. `push` is called again and again."""
    deadline = time.monotonic() + SETTLE_SECONDS
    while found := differences(before, take(daemon)):
        assert time.monotonic() < deadline, found
        push()
        time.sleep(0.2)


def fully_started(daemon: Daemon) -> Census:
    """The census of a daemon that has been used: threads that come with the first work, caches, pools are there, and
    what is removed in the background after the last work has gone."""
    deadline = time.monotonic() + SETTLE_SECONDS
    last = take(daemon)
    while True:
        time.sleep(0.3)  # the last request's connection has gone
        now = take(daemon)
        found = differences(last, now) or _leaving(daemon, now)
        if not found:
            return now
        assert time.monotonic() < deadline, found
        last = now


def _leaving(daemon: Daemon, found: Census) -> dict[str, str]:
    """Interfaces of containers that have ended: each running one has one at most."""
    ports = found["links"] - Counter([_NUMBER.sub("N", daemon.bridge)])
    running = daemon.request("GET", "/info")[1]["ContainersRunning"]
    return {"links": f"{dict(ports)} of {running} containers"} if ports.total() > running else {}


def _lines(path: Path, part: str) -> list[str]:
    return [line.split(" ", 4)[4] for line in path.read_text().splitlines() if part in line]


def _links(daemon: Daemon) -> Iterator[str]:
    for link in Path("/sys/class/net").iterdir():
        master = link / "master"
        if link.name == daemon.bridge or (master.is_symlink() and master.resolve().name == daemon.bridge):
            yield _NUMBER.sub("N", link.name)


def _table(daemon: Daemon) -> list[str]:
    command = ["nft", "list", "table", "inet", names.table_name(daemon.run_root)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    return [re.sub(r"packets \d+ bytes \d+", "", line) for line in done.stdout.splitlines()]


def _cgroups(daemon: Daemon) -> Iterator[str]:
    for top in cgroup_directories(daemon.cgroup):
        for directory, _, _ in os.walk(top):
            yield directory


def _pids(daemon: Daemon) -> set[int]:
    found = set(daemon.pids())
    for directory in _cgroups(daemon):
        try:
            found.update(int(pid) for pid in Path(directory, "cgroup.procs").read_text().split())
        except OSError:
            continue  # just removed
    return found


def _titles(daemon: Daemon) -> Iterator[str]:
    for pid in _pids(daemon):
        try:
            title = Path(f"/proc/{pid}/cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace").strip()
        except OSError:
            continue  # just ended
        yield _ID.sub("ID", title.partition("import os, socket")[0])


def _namespaces(daemon: Daemon) -> set[str]:
    """Those that a process is in or holds open."""
    found = set()
    for pid in _pids(daemon):
        for directory in ("ns", "fd"):
            for link in _links_in(Path(f"/proc/{pid}/{directory}")):
                if re.match(r"\w+:\[\d+\]", link) and not link.startswith(("socket", "pipe", "anon")):
                    found.add(link)
    return found


def _descriptors(daemon: Daemon) -> Iterator[str]:
    """Of knarrd and of everything else in its cgroup: the zygote, shims. Not pasta's, another program: it fills pools
    of pipes and sockets some time after its start."""
    for pid in daemon.pids():
        if _program(pid) == "pasta":
            continue
        assert daemon.process is not None
        owner = "knarrd" if pid == daemon.process.pid else "zygote or shim"
        for link in _links_in(Path(f"/proc/{pid}/fd")):
            yield f"{owner}: {_NUMBER.sub('N', _ID.sub('ID', link))}"


def _program(pid: int) -> str:
    try:
        return Path(Path(f"/proc/{pid}/cmdline").read_text(errors="replace").partition("\0")[0]).name
    except OSError:
        return ""  # just ended


def _links_in(directory: Path) -> Iterable[str]:
    try:
        entries = os.listdir(directory)
    except OSError:
        return
    for entry in entries:
        try:
            yield os.readlink(directory / entry)
        except OSError:
            continue  # just closed


def _files(daemon: Daemon) -> Iterator[str]:
    for root in (daemon.data_root, daemon.run_root):
        for directory, directories, files in os.walk(root):
            for name in directories + files:
                if not _TEMPORARY.search(name):
                    yield os.path.relpath(os.path.join(directory, name), daemon.directory)
