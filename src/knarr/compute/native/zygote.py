"""The process from which shims are forked: an interpreter with everything imported, one thread, nothing else.

knarrd sends a byte with a socket; the zygote forks, and the child is a shim with that socket as its first connection,
or for another byte what makes user namespaces.
At the end of its own socket (knarrd is gone) it ends; shims go on. Children are reaped by the kernel (SIGCHLD
ignored), as nobody but their connection wants to know of their end.
"""

from __future__ import annotations

import array
import gc
import os
import signal
import socket
from typing import NoReturn

from knarr.compute.native import rehearsal, shim, user_spaces
from knarr.compute.native.messages import BUNDLE_SHIM, USER_NAMESPACE
from knarr.compute.oci.shim import BundleShim
from knarr.kernel import processes


def main(control: socket.socket) -> NoReturn:
    """Serve fork requests on a SOCK_SEQPACKET socket. Never returns."""
    _forget_ignored_signals()
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # a ^C at knarrd's terminal is knarrd's
    processes.set_name("knarr-zygote")
    processes.find_title()
    processes.prctl(processes.PR_SET_DUMPABLE, 0)
    rehearsal.rehearse()
    processes.set_name("knarr-zygote")  # again: the rehearsal played a shim
    processes.set_title("knarr-zygote")
    gc.disable()
    gc.collect()
    gc.freeze()
    while True:
        kind, connection = _next_request(control)
        if connection is None:
            os._exit(0)
        if os.fork() == 0:
            control.close()
            if kind == USER_NAMESPACE:
                user_spaces.main(connection)
            shim.main(connection, BundleShim if kind == BUNDLE_SHIM else shim.Shim)
        connection.close()


def _forget_ignored_signals() -> None:
    """What the shell of whoever started knarrd ignored (SIGQUIT, in the background) would be ignored in containers."""
    for number in signal.valid_signals() - {signal.SIGPIPE, signal.SIGXFSZ}:  # those are the interpreter's own
        if signal.getsignal(number) is signal.SIG_IGN:
            signal.signal(number, signal.SIG_DFL)


def _next_request(control: socket.socket) -> tuple[bytes, socket.socket | None]:
    data, ancillary, _, _ = control.recvmsg(1, socket.CMSG_SPACE(4), socket.MSG_CMSG_CLOEXEC)
    if not data:
        return data, None
    fds = array.array("i")
    fds.frombytes(ancillary[0][2])
    return data, socket.socket(fileno=fds[0])
