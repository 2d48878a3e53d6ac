"""Trying things where they do no harm: in a child process, as the user in question, in namespaces of its own."""

from __future__ import annotations

import json
import os
import select
import signal
from collections.abc import Callable
from typing import NoReturn

from knarr.doctor.finding import Finding, missing, ok, unknown
from knarr.doctor.subject import Subject
from knarr.kernel import namespaces, processes, pseudo_files

_PATIENCE = 20_000  # milliseconds

Work = Callable[[], str]
"""What is tried: raises OSError or RuntimeError if it does not work, else says something about it, or nothing ("")."""


class NoUserNamespace(Exception):
    """Nothing could be tried, as the user cannot have the user namespace that this takes."""


def attempt(subject: Subject, work: Work, flags: int = 0, *, user_namespace: bool | None = None) -> str:
    """The result of `work` as the subject, in new namespaces (`flags`, CLONE_NEW*).

    Who is not root gets a user namespace with them, unless `user_namespace` says otherwise. Raises OSError and
    RuntimeError as `work` does, TimeoutError, NoUserNamespace.
    """
    wants_user = user_namespace if user_namespace is not None else subject.rootless or not subject.by_root
    reader, writer = os.pipe2(os.O_CLOEXEC)
    child = os.fork()
    if child == 0:
        os.close(reader)
        _carry_out(subject, work, flags, writer, wants_user)
    os.close(writer)
    try:
        answer = _read_all(reader)
    finally:
        os.close(reader)
        os.kill(child, signal.SIGKILL)  # it has answered, or never will
        os.waitpid(child, 0)
    return _open(answer)


def tried(
    subject: Subject,
    name: str,
    work: Work,
    flags: int = 0,
    *,
    effect: str,
    remedy: str | Callable[[], str] = "",
    detail: str = "",
    needed: bool = False,
) -> Finding:
    """The finding of an attempt; `detail` is for success, unless `work` has something to say.

    Failure of an attempt by an ordinary user tells nothing of what root can do.
    """
    try:
        return ok(name, attempt(subject, work, flags) or detail)
    except NoUserNamespace:
        return unknown(name, "takes a user namespace")
    except (OSError, RuntimeError) as error:
        reason = (error.strerror if isinstance(error, OSError) else None) or str(error)
        if not subject.sees_all:
            return unknown(name, f"as an ordinary user: {reason}", "sudo knarr doctor")
        return missing(name, reason, effect, remedy() if callable(remedy) else remedy, needed=needed)


def open_device(path: str) -> str:
    """Whether a device can be opened, as work. Raises OSError."""
    os.close(os.open(path, os.O_RDWR | os.O_CLOEXEC))
    return ""


def _carry_out(subject: Subject, work: Work, flags: int, writer: int, wants_user: bool) -> NoReturn:
    answer: dict[str, object] = {"words": "the process that tried has crashed"}
    try:
        _become(subject)
        if wants_user:
            _enter_user_namespace(flags)
        elif flags:
            namespaces.unshare(flags)
        if flags & namespaces.CLONE_NEWPID:
            _go_on_in_child()
        answer = {"value": work()}
    except NoUserNamespace as error:
        answer = {"unavailable": str(error)}
    except OSError as error:
        answer = {"errno": error.errno or 0, "words": error.strerror or str(error)}
    except Exception as error:  # noqa: BLE001 - the process's edge: it is reported
        answer = {"words": str(error) or type(error).__name__}
    finally:
        os.write(writer, json.dumps(answer).encode())
        os._exit(0)


def _become(subject: Subject) -> None:
    if subject.uid == os.geteuid() or not subject.by_root:
        return
    os.setgroups(subject.groups)
    os.setresgid(subject.gid, subject.gid, subject.gid)
    os.setresuid(subject.uid, subject.uid, subject.uid)
    processes.prctl(processes.PR_SET_DUMPABLE, 1)  # else its files in /proc are root's


def _enter_user_namespace(flags: int) -> None:
    uid, gid = os.geteuid(), os.getegid()
    try:
        namespaces.unshare(namespaces.CLONE_NEWUSER)
        pseudo_files.write("/proc/self/setgroups", "deny")
        pseudo_files.write("/proc/self/gid_map", f"0 {gid} 1")
        pseudo_files.write("/proc/self/uid_map", f"0 {uid} 1")
    except OSError as error:
        raise NoUserNamespace(error.strerror) from error
    if flags:
        namespaces.unshare(flags)


def _go_on_in_child() -> None:
    """What comes after a new pid namespace is made is its first process's; this one waits for it."""
    child = os.fork()
    if child:
        os.waitpid(child, 0)
        os._exit(0)


def _read_all(reader: int) -> bytes:
    poll = select.poll()
    poll.register(reader, select.POLLIN)
    data = b""
    while poll.poll(_PATIENCE):
        piece = os.read(reader, 1 << 16)
        if not piece:
            return data
        data += piece
    raise TimeoutError(f"no answer within {_PATIENCE // 1000} seconds")


def _open(answer: bytes) -> str:
    found = json.loads(answer or b'{"words": "the process that tried has ended early"}')
    if "unavailable" in found:
        raise NoUserNamespace(found["unavailable"])
    if "errno" in found:
        raise OSError(found["errno"], found["words"])
    if "words" in found:
        raise RuntimeError(found["words"])
    return str(found["value"])
