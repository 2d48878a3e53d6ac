"""The process that owns one running system: its main process, streams, log, exit status and control socket.

Forked from the zygote for each system and independent of knarrd from then on: knarrd may go away and come back by the
socket in the run directory. The shim ends when the main process has ended, its status is recorded, and nobody is left
to be told or to be sent output.
"""

from __future__ import annotations

import os
import signal
import socket
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import NoReturn

import msgspec

from knarr.compute.interface import LogSettings
from knarr.compute.native import frames, launch, messages, stage
from knarr.compute.native.collector import Collector
from knarr.compute.native.entering import SYSTEM_ENDED
from knarr.compute.native.exec_notes import ExecNotes
from knarr.compute.native.exec_process import AddedProcess, ExecProcess
from knarr.compute.native.json_log import JsonLog
from knarr.compute.native.launcher import MAX_REPORT, Report, decode_report
from knarr.compute.native.launcher import main as run_launcher
from knarr.compute.native.messages import AttachSpec, Done, Exited
from knarr.compute.native.reactor import READ, Reactor
from knarr.compute.native.run_directory import EXIT_NAME, Exit, write_file
from knarr.compute.native.streams import Log, Streams
from knarr.compute.native.system import LiveSystem
from knarr.kernel import processes, terminals

_UNKNOWN_FAILURE = 128


def main(control: socket.socket, make: Callable[[], Shim]) -> NoReturn:
    """Be a shim, with `control` as the first connection to knarrd. Never returns."""
    shim = make()
    try:
        os.setsid()
        processes.default_signal(signal.SIGCHLD)
        shim.await_launch(control)
        shim.reactor.run()
        shim.close_logs()
    except BaseException:  # noqa: BLE001 - the edge of a process
        shim.crashed()
    os._exit(0)


