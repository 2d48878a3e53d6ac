"""Hooks of the runtime specification (config.md, "POSIX-platform Hooks"): programs that are told of the container.

By system calls only: hooks run in the container's namespaces too, between clone3 and execve.
"""

from __future__ import annotations

import os
import select

from knarr.kernel import processes
from knarr.light import Struct, encode_json, field, signal

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import NoReturn


class HookPlan(Struct, frozen=True):
    """`args` with the program's own name first; `timeout` in seconds, None for no limit."""

    path: str
    args: list[str]
    env: list[str]
    timeout: int | None = None


class Told(Struct, rename="camel", omit_defaults=True):
    """The state of a container as hooks and `state` tell it (runtime.md, "State")."""

    oci_version: str = field(default_factory=lambda: "1.2.0")
    id: str = ""
    status: str = ""
    pid: int = 0
    bundle: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


class HookFailed(Exception):
    """The text says which hook, and how."""


def run_all(hooks: Iterable[HookPlan], told: Told, *, directory: str = "") -> None:
    """Run hooks in their order, in `directory` if there is one. Raises HookFailed at the first that fails; the others
    are not run."""
    state = encode_json(told)
    for hook in hooks:
        _run(hook, state, directory)


def run_each(hooks: Iterable[HookPlan], told: Told, *, directory: str = "") -> list[str]:
    """Run hooks in their order, all of them; what those that have failed have to say."""
    state, failures = encode_json(told), []
    for hook in hooks:
        try:
            _run(hook, state, directory)
        except HookFailed as error:
            failures.append(str(error))
    return failures


def _run(hook: HookPlan, state: bytes, directory: str) -> None:
    reader, writer = os.pipe2(os.O_CLOEXEC)
    pid = os.fork()
    if pid == 0:
        _execute(hook, reader, directory)
    os.close(reader)
    try:
        os.write(writer, state)  # less than a pipe holds
    except BrokenPipeError:  # not every hook wants to know
        pass
    finally:
        os.close(writer)
    _await(hook, pid)


def _await(hook: HookPlan, pid: int) -> None:
    pidfd = processes.pidfd_open(pid)
    try:
        poller = select.poll()
        poller.register(pidfd, select.POLLIN)
        ended = poller.poll(None if hook.timeout is None else hook.timeout * 1000)
        if not ended:
            processes.pidfd_send_signal(pidfd, signal.SIGKILL)
    finally:
        os.close(pidfd)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    if not ended:
        raise HookFailed(f"error running hook {hook.path}: ran past its timeout of {hook.timeout} s")
    if code:
        how = f"exit status {code}" if code > 0 else f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
        raise HookFailed(f"error running hook {hook.path}: {how}")


def _execute(hook: HookPlan, stdin: int, directory: str) -> NoReturn:
    try:
        processes.default_signal(signal.SIGPIPE)
        if directory and os.path.isdir(directory):  # a bundle may be gone before its container
            os.chdir(directory)
        os.dup2(stdin, 0)
        os.execve(hook.path, hook.args or [hook.path], dict(entry.partition("=")[::2] for entry in hook.env))
    except OSError:
        pass
    os._exit(127)
