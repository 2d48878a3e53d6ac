"""The process that starts a system for its shim, and then ends.

What it takes to start a container touches most of the interpreter's memory, which a forked process then owns a copy
of. A shim stays for as long as its container, so it leaves that to a child: the launcher receives the request, makes
the main process as the shim's own child (CLONE_PARENT), hands everything over in one message, and is gone.
"""

from __future__ import annotations

import os
import socket
from typing import NoReturn

import msgspec
from msgspec import Struct, field

from knarr.compute.interface import LogSettings
from knarr.compute.native import frames, launch, messages
from knarr.compute.native.launch import LaunchError
from knarr.compute.native.messages import AttachSpec, Create
from knarr.compute.native.plan import CgroupPlan, ExecDefaults
from knarr.compute.native.run_directory import SOCKET_NAME, STATE_NAME, State, write_file
from knarr.compute.native.stage import START
from knarr.kernel import namespaces, processes

MAX_REPORT = 192 << 10


class Report(Struct):
    """A launched system, or why there is none. `helper`: see `Launched`.

    `command` is the OCI runtime that made it, empty where it was our own. If it is `started`, its program has been told
    to begin. Descriptors: pidfd, listener, sync if
    `has_sync`, the OOM descriptor if `has_oom`, the terminal's master or stdout and stderr and (if `has_stdin`) stdin,
    then one for each attachment.
    """

    number: int
    error: str = ""
    code: int = 0
    invalid: bool = False
    id: str = ""
    pid: int = 0
    helper: int = 0
    run_dir: str = ""
    cgroup: CgroupPlan | None = None
    log: LogSettings = field(default_factory=LogSettings)
    owns_pids: bool = True
    has_user_namespace: bool = False
    started: bool = False
    has_sync: bool = False
    has_oom: bool = False
    has_terminal: bool = False
    has_stdin: bool = False
    attachments: list[AttachSpec] = field(default_factory=list)
    defaults: ExecDefaults = field(default_factory=ExecDefaults)
    command: list[str] = field(default_factory=list)


# Made before any fork: a decoder that is made in a shim costs its memory in every shim.
encode_report = msgspec.msgpack.Encoder().encode
decode_report = msgspec.msgpack.Decoder(Report).decode


def main(connection: socket.socket, handover: socket.socket) -> NoReturn:
    """Wait for a Create on `connection`, carry it out, report on `handover` (SOCK_SEQPACKET). Never returns."""
    try:
        body, fds = frames.receive(connection)
        request = messages.decode_request(body)
        assert isinstance(request, Create)
        _serve(request, fds, handover)
    except EOFError:  # knarrd has ended: this shim is not needed
        pass
    except BaseException as error:  # noqa: BLE001 - the edge of a process
        send(handover, Report(0, error=f"{type(error).__name__}: {error}", code=128), [])
    os._exit(0)


def _serve(request: Create, fds: list[int], handover: socket.socket) -> None:
    count = len(request.attachments)
    attachments = fds[len(fds) - count :]
    given = iter(fds)
    inputs = launch.Given(
        next(given),
        next(given) if request.has_network else None,
        next(given) if request.has_users else None,
        request.stdin_open,
    )
    try:
        launched = launch.launch(request.plan, inputs)
    except LaunchError as error:
        send(handover, Report(request.number, error=error.text, code=error.code, invalid=error.invalid), [])
        return
    try:
        hand_over(_report(request), launched, attachments, handover)
    except BaseException:  # the run directory or the shim has gone meanwhile
        launch.give_up(launched, request.plan.cgroup)
        raise


def hand_over(report: Report, launched: launch.Launched, attachments: list[int], handover: socket.socket) -> None:
    """Complete the report of what was launched and send it with all descriptors. Raises OSError.

    A program that is to be `started` begins while the shim takes over: what it writes waits in the pipes.
    """
    assert report.cgroup is not None
    report.pid, report.helper = launched.pid, launched.helper
    listener = _listen(report.run_dir)
    _write_state(report)
    passed = [launched.pidfd, listener]
    if launched.sync is not None:
        report.has_sync = True
        passed.append(launched.sync)
    oom = launch.open_cgroup(report.cgroup).oom_eventfd()
    if oom is not None:
        report.has_oom = True
        passed.append(oom)
    if launched.terminal is not None:
        report.has_terminal = True
        passed.append(launched.terminal)
    elif launched.pipes is not None:
        stdin, stdout, stderr = launched.pipes
        report.has_stdin = stdin is not None
        passed += [stdout, stderr] if stdin is None else [stdout, stderr, stdin]
    if report.started:
        assert launched.sync is not None
        os.write(launched.sync, START)
    send(handover, report, [*passed, *attachments])


def _report(request: Create) -> Report:
    plan = request.plan
    plan.cgroup.writes, plan.cgroup.device_program = [], b""
    process = plan.process
    return Report(
        number=request.number,
        id=plan.id,
        run_dir=plan.run_dir,
        cgroup=plan.cgroup,
        log=request.log,
        owns_pids=bool(plan.new & namespaces.CLONE_NEWPID),
        has_user_namespace=plan.has_users,
        started=request.start,
        attachments=request.attachments,
        defaults=ExecDefaults.of(process, plan.stream_owner),
    )


def send(handover: socket.socket, report: Report, fds: list[int]) -> None:
    """Send a report and the descriptors that it names."""
    handover.sendmsg([encode_report(report)], frames.ancillary(fds))


def _listen(run_dir: str) -> int:
    """Listen in the run directory, reached by its descriptor: a socket's path may be at most 107 bytes."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    directory = os.open(run_dir, os.O_PATH | os.O_CLOEXEC)
    mask = os.umask(0o177)
    try:
        listener.bind(f"/proc/self/fd/{directory}/{SOCKET_NAME}")
    finally:
        os.umask(mask)
        os.close(directory)
    listener.listen(64)
    return listener.detach()


def _write_state(report: Report) -> None:
    assert report.cgroup is not None
    started = processes.start_time(report.pid) or 0
    write_file(report.run_dir, STATE_NAME, msgspec.json.encode(State(report.pid, started, os.getppid(), report.cgroup)))
