"""The C library and raw system calls: every other kernel module calls through here.

Each wrapper that ends in `check` raises `OSError` with errno kept and nothing translated.
`PyDLL` keeps the interpreter lock during the call: needed where a call returns twice (clone3) and harmless for
calls that do not sleep. `libc` releases it and is the one for calls that may block.
"""

from __future__ import annotations

import ctypes
import os

libc = ctypes.CDLL(None, use_errno=True)
locked_libc = ctypes.PyDLL(None, use_errno=True)

_machine = os.uname().machine
if _machine not in ("x86_64", "aarch64"):
    raise ImportError(f"knarr does not know the system call numbers of {_machine}")
_X86 = _machine == "x86_64"

# Numbers from <asm/unistd.h>; those from 424 on are the same everywhere.
SYS_pivot_root = 155 if _X86 else 41
SYS_keyctl = 250 if _X86 else 219
SYS_capget = 125 if _X86 else 90
SYS_capset = 126 if _X86 else 91
SYS_seccomp = 317 if _X86 else 277
SYS_bpf = 321 if _X86 else 280
SYS_sched_setattr = 314 if _X86 else 274
SYS_ioprio_set = 251 if _X86 else 30
SYS_set_mempolicy = 238 if _X86 else 237
SYS_personality = 135 if _X86 else 92
SYS_pidfd_send_signal = 424
SYS_open_tree = 428
SYS_move_mount = 429
SYS_fsopen = 430
SYS_fsconfig = 431
SYS_fsmount = 432
SYS_fspick = 433
SYS_pidfd_open = 434
SYS_clone3 = 435
SYS_close_range = 436
SYS_openat2 = 437
SYS_pidfd_getfd = 438
SYS_mount_setattr = 442
SYS_quotactl_fd = 443
SYS_landlock_create_ruleset = 444


def check(result: int, *names: str) -> int:
    """Return `result`, or raise OSError(errno) if it is -1; `names` go into the error's file names."""
    if result == -1:
        errno = ctypes.get_errno()
        raise OSError(errno, os.strerror(errno), *names[:1])
    return result


def syscall(number: int, *args: object) -> int:
    """syscall(2), the interpreter lock released. Integers go as C long, bytes and ctypes objects as pointers.

    Raises OSError.
    """
    return check(libc.syscall(ctypes.c_long(number), *_words(args)))


def locked_syscall(number: int, *args: object) -> int:
    """As `syscall`, with the interpreter lock held throughout."""
    return check(locked_libc.syscall(ctypes.c_long(number), *_words(args)))


def _words(args: tuple[object, ...]) -> list[object]:
    return [ctypes.c_long(arg) if isinstance(arg, int) else arg for arg in args]


libc.syscall.restype = ctypes.c_long
locked_libc.syscall.restype = ctypes.c_long
