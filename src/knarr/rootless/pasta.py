"""pasta(1), which connects a network namespace with the host's network, as its user may: packets become sockets.

The namespace gets addresses of its own, so that the host stays to be reached at its. No address stands for the host's
loopback (--no-map-gw): its services there are not for containers.
"""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import time
from ipaddress import IPv4Network, IPv6Network, ip_network
from pathlib import Path
from typing import NamedTuple

from knarr.errors import KnarrError
from knarr.kernel import processes, rtnetlink
from knarr.kernel.netlink import NetlinkSocket

_INTERFACE = "pasta0"
_PATIENCE = 10_000  # milliseconds
_SUBNETS: dict[int, tuple[IPv4Network | IPv6Network, ...]] = {
    4: tuple(map(ip_network, ("10.0.2.0/24", "10.255.2.0/24", "192.168.252.0/24", "172.31.252.0/24"))),
    6: (ip_network("fd6b:6e61:7272::/64"),),
}
_GATEWAY, _SERVER, _OWN = 2, 3, 100  # in the subnet, as with slirp4netns and QEMU


class Way(NamedTuple):
    """A way out for some IP versions: `servers` are addresses that stand for the host's name server, `host` those of
    the host itself."""

    servers: list[str]
    host: list[str]


class Pasta:
    """One pasta process, in the foreground; the caller's to `end`. It ends with the thread that has started it, too."""

    def __init__(self, inside: str, run_dir: Path) -> None:
        """Connect the network namespace of a process, `inside` being its /proc/PID/ns, in its user namespace.
        `pidfd` is readable when it has ended. One that outlived its keeper at `run_dir` is ended first: the kernel
        forgets the signal below where an execve changes privileges (PR_SET_PDEATHSIG(2const)).

        Raises KnarrError with pasta's reason, OSError.
        """
        self.pidfd = -1
        log, pid_file = run_dir / "pasta.log", run_dir / "pasta.pid"
        _end_former(pid_file, log)
        program = shutil.which("pasta")
        if program is None:
            raise KnarrError("pasta is not installed (Debian has it in the package passt)")
        subnets, host = _look_around()
        if not subnets:
            raise KnarrError("the host has no default route")
        self.way = Way([str(subnet[_SERVER]) for subnet in subnets], host)
        command = [
            program,
            *("--foreground", "--quiet", "--config-net", "--no-map-gw", "--ns-ifname", _INTERFACE),
            *("--tcp-ports", "none", "--udp-ports", "none", "--tcp-ns", "none", "--udp-ns", "none"),
            *("--log-file", str(log), "--pid", "/dev/stdout"),
            *(word for subnet in subnets for word in _addresses(subnet)),
            *("--no-netns-quit", "--userns", f"{inside}/user", "--netns", f"{inside}/net"),
        ]
        with open(os.memfd_create("pasta"), "w+b") as complaints:
            self._process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=complaints,
                cwd="/",
                preexec_fn=lambda: processes.prctl(processes.PR_SET_PDEATHSIG, signal.SIGKILL),
            )
            if not self._is_ready():
                self.end()
                complaints.seek(0)
                raise KnarrError(_reason(complaints.read().decode(errors="replace")))

        self.pidfd = processes.pidfd_open(self._process.pid)
        pid_file.write_text(str(self._process.pid))
        self.since = time.monotonic()

    def end(self) -> None:
        """End it, if it has not ended by itself, and the namespace's way out."""
        self._process.kill()
        self._process.wait()
        assert self._process.stdout is not None
        self._process.stdout.close()
        if self.pidfd >= 0:
            os.close(self.pidfd)

    def _is_ready(self) -> bool:
        """It says its process id when all is set up, and closes the pipe when it gives up."""
        assert self._process.stdout is not None
        poll = select.poll()
        poll.register(self._process.stdout, select.POLLIN)
        return bool(poll.poll(_PATIENCE)) and bool(os.read(self._process.stdout.fileno(), 100))


def _end_former(pid_file: Path, log: Path) -> None:
    """End the process that the file names if it is a pasta with this log; none is fine."""
    try:
        pid = int(pid_file.read_text())
        pidfd = processes.pidfd_open(pid)
    except (OSError, ValueError):
        return
    try:
        if os.fsencode(log) in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0"):
            processes.pidfd_send_signal(pidfd, signal.SIGKILL)
            select.select([pidfd], [], [], _PATIENCE / 1000)
    except OSError:  # it ends just now
        pass
    finally:
        os.close(pidfd)


def _look_around() -> tuple[list[IPv4Network | IPv6Network], list[str]]:
    """For each IP version with a default route a subnet that the host does not know, and the host's address there."""
    with NetlinkSocket() as netlink:
        routes = [route for route in rtnetlink.routes(netlink) if not route.destination.is_loopback]
        addresses = rtnetlink.addresses(netlink)
    subnets, host = [], []
    for version, candidates in _SUBNETS.items():
        known = [route.destination for route in routes if route.destination.version == version]
        ways = [
            route.index for route in routes if (route.destination.version, route.destination.prefixlen) == (version, 0)
        ]
        free = [subnet for subnet in candidates if not any(_overlap(subnet, other) for other in known)]
        if ways and free:
            subnets.append(free[0])
            own = [entry.interface for entry in addresses if entry.index == ways[0]]
            host += [str(each.ip) for each in own if each.version == version and not each.is_link_local][:1]
    return subnets, host


def _overlap(subnet: IPv4Network | IPv6Network, other: IPv4Network | IPv6Network) -> bool:
    return bool(other.prefixlen) and subnet.overlaps(other)


def _addresses(subnet: IPv4Network | IPv6Network) -> list[str]:
    words = ["--address", str(subnet[_OWN]), "--gateway", str(subnet[_GATEWAY]), "--dns-forward", str(subnet[_SERVER])]
    return [*words, "--netmask", str(subnet.prefixlen)] if subnet.version == 4 else words


def _reason(words: str) -> str:
    """What pasta has said, without its complaints about a host that has no system logger."""
    lines = [line for line in words.splitlines() if line and "syslog" not in line]
    return f"pasta: {lines[-1]}" if lines else "pasta does not start"
