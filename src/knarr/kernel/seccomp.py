"""Seccomp: seccomp(2), and libseccomp's tables of system call names (seccomp_syscall_resolve_name(3)).

`load` needs nothing but what is imported here: it is for the last moments before execve.
"""

from __future__ import annotations

import ctypes

from knarr.kernel import syscalls
from knarr.kernel.syscalls import syscall
from knarr.light import cache

RET_KILL_PROCESS = 0x80000000
RET_KILL_THREAD = 0x00000000
RET_TRAP = 0x00030000
RET_ERRNO = 0x00050000
RET_USER_NOTIF = 0x7FC00000
RET_TRACE = 0x7FF00000
RET_LOG = 0x7FFC0000
RET_ALLOW = 0x7FFF0000

FLAG_TSYNC = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4
FLAG_NEW_LISTENER = 8
FLAG_WAIT_KILLABLE_RECV = 32

_SET_MODE_FILTER = 1
_GET_ACTION_AVAIL = 2
_INSTRUCTION_SIZE = 8

# <linux/audit.h>: what seccomp_data.arch holds. libseccomp uses the same numbers, and one of its own for x32.
AUDIT_ARCH_X86_64 = 0xC000003E
AUDIT_ARCH_I386 = 0x40000003
AUDIT_ARCH_AARCH64 = 0xC00000B7
AUDIT_ARCH_ARM = 0x40000028
_LIBSECCOMP_X32 = 0x4000003E
X32_BIT = 0x40000000

# System calls that came after the name tables of the libseccomp releases in use; from 424 on all architectures agree.
_NEW_SYSCALLS = {
    "quotactl_fd": 443,
    "landlock_create_ruleset": 444,
    "landlock_add_rule": 445,
    "landlock_restrict_self": 446,
    "memfd_secret": 447,
    "process_mrelease": 448,
    "futex_waitv": 449,
    "set_mempolicy_home_node": 450,
    "cachestat": 451,
    "fchmodat2": 452,
    "map_shadow_stack": 453,
    "futex_wake": 454,
    "futex_wait": 455,
    "futex_requeue": 456,
    "statmount": 457,
    "listmount": 458,
    "lsm_get_self_attr": 459,
    "lsm_set_self_attr": 460,
    "lsm_list_modules": 461,
    "mseal": 462,
    "setxattrat": 463,
    "getxattrat": 464,
    "listxattrat": 465,
    "removexattrat": 466,
    "open_tree_attr": 467,
    "file_getattr": 468,
    "file_setattr": 469,
}

# libseccomp takes these on i386 for parts of socketcall(2) and ipc(2) only; the kernel has calls of their own as well.
_I386_DIRECT = {
    "socket": 359,
    "socketpair": 360,
    "bind": 361,
    "connect": 362,
    "listen": 363,
    "accept4": 364,
    "getsockopt": 365,
    "setsockopt": 366,
    "getsockname": 367,
    "getpeername": 368,
    "sendto": 369,
    "sendmsg": 370,
    "recvfrom": 371,
    "recvmsg": 372,
    "shutdown": 373,
    "recvmmsg": 337,
    "sendmmsg": 345,
    "semget": 393,
    "semctl": 394,
    "shmget": 395,
    "shmctl": 396,
    "shmat": 397,
    "shmdt": 398,
    "msgget": 399,
    "msgsnd": 400,
    "msgrcv": 401,
    "msgctl": 402,
}


class _Program(ctypes.Structure):
    _fields_ = [("length", ctypes.c_ushort), ("filter", ctypes.c_void_p)]


def load(program: bytes, flags: int = 0) -> int:
    """Filter all further system calls of this thread by a classic BPF `program` (an array of struct sock_filter).

    Needs no_new_privs or CAP_SYS_ADMIN. With FLAG_NEW_LISTENER the listener's descriptor, close-on-exec, else 0
    (seccomp_unotify(2)). Raises OSError.
    """
    buffer = ctypes.create_string_buffer(program, len(program))
    header = _Program(len(program) // _INSTRUCTION_SIZE, ctypes.addressof(buffer))
    return syscall(syscalls.SYS_seccomp, _SET_MODE_FILTER, flags, ctypes.byref(header))


def check_action(action: int) -> None:
    """Return if filters may have this action (RET_*). Raises OSError, EOPNOTSUPP where they may not."""
    syscall(syscalls.SYS_seccomp, _GET_ACTION_AVAIL, 0, ctypes.byref(ctypes.c_uint32(action)))


def check_library() -> None:
    """Return if libseccomp can be loaded. Raises OSError."""
    _libseccomp()


@cache
def _libseccomp() -> ctypes.CDLL:
    library = ctypes.CDLL("libseccomp.so.2")
    library.seccomp_syscall_resolve_name_arch.argtypes = [ctypes.c_uint32, ctypes.c_char_p]
    library.seccomp_syscall_resolve_name_arch.restype = ctypes.c_int
    return library


@cache
def number(audit_arch: int, x32: bool, name: str) -> int | None:
    """The number of system call `name` on an architecture; None if it has none by that name.

    x32's numbers carry X32_BIT. Raises OSError if libseccomp is not installed.
    """
    if audit_arch == AUDIT_ARCH_I386 and name in _I386_DIRECT:
        return _I386_DIRECT[name]
    token = _LIBSECCOMP_X32 if x32 else audit_arch
    found = int(_libseccomp().seccomp_syscall_resolve_name_arch(token, name.encode()))
    if found >= 0:
        return found
    newer = 335 if name == "uretprobe" and audit_arch == AUDIT_ARCH_X86_64 and not x32 else _NEW_SYSCALLS.get(name)
    return newer if newer is None or not x32 else newer | X32_BIT
