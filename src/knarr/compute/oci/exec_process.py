"""One more process in a system of another OCI runtime, made by `RUNTIME exec --detach`."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable
from contextlib import ExitStack, suppress

from knarr.compute.native import launch, run_directory, stage
from knarr.compute.native.entering import SYSTEM_ENDED
from knarr.compute.native.exec_process import AddedProcess, Answer
from knarr.compute.native.launch import LaunchError
from knarr.compute.native.messages import BundleExec
from knarr.compute.native.reactor import READ, Reactor
from knarr.compute.oci import command
from knarr.compute.oci.system import BundleSystem
from knarr.kernel import processes, terminals

Pipes = tuple[int | None, int, int]


class BundleProcess(AddedProcess):
    """Its files in the run directory (process, pid, log, terminal's socket) go as soon as it runs."""

    def __init__(
        self, reactor: Reactor, system: BundleSystem, request: BundleExec, on_exit: Callable[[str, int], None]
    ) -> None:
        super().__init__(reactor, system, on_exit)
        self._bundle = system
        self._request = request
        self._name = f"exec-{os.urandom(4).hex()}"  # short: its socket's path may have at most 107 bytes

    def start(self, exec_id: str, answer: Answer) -> None:
        """See `AddedProcess.start`."""
        self._exec_id = exec_id
        bundle, name = self._bundle, self._name
        words = ["exec", "--detach", "--process", f"{name}.json", "--pid-file", f"{name}.pid"]
        run_directory.write_file(bundle.run_dir, f"{name}.json", self._request.process)
        with ExitStack() as stack:
            streams, pipes, listener = None, None, None
            if self._request.terminal:
                listener = command.listen_for_terminal(bundle.run_dir, f"{name}.sock")
                words += ["--console-socket", f"{name}.sock"]
            else:
                streams, pipes = launch.make_pipes(stack, self._stdin, bundle.defaults.stream_owner)
            line = command.arguments(bundle.command, bundle.run_dir, f"{name}.log", *words, bundle.id)
            runtime = processes.pidfd_open(command.spawn(line, bundle.run_dir, streams))
        self._reactor.register(runtime, READ, lambda _events: self._on_runtime_end(runtime, pipes, listener, answer))

    def _on_runtime_end(
        self, runtime: int, pipes: Pipes | None, listener: socket.socket | None, answer: Answer
    ) -> None:
        self._reactor.forget(runtime)
        status = launch.reap(runtime)
        os.close(runtime)
        self.settled = True
        try:
            pidfd = self._connect(status, listener)
        except LaunchError as error:
            for fd in pipes or ():
                if fd is not None:
                    os.close(fd)
            self._refuse(stage.Failure(error.text, error.code), answer)
            return
        finally:
            self._clear(listener)
        if pipes is not None:
            self.streams.use_pipes(*pipes)
        self._begin(pidfd, answer)

    def _connect(self, status: int, listener: socket.socket | None) -> int:
        """Get hold of the process and its terminal; its pidfd. Raises LaunchError."""
        bundle = self._bundle
        if status:
            failed = command.failure(bundle.run_dir, f"{self._name}.log", bundle.command[0])
            raise LaunchError(SYSTEM_ENDED) if _tells_of_the_end(failed.text) else failed
        if listener is not None:
            master = command.receive_terminal(listener)
            self.streams.use_terminal(master)
            self._set_size(master)
        self.pid = command.read_pid(bundle.run_dir, f"{self._name}.pid")
        return processes.pidfd_open(self.pid)

    def _set_size(self, master: int) -> None:
        if self._request.rows or self._request.columns:
            terminals.set_size(master, self._request.rows, self._request.columns)

    def _clear(self, listener: socket.socket | None) -> None:
        if listener is not None:
            listener.close()
        for suffix in ("json", "pid", "log", "sock"):
            with suppress(FileNotFoundError):
                os.unlink(f"{self._bundle.run_dir}/{self._name}.{suffix}")


def _tells_of_the_end(text: str) -> bool:
    return "cannot exec in a stopped container" in text or "is not running" in text
