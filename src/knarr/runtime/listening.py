"""Seccomp listeners: who answers a container's system calls gets the descriptor (config-linux.md, "Seccomp")."""

from __future__ import annotations

from knarr.compute.native.hooks import Told
from knarr.compute.native.launch import LaunchError
from knarr.light import Struct, encode_json, field, socket

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.runtime.containers import Container


class ProcessState(Struct, rename="camel"):
    """The container process state. `pid` is the process that is filtered."""

    oci_version: str
    pid: int
    metadata: str
    state: Told
    fds: list[str] = field(default_factory=lambda: ["seccompFd"])


def giver(container: Container, told: Callable[[int], Told]) -> Callable[[int, int], None]:
    """What gives a process's listener to the container's agent, with the state that `told` tells for it."""

    def give(pid: int, listener: int) -> None:
        state = told(pid)
        document = encode_json(ProcessState(state.oci_version, pid, container.listener_metadata, state))
        agent = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            agent.connect(container.listener)
            rights = (socket.SOL_SOCKET, socket.SCM_RIGHTS, listener.to_bytes(4, "little"))
            if rest := document[agent.sendmsg([document], [rights]) :]:  # it may be cut short by a signal
                agent.sendall(rest)
        except OSError as error:
            words = f"failed to connect with seccomp agent specified in the seccomp profile: {error.strerror}"
            raise LaunchError(f"{words}: {container.listener}") from None
        finally:
            agent.close()

    return give
