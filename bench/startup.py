#!/usr/bin/env python3
"""How fast knarrd starts and how big it is: time to the first answer and to READY=1, memory, modules.

    sudo .venv/bin/python bench/startup.py [--runs N]

Medians over N starts with fresh roots. Memory is the proportional set size (Pss) of knarrd and of its children, idle.
"""

from __future__ import annotations

import argparse
import os
import shutil
import signal
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from knarr.network import names

KNARRD = Path(sys.executable).with_name("knarrd")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=7)
    rows = [measure() for _ in range(parser.parse_args().runs)]
    for name in rows[0]:
        print(f"{name:24}{statistics.median(row[name] for row in rows):10.1f}")
    print(f"{'modules':24}{modules():10}")


def measure() -> dict[str, float]:
    """One start in fresh directories."""
    directory = Path(tempfile.mkdtemp(prefix="kb", dir="/tmp"))
    try:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(directory / "notify"))
            return _start(directory, ready)
    finally:
        _run_quietly("ip", "link", "delete", names.bridge_name(directory / "run"))
        _run_quietly("nft", "delete", "table", "inet", names.table_name(directory / "run"))
        shutil.rmtree(directory)


def _run_quietly(*command: str) -> None:
    subprocess.run(command, stderr=subprocess.DEVNULL, check=False)


def _start(directory: Path, ready: socket.socket) -> dict[str, float]:
    command = [KNARRD, "--data-root", directory / "data", "--run-root", directory / "run"]
    command += ["--host", f"unix://{directory}/s", "--log-level", "error"]
    environment = {**os.environ, "NOTIFY_SOCKET": str(directory / "notify")}
    since = clock()
    with subprocess.Popen(command, env=environment) as daemon:
        answered = _first_answer(daemon, directory / "s", since)
        ready.recv(4096)
        row = {"first answer, ms": answered, "ready, ms": since()}
        row["knarrd, MiB"] = pss_kib(daemon.pid) / 1024
        row["children, MiB"] = sum(map(pss_kib, children(daemon.pid))) / 1024
        daemon.send_signal(signal.SIGTERM)
        since = clock()
        daemon.wait()
        row["stop, ms"] = since()
    return row


def clock() -> Callable[[], float]:
    """Milliseconds since this call."""
    start = time.perf_counter()
    return lambda: (time.perf_counter() - start) * 1e3


def _first_answer(daemon: subprocess.Popen[bytes], path: Path, since: Callable[[], float]) -> float:
    while daemon.poll() is None:
        with socket.socket(socket.AF_UNIX) as client:
            try:
                client.connect(str(path))
                client.sendall(b"GET /_ping HTTP/1.1\r\nHost: x\r\n\r\n")
                assert client.recv(4096).startswith(b"HTTP/1.1 200")
                return since()
            except (FileNotFoundError, ConnectionRefusedError):
                time.sleep(0.001)
    raise SystemExit(f"knarrd ended with exit status {daemon.returncode}")


def pss_kib(pid: int) -> int:
    """The proportional set size of a process."""
    rows = dict(line.split(":", 1) for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()[1:])
    return int(rows["Pss"].split()[0])


def children(pid: int) -> list[int]:
    return [
        int(child) for task in Path(f"/proc/{pid}/task").iterdir() for child in (task / "children").read_text().split()
    ]


def modules() -> int:
    """How many modules the daemon imports."""
    program = "import sys, knarr.daemon.main, knarr.daemon.assembly; print(len(sys.modules))"
    return int(subprocess.run([sys.executable, "-c", program], capture_output=True, check=True).stdout)


if __name__ == "__main__":
    main()
