"""What every shim does up to the point where it has nothing left to do but wait, done in the zygote first.

The interpreter rewrites a function's code while it is new (PEP 659) and fills caches on first use. Done before the
fork, these pages stay shared; done in a shim, every shim would have its own copy of them for as long as it lives.
"""

from __future__ import annotations

import os
import socket

from knarr.compute.interface import LogSettings
from knarr.compute.native import frames, messages
from knarr.compute.native.launcher import Report, decode_report, encode_report
from knarr.compute.native.messages import AttachSpec
from knarr.compute.native.plan import CgroupPlan
from knarr.compute.native.shim import Shim
from knarr.kernel import processes

_ROUNDS = 12  # enough for the interpreter to have specialised what runs


def rehearse() -> None:
    """Play a shim with this process as the container: take over, be told to start, move output and input."""
    for _ in range(_ROUNDS):
        _play()


def _play() -> None:
    shim = Shim()
    stage, sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    listener, listener_far = socket.socketpair()
    client, attached = socket.socketpair()
    stdin, stdout, stderr = (os.pipe2(os.O_CLOEXEC) for _ in range(3))
    pidfd = processes.pidfd_open(os.getpid())
    passed = [pidfd, sync.detach(), listener.detach(), stdout[0], stderr[0], stdin[1], attached.detach()]
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
        has_stdin=True,
        attachments=[AttachSpec(stdin=True, stdin_once=True)],
    )
