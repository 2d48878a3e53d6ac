"""What a new main process does between clone3 and execve: build its view of the world, then become its program.

Its only contact with the shim is a socket pair: it waits for `GO`, answers with `READY` (and the terminal's master
descriptor), waits for `START`, and is not heard of again once execve has closed its end. With a gate it does all but
execve first, as other engines want to hear from `create` that there is no such program, closes the socket, and waits at
the gate. Whatever goes wrong is sent as `FAILED` and ends the process; no exception leaves this module.
"""

from __future__ import annotations

import os
import stat
import struct

from knarr.compute.native import hooks
from knarr.compute.native.gate import Gate, Line
from knarr.compute.native.operations import AnyOperation, Operation, Scene
from knarr.compute.native.plan import Plan, ProcessPlan
from knarr.compute.native.program import (
    StageError,
    execute,
    is_refused_value,
    prepare,
    take_streams,
    trusted_proc,
    write_attributes,
)
from knarr.kernel import mounts, namespaces, paths, processes, seccomp, terminals
from knarr.light import NamedTuple, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

GO = b"g"
READY = b"r"
TERMINAL = b"t"
START = b"s"
FAILED = b"f"
LISTENER = b"l"
MOUNTED = b"m"


class Failure(NamedTuple):
    """A failed step as it travels to the shim."""

    text: str
    code: int
    invalid: bool = False


def decode_failure(body: bytes) -> Failure:
    """What `report` has sent, without its FAILED."""
    code, invalid, text = body.decode(errors="surrogateescape").split(" ", 2)
    return Failure(text, int(code), invalid == "True")


class Inherited(NamedTuple):
    """The descriptors that a new main process finds open. `mounts_fd`: the mount namespace that it ends in, if not one
    of its own. If it `waits`, it says MOUNTED and goes on when it is told to."""

    root_fd: int
    join_fds: list[int]
    prepared: list[int | None]
    streams: tuple[int, int, int] | None
    gate: Gate | None = None
    mounts_fd: int | None = None
    waits: bool = False


def run(plan: Plan, sync: socket.socket, inherited: Inherited) -> NoReturn:
    """Be the main process. Never returns."""
    line: Line = sync
    try:
        _build(plan, sync, inherited)
        if inherited.gate is None:
            _await_start(line)
            prepared = prepare(plan.process, line)
        else:
            prepared = prepare(plan.process, line)
            line = inherited.gate
            sync.close()
            _await_start(line)
        execute(prepared, lambda own: _run_hooks("startContainer", plan.start_hooks, plan, own))
    except StageError as error:
        report(line, error.text, error.code, invalid=error.invalid)
    except OSError as error:
        report(line, f"{error.filename or 'system call'}: {(error.strerror or '').lower()}", 128)
    except BaseException as error:  # noqa: BLE001 - the edge of a process: nothing may unwind into the shim
        report(line, f"{type(error).__name__}: {error}", 128)
    os._exit(1)


def _await_start(line: Line) -> None:
    if line.recv(1) != START:
        os._exit(1)


def enter(
    process: ProcessPlan, sync: socket.socket, streams: tuple[int, int, int] | None, *, own_users: bool
) -> NoReturn:
    """Be an additional process, already inside the namespaces. Never returns."""
    try:
        os.setsid()
        if own_users:
            _be_superuser(process)
        if process.terminal:
            _send_terminal(process, sync, "/")
        elif streams is not None:
            take_streams(_with_null(streams))
        write_attributes(process.attributes)
        if process.notifies:
            _offer_listener(process, sync)
        execute(prepare(process, sync))
    except StageError as error:
        report(sync, error.text, error.code, invalid=error.invalid)
    except BaseException as error:  # noqa: BLE001 - the edge of a process
        report(sync, f"{type(error).__name__}: {error}", 128)
    os._exit(1)


def _offer_listener(process: ProcessPlan, sync: socket.socket) -> None:
    """Load the filter that notifies, and wait until its listener has been fetched from us by its number: what else
    than write(2) would tell of it may have to be answered by that listener first."""
    if process.no_new_privileges:
        processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)
    flags = process.seccomp_flags & ~seccomp.FLAG_TSYNC | seccomp.FLAG_NEW_LISTENER
    listener = seccomp.load(process.seccomp, flags)
    process.seccomp = b""
    os.write(sync.fileno(), LISTENER + str(listener).encode())
    if os.read(sync.fileno(), 1) != GO:
        os._exit(1)
    os.close(listener)


