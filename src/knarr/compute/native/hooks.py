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
    from collections.abc import Iterable, Mapping
    from typing import NoReturn


_MOST_SAID = 4096


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


def run_all(
    kind: str, hooks: Iterable[HookPlan], told: Told, *, directory: str = "", environment: dict[str, str] | None = None
) -> None:
    """Run the hooks of a `kind` in their order, in `directory` if there is one, those that name no environment in the
    given one, or in ours. Raises HookFailed at the first that fails; the others are not run."""
    state = encode_json(told)
    for number, hook in enumerate(hooks):
        if failure := _run(hook, state, directory, environment):
            raise HookFailed(f"error running hook #{number} of {kind}: {hook.path}: {failure}")


def run_each(kind: str, hooks: Iterable[HookPlan], told: Told, *, directory: str = "") -> list[str]:
    """Run hooks in their order, all of them; what there is to say of those that have failed."""
    failures = []
    for number, hook in enumerate(hooks):
        if failure := _run(hook, encode_json(told), directory, None):
            failures.append(f"error running hook #{number} of {kind}: {hook.path}: {failure}")
    return failures


def _run(hook: HookPlan, state: bytes, directory: str, environment: dict[str, str] | None) -> str:
    """How it has failed, with what it has said; "" if it has not."""
    reader, writer = os.pipe2(os.O_CLOEXEC)
    said = os.memfd_create("hook")
    try:
        pid = os.fork()
        if pid == 0:
            own = dict(entry.partition("=")[::2] for entry in hook.env)
            inherited = os.environ if environment is None else environment
            _execute(hook, (reader, said, said), directory, own or inherited)
        os.close(reader)
        try:
            os.write(writer, state)  # less than a pipe holds
        except BrokenPipeError:  # not every hook wants to know
            pass
        finally:
            os.close(writer)
        failure = _await(hook, pid)
        if failure and (text := os.pread(said, _MOST_SAID, 0).decode(errors="replace").strip()):
            failure += f": {text}"
        return failure
    finally:
        os.close(said)


def _await(hook: HookPlan, pid: int) -> str:
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
        return f"ran past its timeout of {hook.timeout} s"
    if code < 0:
        return f"signal: {(signal.strsignal(-code) or str(-code)).lower()}"
    return f"exit status {code}" if code else ""


def _execute(hook: HookPlan, streams: tuple[int, int, int], directory: str, environment: Mapping[str, str]) -> NoReturn:
    try:
        processes.default_signal(signal.SIGPIPE)
        if directory and os.path.isdir(directory):  # a bundle may be gone before its container
            os.chdir(directory)
        for place, fd in enumerate(streams):
            os.dup2(fd, place)
        os.execve(hook.path, hook.args or [hook.path], environment)
    except OSError as error:
        os.write(2, (error.strerror or "").lower().encode())
    os._exit(127)
