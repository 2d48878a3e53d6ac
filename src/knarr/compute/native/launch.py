"""Starting a system's main process: cgroups, descriptors, clone3, and the talk with the stage until it is ready.

Everything acquired on the way is freed if a step fails; `LaunchError` says which one did.
"""

from __future__ import annotations

import os
import resource
import struct

from knarr.compute.native import frames, stage
from knarr.compute.native.gate import Gate
from knarr.compute.native.plan import CgroupPlan, Join, Plan, ProcessPlan
from knarr.compute.native.program import is_refused_value
from knarr.kernel import namespaces, processes, pseudo_files, user_namespaces
from knarr.kernel.cgroups import Cgroup, Hierarchies
from knarr.light import ExitStack, NamedTuple, socket, suppress

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class LaunchError(Exception):
    """A system or a process could not be started; `code` as in `StartFailed`, `invalid` as in `StageError`."""

    def __init__(self, text: str, code: int = 128, *, invalid: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.invalid = invalid


class Message(NamedTuple):
    """One message of a stage. `kind` is b"" at the end of the stream."""

    kind: bytes
    body: bytes
    fds: list[int]

    def failure(self) -> stage.Failure:
        """The body of a FAILED message."""
        return stage.decode_failure(self.body)


def receive(sync: socket.socket) -> Message:
    """The next message of a stage (the socket keeps message boundaries)."""
    try:
        data, control, _, _ = sync.recvmsg(1 << 16, socket.CMSG_SPACE(8), socket.MSG_CMSG_CLOEXEC)
    except ConnectionResetError:
        data, control = b"", []
    fds = [fd for _, _, payload in control for (fd,) in struct.iter_unpack("i", payload)]
    return Message(data[:1], data[1:], fds)


def reap(pidfd: int) -> int:
    """Wait for a child that has ended: its exit code, or 128 + the signal that ended it."""
    result = os.waitid(os.P_PIDFD, pidfd, os.WEXITED)
    assert result is not None
    return result.si_status if result.si_code == os.CLD_EXITED else 128 + result.si_status


def make_pipes(
    stack: ExitStack, stdin_open: bool, owner: tuple[int, int]
) -> tuple[tuple[int, int, int], tuple[int | None, int, int]]:
    """Three pipes: the process's ends (stdin -1 where there is none), which close with `stack`, and ours.

    They are given to `owner` where that is not us: the superuser of a user namespace could not open them again.
    """
    ours: list[int | None] = [None]
    theirs = [-1]
    if stdin_open:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        ours, theirs = [writer], [reader]
    for _ in range(2):
        reader, writer = os.pipe2(os.O_CLOEXEC)
        ours.append(reader)
        theirs.append(writer)
    for fd in theirs:
        if fd >= 0:
            stack.callback(os.close, fd)
            if owner != (0, 0):
                os.fchown(fd, *owner)
    assert ours[1] is not None and ours[2] is not None
    return (theirs[0], theirs[1], theirs[2]), (ours[0], ours[1], ours[2])


class Launched(NamedTuple):
    """A main process that waits for START, and what its shim needs of it. The receiver owns all descriptors.

    `sync` is the stage's socket, if there is a stage of ours. There is either a terminal's master or three pipes
    (stdin None: it has none). `helper` is a process that has ended, or is about to, and is the shim's to reap; 0 where
    there was none.
    """

    pid: int
    pidfd: int
    helper: int
    sync: int | None
    terminal: int | None
    pipes: tuple[int | None, int, int] | None


def open_cgroup(plan: CgroupPlan) -> Cgroup:
    """The cgroup that a plan names."""
    return Cgroup(Hierarchies(plan.mode, plan.controllers, plan.unified), plan.path)


class Given(NamedTuple):
    """What comes with a plan: the root, namespaces to join, and whether stdin is kept open.

    `streams` are the process's instead of pipes, and stay the caller's. `gate` is how it is started, if not by us.
    `sibling` makes it a child of the caller's parent. `before_pivot` is called with its process id once its file
    systems are mounted.
    """

    root_fd: int
    network_fd: int | None = None
    user_fd: int | None = None
    stdin_open: bool = False
    streams: tuple[int, int, int] | None = None
    gate: Gate | None = None
    sibling: bool = True
    before_pivot: Callable[[int], None] | None = None
    on_listener: Callable[[int, int], None] | None = None


def launch(plan: Plan, given: Given) -> Launched:
    """Make the main process and see it through to READY. Takes the descriptors of namespaces and the root.

    Raises LaunchError; then nothing is left but dead processes for their parent to reap.
    """
    with ExitStack() as passing:  # what only the child needs
        for fd in (given.root_fd, given.network_fd, given.user_fd):
            if fd is not None:
                passing.callback(os.close, fd)
        try:
            return _launch(passing, plan, given)
        except OSError as error:
            raise LaunchError(str(error), invalid=is_refused_value(error)) from error


def _launch(passing: ExitStack, plan: Plan, given: Given) -> Launched:
    with ExitStack() as undo:
        cgroup = open_cgroup(plan.cgroup)
        undo.callback(cgroup.remove)
        _set_up_cgroup(cgroup, plan.cgroup)
        streams, ours = given.streams, None
        if streams is None and not plan.process.terminal:
            streams, ours = make_pipes(passing, given.stdin_open, plan.stream_owner)
            for fd in ours:
                if fd is not None:
                    undo.callback(os.close, fd)
        sync, child_sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        undo.callback(sync.close)
        passing.callback(child_sync.close)
        inherited = _inherit(passing, plan, given, cgroup, streams)
        pid, pidfd, helper = _clone(passing, plan, given, cgroup)
        if pid == 0:
            sync.close()  # or the stage would not notice the end of its shim
            stage.run(plan, child_sync, inherited)
        child_sync.close()
        undo.callback(os.close, pidfd)
        undo.callback(_kill, cgroup, pidfd)
        terminal = _see_through(pid, pidfd, sync, plan, given)
        undo.pop_all()
        return Launched(pid, pidfd, helper, sync.detach(), terminal, ours)


def give_up(launched: Launched, plan: CgroupPlan) -> None:
    """End a launched system that nobody takes over. Its descriptors end with the caller."""
    cgroup = open_cgroup(plan)
    _kill(cgroup, launched.pidfd)
    with suppress(OSError):
        cgroup.remove()


def _kill(cgroup: Cgroup, pidfd: int) -> None:
    with suppress(ProcessLookupError):
        processes.pidfd_send_signal(pidfd, 9)
    cgroup.kill()


def _set_up_cgroup(cgroup: Cgroup, plan: CgroupPlan) -> None:
    cgroup.create()
    for write in plan.writes:
        try:
            cgroup.write(write.controller, write.file, write.value)
        except OSError as error:
            if not write.optional:
                text = f'failed to write "{write.value}" to "{write.file}": {error.strerror}'
                raise LaunchError(text, invalid=is_refused_value(error)) from error
    if plan.device_program:
        from knarr.kernel import bpf

        unified = cgroup.open_unified()
        assert unified is not None
        try:
            bpf.attach_device_program(unified, plan.device_program)
        finally:
            os.close(unified)


def _inherit(
    passing: ExitStack, plan: Plan, given: Given, cgroup: Cgroup, streams: tuple[int, int, int] | None
) -> stage.Inherited:
    """Open everything that the child needs from the host's side."""
    join_fds = []
    for path in cgroup.join_files():
        fd = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
        passing.callback(os.close, fd)
        join_fds.append(fd)
    prepared: list[int | None] = []
    for operation in [*plan.operations, *plan.late_operations]:
        try:
            opened = operation.prepare()
        except OSError as error:
            raise LaunchError(f"{operation.describe()}: {(error.strerror or '').lower()}") from error
        if opened is not None:
            passing.callback(os.close, opened)
        prepared.append(opened)
    mounts_fd = None
    if plan.mount_namespace is not None:
        mounts_fd = _open_namespace(plan.mount_namespace or "/proc/self/ns/mnt")
        passing.callback(os.close, mounts_fd)
    waits = given.before_pivot is not None
    return stage.Inherited(given.root_fd, join_fds, prepared, streams, given.gate, mounts_fd, waits)


_OWN = dict(namespaces.TYPES.values())


def _clone(passing: ExitStack, plan: Plan, given: Given, cgroup: Cgroup) -> tuple[int, int, int]:
    """The main process, its pidfd and the helper: (0, -1, 0) in it."""
    flags = plan.new & ~namespaces.CLONE_NEWCGROUP
    relation = namespaces.CLONE_PARENT if given.sibling else 0
    unified = cgroup.open_unified()
    if unified is not None:
        passing.callback(os.close, unified)
    if plan.joins_users or not _can_return(plan):
        return _clone_by_helper(plan, given, flags | namespaces.CLONE_PARENT, relation, unified)
    with ExitStack() as home:
        for join in plan.joins:
            own = os.open(f"/proc/self/ns/{_OWN[join.flag]}", os.O_RDONLY | os.O_CLOEXEC)
            home.callback(os.close, own)
            _join(join.flag, join.path, given)
            home.callback(namespaces.setns, own, join.flag)
        flags = _make_time(plan, flags, home)
        pid, pidfd = namespaces.clone3(flags | relation, unified)
        if pid == 0:
            home.pop_all()  # the child stays where it was made
    return pid, pidfd, 0


def _make_time(plan: Plan, flags: int, home: ExitStack) -> int:
    """A time namespace with offsets for the next child, as they cannot be changed once somebody is in it. The flags
    that are left for clone3."""
    if not plan.time_offsets:
        return flags
    own = os.open("/proc/self/ns/time", os.O_RDONLY | os.O_CLOEXEC)
    home.callback(os.close, own)
    namespaces.unshare(namespaces.CLONE_NEWTIME)
    home.callback(namespaces.setns, own, namespaces.CLONE_NEWTIME)
    write("/proc/self/timens_offsets", plan.time_offsets)
    return flags & ~namespaces.CLONE_NEWTIME


def _can_return(plan: Plan) -> bool:
    """Whether we may join our own namespaces again: an engine in a user namespace has only the network one in it."""
    return not user_namespaces.inside() or all(join.flag == namespaces.CLONE_NEWNET for join in plan.joins)


def _clone_by_helper(plan: Plan, given: Given, flags: int, relation: int, unified: int | None) -> tuple[int, int, int]:
    """Where there is no way back, as from a user namespace, a process goes that has nothing else to do."""
    ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    helper, helper_pidfd = namespaces.clone3(relation)
    if helper == 0:
        ours.close()
        _clone_inside(plan, given, flags, unified, theirs)
        return 0, -1, 0
    os.close(helper_pidfd)
    theirs.close()
    try:
        message = receive(ours)
    finally:
        ours.close()
    if message.kind != stage.READY:
        failure = message.failure() if message.kind == stage.FAILED else None
        raise LaunchError(failure.text if failure else "the process ended before it was made")
    return int(message.body), message.fds[0], helper


def _clone_inside(plan: Plan, given: Given, flags: int, unified: int | None, sync: socket.socket) -> None:
    """Join, make the main process, tell of it and end. Returns in the main process only."""
    try:
        _join_all(plan.joins, given)
        pid, pidfd = namespaces.clone3(_make_time(plan, flags, ExitStack()), unified)
        if pid == 0:
            sync.close()
            return
        sync.sendmsg([stage.READY + str(pid).encode()], frames.ancillary([pidfd]))
    except (OSError, LaunchError) as error:
        stage.report(sync, str(error), 128)
    os._exit(0)


def _join_all(joins: list[Join], given: Given) -> None:
    """With our own rights as far as they go, as what is joined may be ours; then with those in the user namespace."""
    left = []
    for join in joins:
        if join.flag != namespaces.CLONE_NEWUSER:
            try:
                _join(join.flag, join.path, given)
            except LaunchError as error:
                if not isinstance(error.__cause__, PermissionError):
                    raise
                left.append(join)
    for join in [*(join for join in joins if join.flag == namespaces.CLONE_NEWUSER), *left]:
        _join(join.flag, join.path, given)


def _join(flag: int, path: str, given: Given) -> None:
    if not path:
        fd_given = given.user_fd if flag == namespaces.CLONE_NEWUSER else given.network_fd
        assert fd_given is not None
        namespaces.setns(fd_given, flag)
        return
    fd = _open_namespace(path)
    try:
        namespaces.setns(fd, flag)
    except OSError as error:
        raise LaunchError(f"joining namespace {path}: {(error.strerror or '').lower()}") from error
    finally:
        os.close(fd)


def _open_namespace(path: str) -> int:
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise LaunchError(f"lstat {path}: {(error.strerror or '').lower()}") from error


def _see_through(pid: int, pidfd: int, sync: socket.socket, plan: Plan, given: Given) -> int | None:
    """Give the child its mappings, let it build, and wait until it is ready: with a gate, until it waits there. Its
    terminal's master, if it has one."""
    _map_ids(pid, plan)
    if plan.has_users:
        raise_limits(pid, plan.process)
    if plan.process.oom_score_adj is not None:
        write(f"/proc/{pid}/oom_score_adj", str(plan.process.oom_score_adj))
    sync.send(stage.GO)
    with ExitStack() as undo:
        terminal, ready = None, False
        while True:
            message = receive(sync)
            if message.kind == stage.READY and given.gate is not None:
                ready = True
            elif message.kind == stage.READY or (ready and not message.kind):
                undo.pop_all()
                return terminal
            elif message.kind == stage.MOUNTED and given.before_pivot is not None:
                given.before_pivot(pid)
                sync.send(stage.GO)
            elif message.kind == stage.TERMINAL:
                (terminal,) = message.fds
                undo.callback(os.close, terminal)
            elif message.kind == stage.LISTENER and given.on_listener is not None:
                pass_listener(pid, pidfd, message, sync, given.on_listener)
            elif message.kind == stage.FAILED:
                failure = message.failure()
                raise LaunchError(failure.text, failure.code, invalid=failure.invalid)
            else:
                raise LaunchError("the process ended before it was set up")


def pass_listener(
    pid: int, pidfd: int, message: Message, sync: socket.socket, give: Callable[[int, int], None]
) -> None:
    """Fetch the listener of which the stage tells, `give` it to whoever answers, and let the stage go on."""
    listener = processes.pidfd_getfd(pidfd, int(message.body))
    try:
        give(pid, listener)
    finally:
        os.close(listener)
    sync.send(stage.GO)


def raise_limits(pid: int, process: ProcessPlan) -> None:
    """Let a process set its limits itself: to raise a hard one takes a right that counts only outside of user
    namespaces. Raises LaunchError."""
    try:
        for number, _, wanted in process.rlimits:
            soft, hard = resource.prlimit(pid, number)
            if hard != resource.RLIM_INFINITY and (wanted == resource.RLIM_INFINITY or wanted > hard):
                resource.prlimit(pid, number, (soft, wanted))
    except (OSError, ValueError) as error:
        raise LaunchError(f"setting rlimits: {str(error).lower()}") from error


def _map_ids(pid: int, plan: Plan) -> None:
    if not plan.uid_map:
        return
    write(f"/proc/{pid}/uid_map", plan.uid_map)
    if not plan.process.set_groups:
        write(f"/proc/{pid}/setgroups", "deny")
    write(f"/proc/{pid}/gid_map", plan.gid_map)


def write(path: str, value: str) -> None:
    """Write a file of /proc. Raises LaunchError."""
    try:
        pseudo_files.write(path, value)
    except OSError as error:
        raise LaunchError(f"write {path.rpartition('/')[2]}: {(error.strerror or '').lower()}") from error