def report(sync: Line, text: str, code: int, *, invalid: bool = False) -> None:
    """Tell the shim which step failed."""
    try:
        sync.send(FAILED + f"{code} {invalid} {text}".encode(errors="surrogateescape"))
    except OSError:  # a profile without sendto, or a shim that is gone: the exit status has to tell
        os._exit(code)


def _build(plan: Plan, sync: socket.socket, inherited: Inherited) -> None:
    """Everything up to READY."""
    for fd in inherited.join_fds:
        os.write(fd, b"0")
    if sync.recv(1) != GO:
        os._exit(1)
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    os.setsid()
    os.umask(0)
    if plan.has_users:
        _be_superuser(plan.process)
    if plan.new & namespaces.CLONE_NEWCGROUP:  # only now: its root is the cgroup that the process is in
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)
    _build_root(plan, sync, inherited)
    if not plan.process.terminal and inherited.streams is not None:
        take_streams(_with_null(inherited.streams))
    if plan.process.notifies:
        _offer_listener(plan.process, sync)
    sync.send(READY)


def _run_hooks(kind: str, planned: list[hooks.HookPlan], plan: Plan, environment: dict[str, str]) -> None:
    if not planned:
        return
    plan.told.pid = os.getpid()
    try:
        hooks.run_all(kind, planned, plan.told, environment=environment)
    except hooks.HookFailed as error:
        raise StageError(str(error)) from None


def _be_superuser(process: ProcessPlan) -> None:
    """Be the superuser of a user namespace: whoever comes from outside is nobody in it."""
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    if process.set_groups:
        os.setgroups([])


def _with_null(streams: tuple[int, int, int]) -> tuple[int, int, int]:
    """Streams that are -1 read from the system's own /dev/null."""
    if -1 not in streams:
        return streams
    try:
        null = os.open("/dev/null", os.O_RDWR | os.O_CLOEXEC)
    except OSError:  # a root without devices: an empty pipe is at its end too
        null, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)
    first, second, third = (null if fd == -1 else fd for fd in streams)
    return first, second, third


def _build_root(plan: Plan, sync: socket.socket, inherited: Inherited) -> None:
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
    root = inherited.root_fd
    # Nothing that is mounted in it shows on the host; what is mounted there shows in it where it is to be a slave.
    kind = mounts.MS_SLAVE if plan.root_propagation & mounts.MS_SLAVE else mounts.MS_PRIVATE
    mounts.mount_setattr(root, propagation=kind, recursive=True)
    _attach_root(root, plan.root_path)
    scene = Scene(root, _host_null())
    prepared = iter(inherited.prepared)
    for operation in plan.operations:
        _execute(operation, scene, next(prepared))
    if inherited.waits:
        sync.send(MOUNTED)
        if sync.recv(1) != GO:
            os._exit(1)
    if plan.create_hooks:
        os.fchdir(root)
        _run_hooks("createContainer", plan.create_hooks, plan, {})
    if plan.hostname:
        _step("sethostname", lambda: socket.sethostname(plan.hostname))
    if plan.domainname:
        _step("setdomainname", lambda: processes.set_domain_name(plan.domainname))
    _write_sysctls(plan.sysctls)
    if plan.process.terminal:
        _open_terminal(plan.process, sync, scene)
    for operation in plan.late_operations:
        _execute(operation, scene, next(prepared))
    if plan.root_readonly:
        mounts.mount_setattr(root, set=mounts.MOUNT_ATTR_RDONLY)
    write_attributes(plan.process.attributes)
    if inherited.mounts_fd is not None:
        _leave(root, inherited.mounts_fd, plan.root_propagation)
        return
    _pivot(root)
    if plan.root_propagation:
        mounts.mount(None, "/", None, plan.root_propagation)


def _attach_root(root: int, path: str) -> None:
    """Where hooks look for it, or on top of the host's root, which a process's "/" does not follow."""
    try:
        here = os.open(path or "/", os.O_PATH | os.O_CLOEXEC)  # descriptors of the host's namespace would not do
    except PermissionError:  # a directory that is closed to a user namespace's superuser
        here = os.open("/", os.O_PATH | os.O_CLOEXEC)
    mounts.move_mount(root, here)
    os.close(here)


