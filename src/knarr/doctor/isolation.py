"""What keeps containers apart: namespaces, the system calls that make them, filters, privileges."""

from __future__ import annotations

import os
import resource
import signal
import struct
from collections.abc import Iterator
from pathlib import Path

from knarr.doctor import remedies
from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject
from knarr.doctor.trial import NoUserNamespace, attempt, tried
from knarr.engine import apparmor_profile
from knarr.kernel import (
    apparmor,
    capabilities,
    landlock,
    mounts,
    namespaces,
    paths,
    processes,
    seccomp,
    user_namespaces,
)

TITLE = "Isolation"

_USERNS_CLONE = "kernel.unprivileged_userns_clone"
_USERNS_MAXIMUM = "user.max_user_namespaces"
_USERNS_APPARMOR = "kernel.apparmor_restrict_unprivileged_userns"
_ALLOW_ALL = struct.pack("HBBI", 0x06, 0, 0, seccomp.RET_ALLOW)
_LOST = {
    "CAP_SYS_RESOURCE": "--ulimit cannot raise a limit above the engine's own",
    "CAP_SYS_PTRACE": "docker top and exec do not see containers with user namespaces",
    "CAP_NET_RAW": "containers cannot ping",
    "CAP_AUDIT_WRITE": "programs in containers cannot write audit records",
    "CAP_MKNOD": "containers get no devices",
}
_NEEDED = {"CAP_SYS_ADMIN", "CAP_NET_ADMIN", "CAP_SETUID", "CAP_SETGID", "CAP_SETPCAP", "CAP_CHOWN", "CAP_DAC_OVERRIDE"}
_NEEDED |= {"CAP_FOWNER", "CAP_KILL", "CAP_SYS_CHROOT", "CAP_MKNOD"}


def examine(subject: Subject) -> Iterator[Finding]:
    """All findings of the group."""
    yield _user_namespaces(subject)
    for kind, (flag, _) in namespaces.TYPES.items():
        if kind != "user":
            yield tried(
                subject,
                f"{kind} namespaces",
                lambda: "",
                flag,
                effect=f"containers cannot have a {kind} namespace of their own",
                remedy="a kernel with all kinds of namespaces",
                needed=kind not in ("cgroup", "time"),
            )
    yield tried(
        subject,
        "/proc of its own",
        _fresh_proc,
        namespaces.CLONE_NEWPID | namespaces.CLONE_NEWNS,
        effect="containers would see the host's processes: none is started",
        remedy="uncover what is hidden in /proc (inside docker: --security-opt systempaths=unconfined)",
        needed=True,
    )
    for name, work in (("openat2", _openat2), ("pidfd", _pidfd), ("clone3", _clone3)):
        effect = "no container can be started"
        yield tried(subject, name, work, effect=effect, remedy="Linux 6.1 or newer", needed=True)
    yield from _filters(subject)
    yield from _modules(subject)
    if subject.rootless:
        yield _keys()
    else:
        yield from _capabilities(subject)
    yield _descriptors()


def _user_namespaces(subject: Subject) -> Finding:
    effect = "--userns auto is refused"
    if subject.rootless:
        effect = "a rootless engine cannot be started"
    elif not subject.by_root:
        return unknown("user namespaces", "root can have them where others cannot", "sudo knarr doctor")
    try:
        attempt(subject, _mount_something, namespaces.CLONE_NEWNS, user_namespace=True)
    except (OSError, RuntimeError, NoUserNamespace) as error:
        reason, remedy = _why_no_user_namespaces()
        return missing("user namespaces", reason or str(error), effect, remedy, needed=subject.rootless)
    return ok("user namespaces", f"{_USERNS_MAXIMUM} is {_sysctl(_USERNS_MAXIMUM) or 'not there'}")


def _why_no_user_namespaces() -> tuple[str, str]:
    """What forbids them, and the remedy."""
    if not os.path.exists("/proc/self/ns/user"):
        return "the kernel was built without them", "a kernel with CONFIG_USER_NS"
    if _sysctl(_USERNS_MAXIMUM) == "0":
        return f"{_USERNS_MAXIMUM} is 0", remedies.sysctl(_USERNS_MAXIMUM, 65536)
    if _sysctl(_USERNS_CLONE) == "0":
        return f"{_USERNS_CLONE} is 0", remedies.sysctl(_USERNS_CLONE, 1)
    if _sysctl(_USERNS_APPARMOR) == "1":
        return f"{_USERNS_APPARMOR} is 1", remedies.sysctl(_USERNS_APPARMOR, 0)
    return "", "if this is a container, run it with --security-opt seccomp=unconfined"


