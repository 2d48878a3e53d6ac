#!/usr/bin/env python3
"""A long time with an engine that is killed again and again: nothing is lost, nothing is left, nothing grows.

    sudo .venv/bin/python bench/soak.py [--minutes 20] [--kill-every 30] [--seed 1] [--clients 4]

Clients (tests/support/soakers.py) make containers that count, log and fail; they enter, pause, restart, update and
remove them, and copy files, at random from a seed. The engine dies by kill -9 at the end of each round, and the next
one is asked for everything that the former has acknowledged. Printed is a line a round; the exit status is 1 if
anything was broken. With --kill-every 0 rounds last a minute and the engine lives: its own memory has to stay flat.
"""

from __future__ import annotations

import argparse
import sys
import threading
import time
from pathlib import Path
from typing import NamedTuple

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "tests/support"))

import busybox
import census
from harness import Daemon
from soakers import Soakers

GROWTH = 1.25
"""How much more memory, or descriptors, the last third of the rounds may have than the one before it."""


class Figures(NamedTuple):
    """At the end of a round. Memory in MiB: of knarrd, and private on average of a shim."""

    knarrd: float
    descriptors: int
    shim: float
    shim_descriptors: float
    shims: int


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=20)
    parser.add_argument("--kill-every", type=float, default=30, metavar="SECONDS")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--clients", type=int, default=4)
    options = parser.parse_args()
    daemon = Daemon()
    try:
        daemon.start()
        daemon.docker("import", "-", "busybox", input=busybox.archive())
        return soak(daemon, options)
    finally:
        daemon.remove()


def soak(daemon: Daemon, options: argparse.Namespace) -> int:
    """The rounds, then the removal of everything. The exit status."""
    daemon.docker("run", "--rm", "-v", "/v", "-p", "127.0.0.1::80", "busybox", "true")
    before = census.fully_started(daemon)
    soakers = Soakers(daemon, options.seed, options.clients)
    rounds: list[Figures] = []
    end = time.monotonic() + options.minutes * 60
    print("round   acts  boxes  knarrd MiB   fds  shims  private MiB   fds")
    while time.monotonic() < end and not soakers.surprises:
        rounds.append(one_round(daemon, soakers, options.kill_every))
        figures = rounds[-1]
        print(
            f"{len(rounds):5} {soakers.acts:6} {len(soakers.boxes):6} {figures.knarrd:11.1f} {figures.descriptors:5}"
            f" {figures.shims:6} {figures.shim:12.2f} {figures.shim_descriptors:5.1f}",
            flush=True,
        )
    problems = [*soakers.surprises, *growth(rounds)]
    for one in daemon.request("GET", "/containers/json?all=1")[1]:
        daemon.request("DELETE", f"/containers/{one['Id']}?force=1&v=1")
    try:
        census.await_same(daemon, before)
    except AssertionError as error:
        problems.append(f"left behind: {error}")
    for problem in problems:
        print(f"BROKEN: {problem}")
    print(f"{soakers.acts} acts, {len(rounds)} rounds, {len(problems)} problems")
    return bool(problems)


def one_round(daemon: Daemon, soakers: Soakers, kill_every: float) -> Figures:
    """Work, look, kill, start, check."""
    enough = threading.Event()
    work = threading.Thread(target=soakers.work, args=(enough,))
    work.start()
    work.join(kill_every or 60)
    figures = measure(daemon)
    if kill_every:
        daemon.kill()  # in the middle of their work
        work.join()
        daemon.start()
    else:
        enough.set()
        work.join()
    try:
        soakers.check_all()
    except (AssertionError, OSError) as error:
        soakers.surprises.append(f"after a start: {error!r}")
    return figures


def measure(daemon: Daemon) -> Figures:
    """Processes that end meanwhile are passed over."""
    assert daemon.process is not None
    shims = [pid for pid in daemon.pids() if _is_shim(pid)]
    private = [kib for pid in shims if (kib := _private(pid))]
    descriptors = [count for pid in shims if (count := _descriptors(pid))]
    return Figures(
        _resident(daemon.process.pid),
        _descriptors(daemon.process.pid),
        sum(private) / max(1, len(private)) / 1024,
        sum(descriptors) / max(1, len(descriptors)),
        len(shims),
    )


def growth(rounds: list[Figures]) -> list[str]:
    """What has grown from the second third of the rounds to the last."""
    third = len(rounds) // 3
    if not third:
        return []
    problems = []
    for name in ("knarrd", "shim", "shim_descriptors"):
        earlier, later = (
            sum(getattr(figures, name) for figures in part) / third
            for part in (rounds[-2 * third : -third], rounds[-third:])
        )
        if later > earlier * GROWTH:
            problems.append(f"{name} has grown from {earlier:.1f} to {later:.1f}")
    return problems


def _is_shim(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().startswith(b"knarr-shim ")
    except OSError:
        return False


def _private(pid: int) -> int:
    """KiB that no other process shares."""
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except OSError:
        return 0
    return sum(int(line.split()[1]) for line in lines if line.startswith("Private_"))


def _resident(pid: int) -> float:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith("VmRSS:")) / 1024


def _descriptors(pid: int) -> int:
    try:
        return len(list(Path(f"/proc/{pid}/fd").iterdir()))
    except OSError:
        return 0


if __name__ == "__main__":
    sys.exit(main())
