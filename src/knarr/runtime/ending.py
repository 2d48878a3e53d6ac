"""kill and delete: signals to a container, and its end."""

from __future__ import annotations

import os
import select
import sys

from knarr.compute.native import hooks
from knarr.compute.native.launch import open_cgroup
from knarr.errors import Conflict, InvalidParameter
from knarr.kernel import processes
from knarr.light import signal, suppress
from knarr.runtime.containers import Container, Store, open_main


def parse_signal(text: str) -> int:
    """A signal by number or by name, with SIG or without; 0 only asks (kill(2)). Raises InvalidParameter."""
    if text.isdecimal() and (int(text) == 0 or int(text) in signal.valid_signals()):
        return int(text)
    name = text.upper().removeprefix("SIG")
    number = getattr(signal, f"SIG{name}", None)
    if not name.isalnum() or number is None:
        raise InvalidParameter(f"unknown signal {text!r}")
    return int(number)


def kill(store: Store, container: Container, number: int, *, everyone: bool = False) -> None:
    """Signal the main process, or all. Raises Conflict unless it is created or runs."""
    if everyone:
        for pid in open_cgroup(container.cgroup).pids():
            with suppress(ProcessLookupError):
                os.kill(pid, number)
        return
    if store.status(container) == "stopped":
        raise Conflict("container not running")
    pidfd = open_main(container)
    try:
        processes.pidfd_send_signal(pidfd, number)
    except ProcessLookupError:
        raise Conflict("container not running") from None
    finally:
        os.close(pidfd)


def end(container: Container) -> None:
    """SIGKILL to all of it; returns when the main process has ended."""
    try:
        pidfd = open_main(container)
    except Conflict:
        pass
    else:
        with suppress(ProcessLookupError):
            processes.pidfd_send_signal(pidfd, signal.SIGKILL)
        cgroup = open_cgroup(container.cgroup)
        with suppress(OSError):
            cgroup.thaw()
        select.select([pidfd], [], [])
        os.close(pidfd)
    open_cgroup(container.cgroup).kill()


def leave_groups(container: Container) -> None:
    """Remove the groups that were made for it. Raises OSError."""
    if container.resource_groups is not None:
        from knarr.runtime import resctrl

        resctrl.leave(container.resource_groups)


def delete(store: Store, container: Container, *, force: bool = False) -> None:
    """Free what create has made. Raises Conflict unless it has stopped, or with `force` is killed first."""
    status = store.status(container)
    if status != "stopped" and not force:
        raise Conflict(f"cannot delete container {container.id} that is not stopped: {status}")
    end(container)
    open_cgroup(container.cgroup).remove()
    leave_groups(container)
    if container.shared_root is not None:
        from knarr.runtime import shared_mounts

        shared_mounts.detach(container.shared_root)
    store.remove(container.id)
    if container.poststop:  # their failures are warnings (runtime.md, "Lifecycle", step 13)
        told = store.told(container, "stopped")
        for failure in hooks.run_each("poststop", container.poststop, told, directory=container.bundle):
            print(f"warning: {failure}", file=sys.stderr)