def _sysctl(name: str) -> str:
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return ""


def _mount_something() -> str:
    os.close(mounts.mount_detached("tmpfs"))
    return ""


def _fresh_proc() -> str:
    os.close(mounts.mount_detached("proc"))
    return ""


def _openat2() -> str:
    root = os.open("/", os.O_PATH)
    os.close(paths.open_in_root(root, "proc"))
    return ""


def _pidfd() -> str:
    pidfd = processes.pidfd_open(os.getpid())
    processes.pidfd_send_signal(pidfd, signal.SIGCONT)
    return ""


def _clone3() -> str:
    pid, _ = namespaces.clone3(0)
    if pid == 0:
        os._exit(0)
    os.waitpid(pid, 0)
    return ""


def _filters(subject: Subject) -> Iterator[Finding]:
    yield tried(
        subject,
        "libseccomp",
        _libseccomp,
        effect="no container can be started but with --security-opt seccomp=unconfined",
        remedy=lambda: remedies.install("libseccomp"),
        needed=True,
    )
    yield tried(
        subject,
        "seccomp filters",
        _filter,
        effect="no container can be started but with --security-opt seccomp=unconfined",
        remedy="a kernel with CONFIG_SECCOMP_FILTER",
        needed=True,
    )
    yield tried(
        subject,
        "seccomp notifications",
        _notification,
        effect="runtimes cannot hand system calls to an agent (linux.seccomp.listenerPath)",
        remedy="a kernel with CONFIG_SECCOMP_FILTER",
    )
    yield tried(
        subject,
        "landlock",
        lambda: f"version {landlock.version()}",
        effect="programs in containers cannot restrict themselves with it; knarr does not use it",
        remedy="boot with landlock in lsm=",
    )


def _libseccomp() -> str:
    seccomp.check_library()
    return ""


def _filter() -> str:
    processes.prctl(processes.PR_SET_NO_NEW_PRIVS, 1)
    seccomp.load(_ALLOW_ALL)
    return ""


def _notification() -> str:
    seccomp.check_action(seccomp.RET_USER_NOTIF)
    return ""


def _modules(subject: Subject) -> Iterator[Finding]:
    """Security modules that engines put containers under."""
    if apparmor.enabled():
        yield _apparmor(subject)
    if enforcing := _text("/sys/fs/selinux/enforce"):
        mode = "enforcing" if enforcing == "1" else "permissive"
        yield ok("SELinux", mode, "knarr sets no labels: containers run in the engine's domain")


def _apparmor(subject: Subject) -> Finding:
    if subject.rootless:
        return ok("AppArmor", "enabled", "only root's engine has profiles: containers run in the engine's")
    if apparmor_profile.parser() is None:
        effect = "containers run without a profile of their own"
        return missing("AppArmor", "apparmor_parser is not installed", effect, remedies.install("apparmor"))
    return ok("AppArmor", "enabled", f"containers run under the profile {apparmor_profile.DEFAULT}")


def _text(path: str) -> str:
    try:
        return Path(path).read_text().strip()
    except OSError:
        return ""


def _capabilities(subject: Subject) -> Iterator[Finding]:
    if not subject.by_root:
        yield unknown("capabilities", "those of root cannot be seen", "sudo knarr doctor")
        return
    names = {name for number, name in enumerate(capabilities.NAMES) if number <= capabilities.last_cap()}
    lost = names - set(capabilities.names(capabilities.own_permitted() & capabilities.own_bounding()))
    remedy = "start the engine with all capabilities (inside docker: --privileged)"
    if user_namespaces.inside():
        yield missing("capabilities", "this root is one in a user namespace", "it cannot do what root can", remedy)
    elif not lost:
        yield ok("capabilities", "all")
    for name in sorted(lost):
        effect = _LOST.get(name, f"containers cannot have it (--cap-add {name.removeprefix('CAP_')})")
        yield missing(name, "not among this root's", effect, remedy, needed=name in _NEEDED)


def _keys() -> Finding:
    limit = _sysctl("kernel.keys.maxkeys")
    if limit.isdecimal() and int(limit) < 1000:
        effect = f"about {limit} containers at a time, as each takes a session keyring"
        return ok("keyrings", f"kernel.keys.maxkeys is {limit}", effect)
    return ok("keyrings", f"kernel.keys.maxkeys is {limit or 'not there'}")


def _descriptors() -> Finding:
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < 4096:
        effect = "some hundred containers at a time, and no more files than that in each"
        return missing(
            "open files", f"limit {hard}", effect, "LimitNOFILE=infinity in the engine's unit, or ulimit -Hn"
        )
    return ok("open files", f"limit {hard}")