def _host_null() -> int:
    """The host's /dev/null, verified: what is bound over masked files must be the real one (CVE-2025-31133)."""
    fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC | os.O_NOFOLLOW)
    status = os.fstat(fd)
    if not stat.S_ISCHR(status.st_mode) or status.st_rdev != os.makedev(1, 3):
        raise StageError("the host's /dev/null is not the null device")
    return fd


def _execute(operation: Operation | AnyOperation, scene: Scene, fd: int | None) -> None:
    try:
        operation.execute(scene, fd)
    except OSError as error:
        text = f"{operation.describe()}: {(error.strerror or str(error)).lower()}"
        raise StageError(text, invalid=is_refused_value(error)) from None
    finally:
        if fd is not None:
            os.close(fd)


def _step(name: str, call: Callable[[], None]) -> None:
    try:
        call()
    except OSError as error:
        raise StageError(f"{name}: {(error.strerror or '').lower()}") from None


def _write_sysctls(settings: list[tuple[str, str]]) -> None:
    """Through a procfs that nothing of the image can have covered."""
    if not settings:
        return
    proc = trusted_proc()
    try:
        for path, value in settings:
            try:
                fd = paths.openat2(proc, f"sys/{path}", os.O_WRONLY, resolve=paths.RESOLVE_BENEATH)
                try:
                    os.write(fd, value.encode())
                finally:
                    os.close(fd)
            except OSError as error:
                text = f"open sysctl {path.replace('/', '.')} file: {(error.strerror or '').lower()}"
                raise StageError(text, invalid=is_refused_value(error)) from None
    finally:
        os.close(proc)


def _open_terminal(process: ProcessPlan, sync: socket.socket, scene: Scene) -> None:
    slave = _send_terminal(process, sync, scene.root_fd)
    console = paths.make_file(scene.root_fd, "/dev/console", 0o600)
    clone = mounts.open_tree(slave, "", clone=True)
    mounts.move_mount(clone, console)
    os.close(clone)
    os.close(console)
    os.close(slave)


def _send_terminal(process: ProcessPlan, sync: socket.socket, root: int | str) -> int:
    """Open a terminal in the root, make it ours, and give the master to the shim. Returns the slave."""
    root_fd = os.open(root, os.O_PATH | os.O_CLOEXEC) if isinstance(root, str) else root
    try:
        master, slave = terminals.open_pair(root_fd)
    except OSError as error:
        raise StageError(f"opening a terminal: {(error.strerror or '').lower()}") from None
    if process.rows or process.columns:
        terminals.set_size(master, process.rows, process.columns)
    os.fchown(slave, process.uid, -1)
    terminals.make_controlling(slave)
    control = struct.pack("i", master)
    sync.sendmsg([TERMINAL], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, control)])
    os.close(master)
    take_streams((slave, slave, slave))
    return slave


def _leave(root_fd: int, namespace_fd: int, propagation: int) -> None:
    """Take what was built into another mount namespace, as a tree that is in none: whoever asked for this system
    attaches it (see runtime/shared_mounts.py), or it is gone with this process."""
    tree = mounts.open_tree(root_fd, "", clone=True, recursive=True)
    if propagation:
        recursive = bool(propagation & mounts.MS_REC)
        mounts.mount_setattr(tree, propagation=propagation & ~mounts.MS_REC, recursive=recursive)
    os.close(root_fd)
    _step("joining the mount namespace", lambda: namespaces.setns(namespace_fd, namespaces.CLONE_NEWNS))
    os.fchdir(tree)
    os.chroot(".")


def _pivot(root_fd: int) -> None:
    """Make the root the root, and let go of the host's tree."""
    old = os.open("/", os.O_DIRECTORY | os.O_RDONLY | os.O_CLOEXEC)
    os.fchdir(root_fd)
    mounts.pivot_root(".", ".")
    os.fchdir(old)
    mounts.mount(None, ".", None, mounts.MS_REC | mounts.MS_SLAVE)
    mounts.umount(".", mounts.MNT_DETACH)
    os.chdir("/")
    os.close(old)
    os.close(root_fd)
