"""What every launcher and every shim does, done in the zygote first as far as it is harmless.

The interpreter rewrites a function's code while it is new (PEP 659) and fills caches on first use. Done before the
fork, it is done once and these pages stay shared; done in a forked process, each would be slow once and have its own
copy of them for as long as it lives.
"""

from __future__ import annotations

import os
import socket

from knarr.compute.interface import LogSettings
from knarr.compute.native import frames, messages
from knarr.compute.native.launcher import Report, decode_report, encode_report
from knarr.compute.native.messages import AttachSpec
from knarr.compute.native.operations import (
    AnyOperation,
    BindMount,
    MakeDevice,
    MakeDirectory,
    MaskPath,
    MountFilesystem,
    ReadonlyPath,
    Scene,
    SetAttributes,
    Symlink,
)
from knarr.compute.native.plan import CapabilityMasks, CgroupPlan, CgroupWrite, Join, Plan, ProcessPlan
from knarr.compute.native.shim import Shim
from knarr.kernel import mounts, processes

_ROUNDS = 12  # enough for the interpreter to have specialised what runs


def rehearse() -> None:
    """Play a launch on an empty file system, and a shim with this process as the container."""
    for _ in range(_ROUNDS):
        _play_launch()
        _play_shim()


def _play_launch() -> None:
    create = messages.Create(number=1, plan=_plan(), log=LogSettings())
    request = messages.decode_request(messages.encode(create))
    assert isinstance(request, messages.Create)
    root_fd = mounts.mount_detached("tmpfs")
    null_fd = os.open("/dev/null", os.O_PATH | os.O_CLOEXEC)
    for operation in request.plan.operations:
        fd = operation.prepare()
        try:
            operation.execute(Scene(root_fd, null_fd), fd)
        except OSError:  # before Linux 6.15 nothing can be mounted on a mount that is not attached
            pass
        if fd is not None:
            os.close(fd)
    os.close(null_fd)
    os.close(root_fd)


def _plan() -> Plan:
    operations: list[AnyOperation] = [
        MountFilesystem("tmpfs", "/dev", "tmpfs", mounts.MOUNT_ATTR_NOSUID, [("mode", "755"), ("size", "64k")]),
        BindMount("/dev/null", "/etc/file", set=mounts.MOUNT_ATTR_RDONLY),
        BindMount("/proc/self", "/sys/a/b", recursive=False, set=mounts.MOUNT_ATTR_RDONLY),
        MakeDevice("/dev/null", "c", 1, 3, 0o666),
        Symlink("/dev/fd", "/proc/self/fd"),
        MakeDirectory("/work/here"),
        ReadonlyPath("/sys"),
        MaskPath("/etc/file"),
        MaskPath("/sys/a"),
        SetAttributes("/sys", mounts.MOUNT_ATTR_RDONLY),
    ]
    process = ProcessPlan(["true"], ["PATH=/bin"], "/", capabilities=CapabilityMasks())
    cgroup = CgroupPlan("v1", {}, None, "/none", [CgroupWrite("a", "b", "c")])
    return Plan("rehearsal", "/none", cgroup, process, 0, [Join(0)], operations=operations, sysctls=[("a", "b")])


def _play_shim() -> None:
    shim = Shim()
    stage, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener, listener_far = socket.socketpair()
    client, attached = socket.socketpair()
    stdin, stdout, stderr = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
    pidfd = processes.pidfd_open(os.getpid())
    passed = [pidfd, listener.detach(), sync.detach(), stdout[0], stderr[0], stdin[1], attached.detach()]
    shim.take_over(decode_report(encode_report(_report())), passed)
    control, control_far = socket.socketpair()
    shim.add_connection(control_far)
    frames.send(control, messages.encode(messages.Start(number=1)))
    shim.reactor.poll_once()
    stage.close()
    shim.reactor.poll_once()
    os.write(stdout[1], b"line\n")
    client.send(b"input")
    shim.reactor.poll_once()
    for fd in (stdin[0], stdout[1], stderr[1]):
        os.close(fd)
    client.close()
    shim.reactor.poll_once()
    shim.leave()
    listener_far.close()
    control.close()
    os.close(pidfd)


def _report() -> Report:
    return Report(
        1,
        id="rehearsal",
        pid=os.getpid(),
        cgroup=CgroupPlan("v1", {}, None, "/none"),
        log=LogSettings(path="/dev/null"),
        has_sync=True,
        has_stdin=True,
        attachments=[AttachSpec(stdin=True, stdin_once=True)],
    )
