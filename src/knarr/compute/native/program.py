"""From a process inside its namespaces to the program that it becomes.

Runs between clone3 and execve: system calls in the order in which the kernel needs them, no decisions. `prepare` does
all that may fail for what somebody has asked for, `execute` the rest. Either raises `StageError`; the caller reports
that and exits, nothing unwinds further.
"""

from __future__ import annotations

import errno
import os
import resource
import stat

from knarr.compute.native import init
from knarr.compute.native.gate import Line
from knarr.compute.native.plan import ProcessPlan
from knarr.kernel import capabilities, filesystems, mounts, paths, processes, scheduling, seccomp
from knarr.light import NamedTuple, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn


_MAXIMUM_PASSWD = 1 << 20


class StageError(Exception):
    """A step failed. `code` is the exit code that a client of Docker expects: 126, 127 or 128.

    `invalid`: the kernel did not take a value that the user gave.
    """

    def __init__(self, text: str, code: int = 128, *, invalid: bool = False) -> None:
        super().__init__(text)
        self.text = text
        self.code = code
        self.invalid = invalid


def is_refused_value(error: OSError) -> bool:
    """Whether the kernel says that a value or a path makes no sense, and not that something is missing or forbidden."""
    return error.errno in (errno.EINVAL, errno.ERANGE, errno.ENAMETOOLONG, errno.ENOTDIR, errno.ELOOP)


def take_streams(fds: tuple[int, int, int]) -> None:
    """Put three descriptors in the places 0, 1, 2."""
    high = [fd if fd > 2 else os.dup(fd) for fd in fds]
    for place, fd in enumerate(high):
        os.dup2(fd, place, inheritable=True)


def trusted_proc() -> int:
    """A procfs of our own. Where we may not mount one, as the pid namespace is somebody else's, the one at /proc: the
    host's, until the root is changed. The caller's. Raises OSError."""
    try:
        return mounts.mount_detached("proc")
    except PermissionError:
        fd = os.open("/proc", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        if filesystems.magic(fd) != filesystems.PROC_SUPER_MAGIC:
            os.close(fd)
            raise OSError(errno.ENXIO, "is no procfs", "/proc") from None
        return fd


def write_attributes(attributes: list[tuple[str, str]]) -> None:
    """Write files of the calling thread's own, for security modules. While there is the right to mount a procfs, and
    before the last filter is loaded. Raises StageError."""
    if not attributes:
        return
    proc = trusted_proc()
    try:
        for name, text in attributes:
            try:
                resolve = paths.RESOLVE_BENEATH | paths.RESOLVE_NO_XDEV
                fd = paths.openat2(proc, f"thread-self/{name}", os.O_WRONLY, resolve=resolve)
                try:
                    os.write(fd, text.encode())
                finally:
                    os.close(fd)
            except OSError as error:
                raise StageError(f'writing "{text}" to /proc/thread-self/{name}: {_words(error)}') from None
    finally:
        os.close(proc)


def give_streams(uid: int, gid: int) -> None:
    """Let an unprivileged program reopen /dev/stdout and the like: its pipes belong to it."""
    if uid == 0:
        return
    for fd in (0, 1, 2):
        status = os.fstat(fd)
        if not stat.S_ISCHR(status.st_mode):
            try:
                os.fchown(fd, uid, gid)
            except OSError:  # a stream on a read-only or foreign filesystem stays as it is
                pass


class Prepared(NamedTuple):
    """What is left to be executed; `path` is "" where there is no program."""

    path: str
    args: list[str]
    environment: dict[str, str]
    filter: bytes
    filter_flags: int


def prepare(process: ProcessPlan, sync: Line) -> Prepared:
    """Drop to what `process` says and find its program. Raises StageError."""
    environment = dict(entry.partition("=")[::2] for entry in process.env)
    if not environment.get("HOME"):
        environment["HOME"] = _home(process.uid)
    _reset_signals()
    _limit(process)
    _schedule(process)
    if process.keyring:
        _join_keyring(process.keyring)
    os.umask(process.umask)
    give_streams(process.uid, process.gid)
    processes.close_range_cloexec(3 + process.preserve_fds)
    entered = _change_directory(process.cwd)
    if process.no_new_privileges:
        processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)
    if process.init:
        _split_init(process, sync)
    if process.seccomp and not process.no_new_privileges:
        seccomp.load(process.seccomp, process.seccomp_flags)
    _drop_privileges(process)
    if not entered and not _change_directory(process.cwd):
        raise StageError(f'chdir to cwd ("{process.cwd}") set in config.json failed: permission denied', 126)
    _verify_directory()
    path = find_program(process.args[0], environment.get("PATH", "")) if process.args else ""
    late = process.seccomp if process.no_new_privileges else b""
    return Prepared(path, process.args, environment, late, process.seccomp_flags)


def execute(prepared: Prepared, before: Callable[[dict[str, str]], None] = lambda _: None) -> NoReturn:
    """Become the program; descriptors close by themselves. Raises StageError.

    `before` is called as the last thing, with the program's environment and no more rights than it has.
    """
    if prepared.filter:
        seccomp.load(prepared.filter, prepared.filter_flags)
    before(prepared.environment)
    try:
        os.execve(prepared.path, prepared.args, prepared.environment)
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        raise StageError(f"exec {prepared.path}: {_words(error)}", code) from None


