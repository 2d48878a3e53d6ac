"""Control groups of a user's engine: those below the v2 group that it was started in, if the user was given that one.

systemd gives a service its group with Delegate=yes. On version 2 a group with limits for groups below it may have no
processes (the "no internal processes" rule), so the engine goes into a group of its own beside its containers'.

Source: the kernel's Documentation/admin-guide/cgroup-v2.rst, Delegation.
"""

from __future__ import annotations

import os
from contextlib import suppress

from knarr.kernel import cgroups

_ENGINE = "engine"


def move_aside() -> None:
    """Put this process, which starts the others, into a group below its own one. Nothing is done where that is not the
    user's; a process that is aside already stays where it is."""
    unified = cgroups.mounted().unified
    own = cgroups.own_path()
    if unified is None or not own or os.path.basename(own) == _ENGINE:
        return
    directory = f"{unified}{own}"
    if not os.access(f"{directory}/cgroup.procs", os.W_OK):
        return
    with suppress(OSError):  # the process may have been put where it may not leave
        os.makedirs(f"{directory}/{_ENGINE}", exist_ok=True)
        with open(f"{directory}/{_ENGINE}/cgroup.procs", "w") as file:
            file.write("0")


def containers_path() -> str:
    """The group that containers' groups are to be in, where there are any (see `cgroups.detect`)."""
    return os.path.dirname(cgroups.own_path())
