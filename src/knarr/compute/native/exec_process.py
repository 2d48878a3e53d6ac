"""One more process in a running system, as its shim sees it: connected with a client, followed to its end."""

from __future__ import annotations

import os
import socket
from abc import ABC, abstractmethod
from collections.abc import Callable
from contextlib import ExitStack

from knarr.compute.native import launch, stage
from knarr.compute.native.entering import PROCESS, SYSTEM_ENDED, Place, fork_into
from knarr.compute.native.messages import AttachSpec
from knarr.compute.native.plan import ProcessPlan
from knarr.compute.native.reactor import READ, Reactor
from knarr.compute.native.streams import Streams
from knarr.compute.native.system import LiveSystem

# A client that is attached already cannot be told in any other way; the words are Docker's.
_PREFIX = "OCI runtime exec failed: exec failed: unable to start container process: "

Answer = Callable[[str, int], None]


class AddedProcess(ABC):
    """Starts, is connected with a client, ends. `on_exit` gets its id and exit code."""

    def __init__(self, reactor: Reactor, system: LiveSystem, on_exit: Callable[[str, int], None]) -> None:
        self.pid = 0
        self.settled = False
        """Whether `answer` has been called, or is about to be."""
        self.ended = False
        self.streams = Streams(reactor)
        self._reactor = reactor
        self._system = system
        self._on_exit = on_exit
        self._stdin = False
        self._pidfd: int | None = None
        self._exec_id = ""

    def attach(self, spec: AttachSpec, fd: int) -> None:
        """Connect the client; before `start`, so that no output is missed."""
        self._stdin = spec.stdin
        self.streams.attach(spec, fd)

    @abstractmethod
    def start(self, exec_id: str, answer: Answer) -> None:
        """Make the process. `answer` is called once with an error text (empty if it runs) and Docker's exit code."""

    def _refuse(self, failed: stage.Failure, answer: Answer) -> None:
        """It could not be started."""
        if failed.text != SYSTEM_ENDED:  # of that knarrd tells
            self.streams.say(f"{_PREFIX}{failed.text}\r\n")
        self.streams.drain()
        answer(failed.text, failed.code)  # first: whoever is hung up asks knarrd for the exit code
        self.streams.hang_up()

    def _begin(self, pidfd: int, answer: Answer) -> None:
        """It runs."""
        self._pidfd = pidfd
        answer("", 0)
        self._reactor.register(pidfd, READ, lambda _events: self._ended())

    def _ended(self) -> None:
        assert self._pidfd is not None
        self._reactor.forget(self._pidfd)
        code = launch.reap(self._pidfd)
        os.close(self._pidfd)
        self.streams.drain()
        self.ended = True
        self._on_exit(self._exec_id, code)


class ExecProcess(AddedProcess):
    """One that is made by way of a forked intermediate process."""

    def __init__(
        self, reactor: Reactor, system: LiveSystem, process: ProcessPlan, on_exit: Callable[[str, int], None]
    ) -> None:
        super().__init__(reactor, system, on_exit)
        self._process = process
        self._failed: stage.Failure | None = None

    def start(self, exec_id: str, answer: Answer) -> None:
        """See `AddedProcess.start`."""
        self._exec_id = exec_id
        sync, child_sync = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        with ExitStack() as stack:
            stack.callback(child_sync.close)
            streams, ours = None, None
            if not self._process.terminal:
                streams, ours = launch.make_pipes(stack, self._stdin, self._system.defaults.stream_owner)
            system = self._system
            place = Place(system.pid, system.pidfd, system.cgroup, system.has_user_namespace)
            intermediate = fork_into(place, self._process, child_sync, streams)
        if ours is not None:
            self.streams.use_pipes(*ours)
        self._reactor.register(sync.fileno(), READ, lambda _events: self._on_message(sync, intermediate, answer))

    def _on_message(self, sync: socket.socket, intermediate: int, answer: Answer) -> None:
        message = launch.receive(sync)
        if message.kind == PROCESS:
            os.waitpid(intermediate, 0)
            self.pid = int(message.body)
            (self._pidfd,) = message.fds
        elif message.kind == stage.TERMINAL:
            self.streams.use_terminal(message.fds[0])
        elif message.kind == stage.FAILED:
            self._failed = message.failure()
        else:
            self._reactor.forget(sync.fileno())
            sync.close()
            self._settle(intermediate, answer)

    def _settle(self, intermediate: int, answer: Answer) -> None:
        """The socket's end: all copies are closed, by execve or by death."""
        self.settled = True
        if self._pidfd is None:
            os.waitpid(intermediate, 0)
            self._failed = self._failed or stage.Failure("the process ended before it was set up", 128)
        if self._failed is not None:
            if self._pidfd is not None:
                launch.reap(self._pidfd)
                os.close(self._pidfd)
            self._refuse(self._failed, answer)
            return
        assert self._pidfd is not None
        self._begin(self._pidfd, answer)
