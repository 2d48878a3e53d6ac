"""exec: one more process in a running container."""

from __future__ import annotations

import os

from knarr.compute.native import host, launch, planner, stage
from knarr.compute.native.entering import PROCESS, Place, fork_into
from knarr.compute.native.launch import LaunchError, open_cgroup
from knarr.compute.native.plan import ProcessPlan
from knarr.compute.spec import Capabilities, Process, User
from knarr.errors import Conflict, InvalidParameter
from knarr.light import NamedTuple, replace, socket
from knarr.runtime import console, creating, listening
from knarr.runtime.containers import Container, Store, open_main

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.kernel.cgroups import Cgroup


class Started(NamedTuple):
    """A process that runs; the descriptors are the receiver's."""

    pid: int
    pidfd: int
    terminal: int | None


class Settings(NamedTuple):
    """How to start it: in a paused container too, with `keep` descriptors from 3 on, below the container's control
    group (see subgroups.py), and with a terminal that will be `joined` with our own."""

    ignore_paused: bool
    keep: int
    cgroups: list[str]
    joined: bool


class Changes(NamedTuple):
    """What an exec has otherwise than the container's own process."""

    args: list[str]
    env: list[str]
    cwd: str = ""
    user: str = ""
    groups: tuple[int, ...] = ()
    terminal: bool = False
    capabilities: tuple[str, ...] = ()
    no_new_privileges: bool = False


def process(container: Container, changes: Changes) -> Process:
    """The process that is asked for. Raises InvalidParameter."""
    if not changes.args:
        raise InvalidParameter("exec args cannot be empty")
    own = container.process or Process()
    made = replace(
        own,
        args=changes.args,
        env=[*own.env, *changes.env],
        cwd=changes.cwd or own.cwd,
        terminal=changes.terminal,
        no_new_privileges=own.no_new_privileges or changes.no_new_privileges,
        user=_user(changes.user, own.user),
        console_size=None,
    )
    if changes.groups:
        made.user = replace(made.user, additional_gids=[*made.user.additional_gids, *changes.groups])
    if changes.capabilities:
        made.capabilities = _with(made.capabilities or Capabilities(), changes.capabilities)
    return made


def _user(text: str, own: User) -> User:
    if not text:
        return own
    uid, _, gid = text.partition(":")
    try:
        return replace(own, uid=int(uid), gid=int(gid) if gid else own.gid)
    except ValueError:
        raise InvalidParameter(f"parsing {text} as UID:GID failed") from None


def _with(sets: Capabilities, names: tuple[str, ...]) -> Capabilities:
    return Capabilities(
        bounding=[*sets.bounding, *names],
        effective=[*sets.effective, *names],
        permitted=[*sets.permitted, *names],
        inheritable=sets.inheritable,
        ambient=[*sets.ambient, *names],
    )


def start(store: Store, container: Container, wanted: Process, settings: Settings) -> Started:
    """Start it as our child. Raises Conflict, LaunchError, KnarrError."""
    status = store.status(container)
    if status == "stopped":
        raise Conflict("cannot exec in a stopped container")
    if status == "paused" and not settings.ignore_paused:
        raise Conflict("cannot exec in a paused container (use --ignore-paused to override)")
    defaults, own = container.defaults, container.process or Process()
    wanted.apparmor_profile = wanted.apparmor_profile or own.apparmor_profile
    wanted.selinux_label = wanted.selinux_label or own.selinux_label
    if container.resource_groups is not None:
        from knarr.runtime import resctrl

        resctrl.join(container.resource_groups, os.getpid())  # and so for who is forked from here
    plan = planner.plan_process(wanted, host.look(), seccomp=(defaults.seccomp, defaults.seccomp_flags))
    plan.personality, plan.memory_policy = defaults.personality, defaults.memory_policy
    plan.notifies = defaults.notifies
    plan.preserve_fds = settings.keep
    creating.keep_open(settings.keep)
    pidfd = open_main(container)
    root_fd = None
    try:
        if container.shared_root is not None:
            root_fd = os.open(f"/proc/{container.pid}/root", os.O_PATH | os.O_CLOEXEC)
        place = Place(container.pid, pidfd, _cgroup(container, settings), container.has_users, root_fd)
        give = listening.giver(container, lambda _: store.told(container, status))
        return _enter(place, plan, give, joined=settings.joined)
    finally:
        os.close(pidfd)
        if root_fd is not None:
            os.close(root_fd)


def _cgroup(container: Container, settings: Settings) -> Cgroup:
    cgroup = open_cgroup(container.cgroup)
    if not settings.cgroups:
        return cgroup
    from knarr.runtime.subgroups import Subgroups

    return Subgroups(cgroup, settings.cgroups)


def _enter(place: Place, plan: ProcessPlan, give: Callable[[int, int], None], *, joined: bool) -> Started:
    sync, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    intermediate = fork_into(place, plan, theirs, None if plan.terminal else (0, 1, 2))
    theirs.close()
    pid, pidfd, terminal, failed, offered = 0, -1, None, None, None
    while (message := launch.receive(sync)).kind:
        if message.kind == PROCESS:
            pid, pidfd = int(message.body), message.fds[0]
        elif message.kind == stage.LISTENER:
            offered = message  # maybe before we know of whom
        elif message.kind == stage.TERMINAL:
            terminal = message.fds[0]
            if joined:
                console.prepare(terminal)
        elif message.kind == stage.FAILED:
            failed = message.failure()
        if offered is not None and pid:
            launch.pass_listener(pid, pidfd, offered, sync, give)
            offered = None
    sync.close()
    os.waitpid(intermediate, 0)
    if failed is not None:
        raise LaunchError(failed.text, failed.code)
    if not pid:
        raise LaunchError("the process ended before it was set up")
    return Started(pid, pidfd, terminal)