class Shim:
    """One system. Until its launcher has reported there is nothing that outlives the connection."""

    _run_launcher: Callable[[socket.socket, socket.socket], NoReturn] = staticmethod(run_launcher)
    _make_system: Callable[[Report, int, int | None], LiveSystem] = staticmethod(LiveSystem)

    def __init__(self) -> None:
        self.reactor = Reactor()
        self._connections: list[socket.socket] = []
        self._listener: socket.socket | None = None
        self._run_dir = ""
        self._system: LiveSystem | None = None
        self._sync: socket.socket | None = None
        self._streams: Streams | None = None
        self._collector: Collector | None = None
        self._started = False
        self._start_request: tuple[socket.socket, int] | None = None
        self._exit: Exit | None = None
        self._released = False
        self._execs: dict[str, AddedProcess] = {}
        self._exec_notes = ExecNotes()
        self._missing_children = False
        self._strays: set[int] = set()
        self._parting: list[Streams] = []  # of execs that have ended, whose clients still get output

    # -- the launch ---------------------------------------------------------------------------------------------------

    def await_launch(self, control: socket.socket) -> None:
        """Fork the launcher, which reads the first request; go on when it reports."""
        handover, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        launcher = os.fork()
        if launcher == 0:
            handover.close()
            self._run_launcher(control, theirs)
        theirs.close()
        self.reactor.register(handover.fileno(), READ, lambda _events: self._on_launched(control, handover, launcher))

    def _on_launched(self, control: socket.socket, handover: socket.socket, launcher: int) -> None:
        data, fds, _, _ = socket.recv_fds(handover, MAX_REPORT, frames.MAX_FDS, socket.MSG_CMSG_CLOEXEC)
        self.reactor.forget(handover.fileno())
        handover.close()
        os.waitpid(launcher, 0)
        if not data:
            self.reactor.running = False
            return
        report = decode_report(data)
        if report.error:
            self._reap_all()
            done = Done(number=report.number, error=report.error, code=report.code, invalid=report.invalid)
            self._send(control, done)
            self.reactor.running = False
            return
        self.take_over(report, fds)
        self.add_connection(control)
        if report.started:
            self._await_program(control, report.number)
        else:
            self._send(control, Done(number=report.number, pid=report.pid))

    def _reap_all(self) -> None:
        """A main process that was given up by the launcher is our child all the same."""
        with suppress(ChildProcessError):
            while True:
                os.waitpid(-1, 0)

    def take_over(self, report: Report, fds: list[int]) -> None:
        """Become the owner of a launched system; `fds` are in the order that `Report` names."""
        processes.set_name("knarr-shim")
        processes.set_title(f"knarr-shim {report.id}")
        self._run_dir = report.run_dir
        taken = iter(fds)
        pidfd = next(taken)
        if report.helper:
            os.waitpid(report.helper, 0)
        self._listener = socket.socket(fileno=next(taken))
        self._sync = socket.socket(fileno=next(taken)) if report.has_sync else None
        system = self._system = self._make_system(report, pidfd, next(taken) if report.has_oom else None)
        streams = self._streams = Streams(self.reactor, self._open_logs(report.log))
        streams.on_idle = self._finish_if_done
        streams.on_detached = lambda: self._tell(messages.Detached())
        if report.has_terminal:
            streams.use_terminal(next(taken))
        else:
            stdout, stderr = next(taken), next(taken)
            streams.use_pipes(next(taken) if report.has_stdin else None, stdout, stderr)
        for spec in report.attachments:
            streams.attach(spec, next(taken))
        self.reactor.register(self._listener.fileno(), READ, lambda _events: self._accept())
        self.reactor.register(pidfd, READ, lambda _events: self._on_main_exit())
        if system.oom_fd is not None:
            self.reactor.register(system.oom_fd, READ, lambda _events: self._on_oom())

    def _open_logs(self, settings: LogSettings) -> list[Log]:
        logs: list[Log] = []
        if settings.driver != "none":
            logs.append(JsonLog(settings))
        if settings.sink is not None:
            self._collector = Collector(settings)
            logs.append(self._collector)
        return logs

    # -- connections ----------------------------------------------------------------------------------------------

    def add_connection(self, connection: socket.socket) -> None:
        """Serve requests of one more peer."""
        self._connections.append(connection)
        self.reactor.register(connection.fileno(), READ, lambda _events: self._on_request(connection))

    def _accept(self) -> None:
        assert self._listener is not None and self._system is not None
        connection, _ = self._listener.accept()
        self.add_connection(connection)
        execs = self._exec_notes.all()
        self._send(connection, messages.Hello(pid=self._system.pid, started=self._started, execs=execs))
        self._exec_notes.all_told()
        if self._exit is not None:
            self._send(connection, self._exited())

    def _send(self, connection: socket.socket, message: messages.AnyReply) -> None:
        try:
            connection.sendmsg([frames.pack(messages.encode(message))], [], socket.MSG_DONTWAIT)
        except OSError:  # gone, or not reading: it will come back and ask
            self._drop(connection)

    def _tell(self, message: messages.AnyReply) -> None:
        for connection in list(self._connections):
            self._send(connection, message)

    def _drop(self, connection: socket.socket) -> None:
        if connection not in self._connections:
            return
        self._connections.remove(connection)
        self.reactor.forget(connection.fileno())
        connection.close()
        if not self._started and not self._connections and self._exit is None:
            self._abandon()
        if not self._connections:
            for exec_id in [id for id, process in self._execs.items() if process.ended]:
                self._release_exec(exec_id)
        self._finish_if_done()

    def _abandon(self) -> None:
        """knarrd went away before the start: nobody knows of this system, so it must not stay."""
        if self._system is not None:
            self._system.destroy()
        self.reactor.running = False

    def _on_request(self, connection: socket.socket) -> None:
        try:
            body, fds = frames.receive(connection)
        except (EOFError, OSError, ValueError):
            self._drop(connection)
            return
        request = messages.decode_request(body)
        try:
            self._handle(connection, request, fds)
        except OSError as error:
            self._send(connection, Done(number=request.number, error=str(error), code=128))

    def _handle(self, connection: socket.socket, request: messages.AnyRequest, fds: list[int]) -> None:
        done = Done(number=request.number)
        match request:
            case messages.Start():
                self._start(connection, request.number)
                return
            case messages.Exec() | messages.BundleExec():
                self._exec(connection, request, fds)
                return
            case messages.Signal():
                done.missing = not self._signal(request.signal)
            case messages.Attach():
                assert self._streams is not None
                self._streams.attach(request.spec, fds.pop())
            case messages.Resize():
                done.missing = not self._resize(request)
            case messages.Release(exec_id=exec_id) if exec_id:
                self._release_exec(exec_id)
            case messages.Release():
                self._released = True
        self._send(connection, done)
        self._finish_if_done()

    # -- the main process -------------------------------------------------------------------------------------------

    def _start(self, connection: socket.socket, number: int) -> None:
        if self._sync is None:
            self._send(connection, Done(number=number, missing=True))
            return
        self._await_program(connection, number)
        self._sync.send(stage.START)

    def _await_program(self, connection: socket.socket, number: int) -> None:
        """Answer a request when the main process has become its program, or could not."""
        assert self._sync is not None
        self._start_request = connection, number
        self.reactor.register(self._sync.fileno(), READ, lambda _events: self._on_started())

    def _on_started(self) -> None:
        """The stage's last word: a failure, or the silence of a socket that execve has closed."""
        assert self._system is not None and self._sync is not None and self._start_request is not None
        sync, self._sync = self._sync, None
        message = launch.receive(sync)
        self.reactor.forget(sync.fileno())
        sync.close()
        connection, number = self._start_request
        self._start_request = None
        done = Done(number=number, pid=self._system.pid)
        if message.kind == stage.FAILED:
            failure = message.failure()
            done.error, done.code = failure.text, failure.code
            self._fail_start()
        self._send(connection, done)  # without a receiver nobody knows of this system: see `_drop`
        self._started = not done.error
        self._finish_if_done()

    def _fail_start(self) -> None:
        assert self._system is not None and self._streams is not None
        self._forget_system_fds()
        self._system.destroy()
        self._streams.drain()
        self._exit = Exit(128, time.time_ns(), False)
        self._released = True

    def _forget_system_fds(self) -> None:
        assert self._system is not None
        self.reactor.forget(self._system.pidfd)
        if self._system.oom_fd is not None:
            self.reactor.forget(self._system.oom_fd)

    def _signal(self, number: int) -> bool:
        if self._system is None or self._exit is not None:
            return False
        try:
            processes.pidfd_send_signal(self._system.pidfd, number)
        except ProcessLookupError:
            return False
        return True

    def _resize(self, request: messages.Resize) -> bool:
        streams = self._streams
        if request.exec_id:
            process = self._execs.get(request.exec_id)
            streams = process.streams if process else None
        if streams is None or streams.terminal_fd is None:
            return False
        terminals.set_size(streams.terminal_fd, request.rows, request.columns)
        return True

    def _on_oom(self) -> None:
        assert self._system is not None and self._system.oom_fd is not None
        os.read(self._system.oom_fd, 4096)
        self._tell(messages.Oom())

    def _on_main_exit(self) -> None:
        if self._start_request is not None:
            self._on_started()  # what it had to say comes first
            if self._exit is not None:
                return
        assert self._system is not None and self._streams is not None
        self._forget_system_fds()
        code = launch.reap(self._system.pidfd)
        oom_killed = self._system.finish()
        self._streams.drain()
        self._exit = Exit(code, time.time_ns(), oom_killed)
        write_file(self._run_dir, EXIT_NAME, msgspec.json.encode(self._exit))
        self._tell(self._exited())
        self._finish_if_done()

    def _exited(self) -> Exited:
        assert self._exit is not None
        return Exited(code=self._exit.code, at=self._exit.at, oom_killed=self._exit.oom_killed)

    # -- additional processes ---------------------------------------------------------------------------------------

    def _exec(self, connection: socket.socket, request: messages.Exec | messages.BundleExec, fds: list[int]) -> None:
        if self._system is None or self._exit is not None:
            for fd in fds:
                os.close(fd)
            self._send(connection, Done(number=request.number, missing=True))
            return
        client = fds.pop() if request.attachment is not None else None
        process = self._make_exec(self._system, request)
        process.streams.on_idle = self._finish_if_done
        process.streams.on_detached = lambda: self._tell(messages.Detached(exec_id=request.exec_id))
        if client is not None:
            process.attach(request.attachment or AttachSpec(), client)

        def answer(error: str, code: int) -> None:
            if not error:
                self._exec_notes.begin(request.exec_id, process.pid, request.note)
            if error:
                self._execs.pop(request.exec_id, None)
                self._missing_children |= process.pid == 0
            if self._missing_children:
                self._end_strays()
            missing = error == SYSTEM_ENDED
            done = Done(number=request.number, pid=process.pid, error=error, code=code, missing=missing)
            self._send(connection, done)

        self._execs[request.exec_id] = process
        try:
            process.start(request.exec_id, answer)
        except OSError as error:
            process.streams.hang_up()
            answer(str(error), _UNKNOWN_FAILURE)

    def _make_exec(self, system: LiveSystem, request: messages.Exec | messages.BundleExec) -> AddedProcess:
        assert isinstance(request, messages.Exec)
        plan, defaults = request.process, system.defaults
        plan.seccomp, plan.seccomp_flags = defaults.seccomp, defaults.seccomp_flags
        plan.oom_score_adj = defaults.oom_score_adj
        plan.personality, plan.memory_policy = defaults.personality, defaults.memory_policy
        return ExecProcess(self.reactor, system, plan, self._on_exec_exit)

    def _end_strays(self) -> None:
        """End children of which the process that made them was killed before it could tell.

        Nobody would reap them, and a pid namespace, and with it the main process, ends after all that are in it.
        """
        if not all(process.settled for process in self._execs.values()):
            return  # one of the strays may be theirs yet; they come here in their turn
        self._missing_children = False
        assert self._system is not None
        known = {self._system.pid, *(process.pid for process in self._execs.values())}
        if self._collector is not None:
            known |= self._collector.helpers()
        for pid in set(processes.children()) - known - self._strays:
            pidfd = processes.pidfd_open(pid)
            processes.pidfd_send_signal(pidfd, signal.SIGKILL)
            self._strays.add(pid)
            self.reactor.register(pidfd, READ, partial(self._bury_stray, pid, pidfd))

    def _bury_stray(self, pid: int, pidfd: int, _events: int) -> None:
        self.reactor.forget(pidfd)
        launch.reap(pidfd)
        os.close(pidfd)
        self._strays.discard(pid)

    def _on_exec_exit(self, exec_id: str, code: int) -> None:
        exited = Exited(exec_id=exec_id, code=code, at=time.time_ns())
        self._tell(exited)
        self._exec_notes.end(exec_id, code, exited.at, told=bool(self._connections))
        if not self._connections:
            self._release_exec(exec_id)

    def _release_exec(self, exec_id: str) -> None:
        process = self._execs.pop(exec_id, None)
        if process is not None:
            self._parting.append(process.streams)
            process.streams.hang_up()
        self._finish_if_done()

    # -- the end ----------------------------------------------------------------------------------------------------

    def _finish_if_done(self) -> None:
        """End once the exit is known to knarrd, or can be read by it later, and nobody waits for output."""
        self._parting = [streams for streams in self._parting if streams.has_clients]
        if self._exit is None or self._execs or self._start_request is not None:
            return
        if self._connections and not self._released:
            return
        if self._streams is not None:
            self._streams.hang_up()
        if self._listener is not None:
            self.reactor.forget(self._listener.fileno())
            self._listener.close()
            self._listener = None
        for connection in list(self._connections):
            self._connections.remove(connection)
            self.reactor.forget(connection.fileno())
            connection.close()
        if self._streams is not None and self._streams.has_clients:
            return
        self.reactor.running = bool(self._parting)

    def close_logs(self) -> None:
        """The last thing that a shim does: nobody waits for it any more."""
        if self._streams is not None:
            self._streams.close_logs()

    def leave(self) -> None:
        """Close everything but the system's own descriptors: for a shim that only played one."""
        if self._streams is not None:
            self._streams.drain()
            self._streams.hang_up()
            self._streams.close_logs()
        for sock in (self._sync, self._listener, *self._connections):
            if sock is not None:
                sock.close()
        self.reactor.close()

    def crashed(self) -> None:
        """Leave the traceback where somebody can find it."""
        if self._run_dir:
            with open(f"{self._run_dir}/shim.log", "a") as file:
                traceback.print_exc(file=file)
