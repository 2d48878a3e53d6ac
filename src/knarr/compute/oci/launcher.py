"""Has the runtime create a system, on behalf of a shim, and then ends: the kin of native/launcher.py.

The root filesystem is mounted where the runtime expects it, in a mount namespace that this process has to itself: what
it has created keeps the mount, and nothing stays on the host. The main process becomes the shim's child when the
runtime ends, as the shim is a subreaper.
"""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from typing import NoReturn

import msgspec

from knarr.compute.native import frames, launch, launcher, messages, run_directory
from knarr.compute.native.launch import Launched, LaunchError
from knarr.compute.native.launcher import Report
from knarr.compute.native.messages import BundleCreate
from knarr.compute.oci import command
from knarr.kernel import mounts, namespaces, processes

_LOG, _PID, _TERMINAL = "create.log", "create.pid", "create.sock"


def main(connection: socket.socket, handover: socket.socket) -> NoReturn:
    """Wait for a BundleCreate on `connection`, carry it out, report on `handover`. Never returns."""
    try:
        body, fds = frames.receive(connection)
        request = messages.decode_request(body)
        assert isinstance(request, BundleCreate)
        try:
            _serve(request, fds, handover)
        except LaunchError as error:
            launcher.send(
                handover, Report(request.number, error=error.text, code=error.code, invalid=error.invalid), []
            )
    except EOFError:  # knarrd has ended: this shim is not needed
        pass
    except BaseException as error:  # noqa: BLE001 - the edge of a process
        launcher.send(handover, Report(0, error=f"{type(error).__name__}: {error}", code=128), [])
    os._exit(0)


def _serve(request: BundleCreate, fds: list[int], handover: socket.socket) -> None:
    _mount_root(request.run_dir, fds[0])
    _write_config(request, fds[1] if request.has_network else None)
    report = Report(
        number=request.number,
        id=request.id,
        run_dir=request.run_dir,
        cgroup=request.cgroup,
        log=request.log,
        owns_pids=request.owns_pids,
        attachments=request.attachments,
        command=request.command,
    )
    with ExitStack() as stack:
        launched = _create(request, stack)
        try:
            launcher.hand_over(report, launched, fds[len(fds) - len(request.attachments) :], handover)
        except BaseException:  # the run directory or the shim has gone meanwhile
            command.delete(request.command, request.run_dir, request.id)
            raise


def _mount_root(run_dir: str, root_fd: int) -> None:
    namespaces.unshare(namespaces.CLONE_NEWNS)
    mounts.mount(None, "/", None, mounts.MS_REC | mounts.MS_SLAVE)
    target = f"{run_dir}/{command.ROOTFS_NAME}"
    os.mkdir(target, 0o700)
    place = os.open(target, os.O_PATH | os.O_CLOEXEC)
    try:
        mounts.move_mount(root_fd, place)
    finally:
        os.close(place)


def _write_config(request: BundleCreate, network_fd: int | None) -> None:
    """The specification names the network namespace by a path: one of this process, which lives long enough."""
    config = msgspec.json.decode(request.config)
    for namespace in config["linux"]["namespaces"]:
        if namespace["type"] == "network" and "path" not in namespace and network_fd is not None:
            namespace["path"] = f"/proc/{os.getpid()}/fd/{network_fd}"
    run_directory.write_file(request.run_dir, command.CONFIG_NAME, msgspec.json.encode(config))


def _create(request: BundleCreate, stack: ExitStack) -> Launched:
    """Run `create`. Raises LaunchError."""
    words = ["create", "--bundle", ".", "--pid-file", _PID]
    streams, pipes, listener = None, None, None
    if request.terminal:
        listener = stack.enter_context(command.listen_for_terminal(request.run_dir, _TERMINAL))
        words += ["--console-socket", _TERMINAL]
    else:
        streams, pipes = launch.make_pipes(stack, request.stdin_open, (0, 0))
    command.run(request.command, request.run_dir, _LOG, *words, request.id, stdio=streams)
    try:
        terminal = command.receive_terminal(listener) if listener else None
        pid = command.read_pid(request.run_dir, _PID)
        return Launched(pid, processes.pidfd_open(pid), 0, None, terminal, pipes)
    except BaseException:
        command.delete(request.command, request.run_dir, request.id)
        raise