def _home(uid: int) -> str:
    """The user's directory by the root's own /etc/passwd, "/" if that does not say: as runc has it."""
    try:
        fd = os.open("/etc/passwd", os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    except OSError:
        return "/"
    try:
        users = os.read(fd, _MAXIMUM_PASSWD) if stat.S_ISREG(os.fstat(fd).st_mode) else b""
    finally:
        os.close(fd)
    number = str(uid).encode()
    homes = (fields[5] for line in users.splitlines() if (fields := line.split(b":"))[2:3] == [number] and fields[5:])
    return os.fsdecode(next(homes, b"") or b"/")


def _words(error: OSError) -> str:
    """strerror in Go's spelling: lower case."""
    return os.strerror(error.errno or 0).lower()


def find_program(name: str, search: str) -> str:
    """The path of a program, as execvp would find it in the current root; Docker's words and codes where it is not."""
    if "/" in name:
        _require_executable(name)
        return name
    for directory in search.split(":"):
        path = f"{directory or '.'}/{name}"
        try:
            if stat.S_ISREG(os.stat(path).st_mode) and os.access(path, os.X_OK):
                return path
        except OSError:
            continue
    raise StageError(f'exec: "{name}": executable file not found in $PATH', 127)


def _require_executable(path: str) -> None:
    try:
        mode = os.stat(path).st_mode
    except OSError as error:
        missing = error.errno in (errno.ENOENT, errno.ENOTDIR)
        raise StageError(f'exec: "{path}": stat {path}: {_words(error)}', 127 if missing else 126) from None
    if stat.S_ISDIR(mode):
        raise StageError(f'exec: "{path}": is a directory: permission denied', 126)  # podman looks for the latter
    if not os.access(path, os.X_OK):
        raise StageError(f'exec: "{path}": permission denied', 126)


def _reset_signals() -> None:
    """Default dispositions and an empty mask: the interpreter ignores SIGPIPE and SIGXFSZ, the shim blocks some."""
    for number in (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGINT, signal.SIGCHLD, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_DFL)
    processes.mask_signals(set())


def _limit(process: ProcessPlan) -> None:
    for number, soft, hard in process.rlimits:
        try:
            resource.setrlimit(number, (soft, hard))
        except OSError as error:
            raise StageError(f"error setting rlimit type {number}: {_words(error)}") from None
        except ValueError:  # the interpreter's for EPERM, and for EINVAL, which it is with a soft limit above the hard
            why = errno.EINVAL if 0 <= hard < soft else errno.EPERM
            raise StageError(f"error setting rlimit type {number}: {os.strerror(why).lower()}") from None


def _schedule(process: ProcessPlan) -> None:
    """While there is the right to do so. Where the caller may run is no matter: its control group says where we may."""
    if not process.cpus:
        scheduling.allow_all_cpus()
    try:
        if process.scheduler is not None:
            scheduling.set_policy(*process.scheduler)
        if process.io_priority is not None:
            scheduling.set_io_priority(process.io_priority)
        if process.personality is not None:
            scheduling.set_personality(process.personality)
        if process.memory_policy is not None:
            scheduling.set_memory_policy(*process.memory_policy)
    except OSError as error:
        text = f"setting scheduler, ioPriority, personality or memoryPolicy: {_words(error)}"
        raise StageError(text, invalid=is_refused_value(error)) from None


def _join_keyring(name: str) -> None:
    try:
        processes.join_session_keyring(name)
    except OSError as error:  # kernels without keys, quota reached, or a seccomp profile around the engine
        if error.errno not in (errno.ENOSYS, errno.EPERM, errno.EDQUOT):
            raise


def _change_directory(path: str) -> bool:
    """False where the directory may only be entered by the program's own user."""
    try:
        os.chdir(path)
    except PermissionError:
        return False
    except OSError as error:
        code = 127 if error.errno == errno.ENOENT else 126
        raise StageError(f'chdir to cwd ("{path}") set in config.json failed: {_words(error)}', code) from None
    return True


def _verify_directory() -> None:
    """A working directory outside the root (a descriptor's leak, CVE-2024-21626) shows as unreachable."""
    try:
        path = os.getcwd()
    except OSError as error:
        if error.errno == errno.ENOENT:
            raise StageError("current working directory is outside of container mount namespace root", 126) from None
        return  # a profile that forbids getcwd: chdir was checked by the kernel all the same
    if not path.startswith("/"):
        raise StageError("current working directory is outside of container mount namespace root", 126)


def _drop_privileges(process: ProcessPlan) -> None:
    """First the bounding set, then the user, then the other sets: each step needs what the next takes away."""
    masks = process.capabilities
    if masks is not None:
        capabilities.drop_bounding(masks.bounding, masks.highest)
    capabilities.keep_on_setuid(True)
    if process.set_groups:
        os.setgroups(process.groups)
    os.setresgid(process.gid, process.gid, process.gid)
    os.setresuid(process.uid, process.uid, process.uid)
    capabilities.keep_on_setuid(False)
    if masks is not None:
        capabilities.set_sets(masks.effective, masks.permitted, masks.inheritable)
        capabilities.set_ambient(masks.ambient)


def _split_init(process: ProcessPlan, sync: Line) -> None:
    """Become two: process 1 stays behind to reap and to forward signals, the program goes on as its child."""
    forwarded = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
    processes.mask_signals(forwarded)  # before fork: a signal that comes in between must not be lost
    child = os.fork()
    if child == 0:
        processes.mask_signals(set())
        if process.terminal:
            init.own_foreground()
        return
    sync.close()
    processes.set_name("docker-init")
    processes.set_title("/sbin/docker-init -- " + " ".join(process.args))
    write_attributes(process.init_attributes)
    _drop_privileges(process)
    init.supervise(child)
