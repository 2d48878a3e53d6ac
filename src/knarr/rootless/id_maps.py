"""Which ids of the host a user's namespace has: their own as root, and after it the subordinate ones.

newuidmap(1) and newgidmap(1), which distributions install with the right to do so, write maps with subordinate ids.
Without such ids the kernel lets users map their own one alone.
"""

from __future__ import annotations

import os
import pwd
import re
import shutil
import subprocess
from pathlib import Path
from typing import NamedTuple

from knarr.errors import KnarrError
from knarr.kernel import pseudo_files

_RECORD = re.compile(r"([^:#]+):([0-9]+):([0-9]+)")
_HELPERS = ("newuidmap", "newgidmap")


class IdRange(NamedTuple):
    """Ids of the host from `first` on."""

    first: int
    size: int


class IdMaps(NamedTuple):
    """A user's subordinate ids; `note` says why there are none, for the user."""

    uids: list[IdRange]
    gids: list[IdRange]
    note: str = ""

    def write(self, pid: int) -> None:
        """Give the new user namespace of a process its maps. Raises KnarrError, OSError."""
        if self.uids:
            _run_helper(_HELPERS[0], pid, _lines(os.geteuid(), self.uids))
            _run_helper(_HELPERS[1], pid, _lines(os.getegid(), self.gids))
            return
        pseudo_files.write(f"/proc/{pid}/uid_map", f"0 {os.geteuid()} 1")
        pseudo_files.write(
            f"/proc/{pid}/setgroups", "deny"
        )  # or else anybody could leave a group that denies them something
        pseudo_files.write(f"/proc/{pid}/gid_map", f"0 {os.getegid()} 1")


def of_user() -> IdMaps:
    """What /etc/subuid and /etc/subgid have for the user of this process."""
    without = "containers have no other id than root's"
    if not all(shutil.which(name) for name in _HELPERS):
        return IdMaps([], [], f"{' and '.join(_HELPERS)} are not installed (Debian: uidmap): {without}")
    uids, gids = (_subordinate(Path(path)) for path in ("/etc/subuid", "/etc/subgid"))
    if uids and gids:
        return IdMaps(uids, gids)
    missing = "/etc/subgid" if uids else "/etc/subuid"
    return IdMaps([], [], f"{missing} has no ids for {_name() or os.geteuid()}: {without}")


def _subordinate(path: Path) -> list[IdRange]:
    """subuid(5): NAME-OR-ID:FIRST:COUNT, several lines count together."""
    try:
        lines = path.read_text().splitlines()
    except FileNotFoundError:
        return []
    owners = {_name(), str(os.geteuid())} - {""}
    found = [match for line in lines if (match := _RECORD.fullmatch(line.strip())) and match[1] in owners]
    return [IdRange(int(match[2]), int(match[3])) for match in found]


def _name() -> str:
    try:
        return pwd.getpwuid(os.geteuid()).pw_name
    except KeyError:
        return ""


def _lines(own: int, ranges: list[IdRange]) -> list[IdRange]:
    return [IdRange(own, 1), *ranges]


def _run_helper(name: str, pid: int, ranges: list[IdRange]) -> None:
    inside, arguments = 0, [name, str(pid)]
    for first, size in ranges:
        arguments += [str(inside), str(first), str(size)]
        inside += size
    done = subprocess.run(arguments, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
    if done.returncode:
        raise KnarrError(f"{name} failed: {done.stderr.strip()}")
