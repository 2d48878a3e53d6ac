"""Additional processes in running containers: made by one call, started by another, remembered for a while after."""

from __future__ import annotations

import asyncio
import base64
import os
import signal
import socket
from contextlib import suppress
from typing import Any

import msgspec

from knarr.compute.interface import Attachment, Exec, ExecRequest, ExitStatus, StartFailed, System
from knarr.compute.spec import Process
from knarr.engine import apparmor_profile, detach_keys, names, runtime_spec, user_namespaces
from knarr.engine.config import ExecConfig
from knarr.engine.container import Container, not_running
from knarr.engine.launcher import Launcher
from knarr.engine.parts import Parts
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound

_CANNOT_RUN = 126
_KEPT_OUTPUT = 4096
_REMEMBERED = 300.0
"""Seconds for which an exec that is over can still be inspected."""


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(ExecConfig).decode


class ExecRecord:
    """One exec."""

    def __init__(self, container: Container, config: ExecConfig, id: str = "") -> None:
        self.id = id or names.new_id()
        self.container = container
        self.config = config
        self.keys = detach_keys.parse(config.detach_keys)
        self.started = False
        self.process: Exec | None = None
        self.failure_code: int | None = None
        self.terminal_size = config.console_size

    @property
    def words(self) -> str:
        """The command as events show it, after dockerd's fashion with a blank even where there are no arguments."""
        command = self.config.cmd or []
        return f"{command[0]} {' '.join(command[1:])}"

    @property
    def exit_code(self) -> int | None:
        """None as long as it has not ended."""
        if self.process is None or not self.process.exited.done():
            return self.failure_code
        return self.process.exited.result().code

    @property
    def running(self) -> bool:
        return self.process is not None and not self.process.exited.done()


class Execs:
    """All execs of one engine."""

    def __init__(self, parts: Parts, launcher: Launcher) -> None:
        self._parts = parts
        self._launcher = launcher
        self._records: dict[str, ExecRecord] = {}
        self._watching: set[asyncio.Task[None]] = set()

    async def create(self, reference: str, config: ExecConfig) -> str:
        """The id of a new exec. Raises NotFound, Conflict unless the container runs, InvalidParameter."""
        container = self._parts.registry.find(reference)
        _check_running(container)
        if not config.cmd:
            raise InvalidParameter("no exec command specified")
        record = ExecRecord(container, config)
        self._records[record.id] = record
        container.exec_ids[record.id] = None
        self._publish(record, f"exec_create: {record.words}")
        return record.id

    def startable(self, id: str) -> None:
        """Raises NotFound, Conflict: whatever keeps an exec from being started that can be known before."""
        record = self._find(id)
        if record.running:
            raise Conflict(f"Error: Exec command {id} is already running")
        if record.started:
            raise Conflict(f"Error: Exec command {id} has already run")
        _check_running(record.container)

    async def start(self, id: str, *, detach: bool, tty: bool, fd: int | None) -> None:
        """Start it, with a client's connected socket `fd` on its streams, which is taken.

        Raises what `startable` does and, if detached, InvalidParameter and StartFailed; a client that is attached is
        told through its socket, as dockerd does it.
        """
        try:
            self.startable(id)
            record = self._find(id)
            record.started = True
            await self._start(record, None if detach else fd, tty, note=_encode(record.config))
        except (KnarrError, OSError) as error:
            self._note_failure(id, error)
            if detach or fd is None:
                raise _refusal(error) from error
            if not isinstance(error, StartFailed):  # of that the client has heard from the system
                _tell(fd, str(error), framed=not tty)
        finally:
            if fd is not None:
                os.close(fd)

    async def run(self, container: Container, config: ExecConfig, timeout: float) -> tuple[int, str]:
        """Run a command for the engine itself: its exit code, and the beginning of its output.

        Raises TimeoutError after `timeout` seconds, when it has been killed; StartFailed, Conflict.
        """
        record = ExecRecord(container, msgspec.structs.replace(config, attach_stdout=True, attach_stderr=True))
        ours, theirs = socket.socketpair()
        with ours:
            self._publish(record, f"exec_create: {record.words}")
            try:
                await self._start(record, theirs.fileno(), tty=True)
            finally:
                theirs.close()
            process = record.process
            assert process is not None
            try:
                return await asyncio.wait_for(_outcome(process, ours), timeout)
            except BaseException:
                if not process.exited.done():
                    os.kill(process.pid, signal.SIGKILL)
                raise

    async def _start(self, record: ExecRecord, fd: int | None, tty: bool, note: bytes = b"") -> None:
        system = record.container.live_system()
        size = record.terminal_size
        linked = self._launcher.linked(record.container)
        process = await asyncio.to_thread(self._process, record, system, linked)
        request = ExecRequest(record.id, process, note=note)
        if fd is not None:
            request.attachment = _attachment(record, os.dup(fd), tty)
        self._publish(record, f"exec_start: {record.words}")
        try:
            record.process = await system.exec(request)
        except NotFound:
            raise not_running(record.container) from None
        self._begin_watch(record, record.process)
        if record.terminal_size is not None and record.terminal_size != size:  # it has changed meanwhile
            with suppress(NotFound):  # ended, or it has none
                await record.process.resize(*record.terminal_size)

    def _note_failure(self, id: str, error: KnarrError | OSError) -> None:
        record = self._records.get(id)
        if record is not None and record.started and record.process is None:
            record.failure_code = error.exit_code if isinstance(error, StartFailed) else _CANNOT_RUN
            self._over(record)

    def _process(self, record: ExecRecord, system: System, linked: dict[str, str]) -> Process:
        """In a thread: the container's passwd may be slow to read."""
        container = record.container
        try:
            root_fd = os.open(f"/proc/{system.pid}/root", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            raise not_running(container) from None
        try:
            main = container.process or self._launcher.main_process(container, root_fd)
            config = msgspec.structs.replace(record.config, console_size=record.terminal_size)
            process = runtime_spec.exec_process(
                main, container.config, config, root_fd, container.host_config.group_add, linked
            )
            user_namespaces.check_user(process, container.record.ids)
            apparmor_profile.ensure(process.apparmor_profile)
            return process
        finally:
            os.close(root_fd)

    def adopt(self, container: Container, system: System) -> None:
        """Take over the execs that an earlier engine has started in a container."""
        for found in system.recovered:
            record = self._records[found.id] = ExecRecord(container, _decode(found.note), found.id)
            record.started, record.process = True, found.exec
            if record.running:
                container.exec_ids[record.id] = None
                self._begin_watch(record, found.exec)
                continue
            if not found.told:
                self._publish(record, "exec_die", exitCode=str(record.exit_code))
            self._over(record)

    def detached(self, id: str) -> None:
        """A client of an exec has gone by its detach keys."""
        if record := self._records.get(id):
            self._publish(record, "exec_detach")

    def _begin_watch(self, record: ExecRecord, process: Exec) -> None:
        watch = asyncio.create_task(self._watch(record, process))
        self._watching.add(watch)
        watch.add_done_callback(self._watching.discard)

    async def _watch(self, record: ExecRecord, process: Exec) -> None:
        exit: ExitStatus = await asyncio.shield(process.exited)
        self._publish(record, "exec_die", exitCode=str(exit.code))
        self._over(record)

    def _over(self, record: ExecRecord) -> None:
        record.container.exec_ids.pop(record.id, None)
        asyncio.get_running_loop().call_later(_REMEMBERED, self._records.pop, record.id, None)

    def forget(self, container: Container) -> None:
        """A container has ended: its execs that were never started can be no more."""
        for id in list(container.exec_ids):
            if not self._records[id].running:
                self._over(self._records[id])

    def inspect(self, id: str) -> dict[str, Any]:
        """The API's ExecInspectResponse. Raises NotFound."""
        record = self._find(id)
        config, command = record.config, record.config.cmd or []
        process: dict[str, Any] = {
            "tty": config.tty,
            "entrypoint": command[0],
            "arguments": command[1:],
            "privileged": config.privileged,
        }
        if config.user:
            process["user"] = config.user
        return {
            "ID": record.id,
            "Running": record.running,
            "ExitCode": record.exit_code,
            "ProcessConfig": process,
            "OpenStdin": config.attach_stdin,
            "OpenStderr": config.attach_stderr,
            "OpenStdout": config.attach_stdout,
            "CanRemove": False,
            "ContainerID": record.container.id,
            "DetachKeys": base64.b64encode(record.keys).decode() if config.detach_keys else "",
            "Pid": record.process.pid if record.process is not None else 0,
        }

    async def resize(self, id: str, height: int, width: int) -> None:
        """Set the size of its terminal, now or as soon as it is started. Raises NotFound."""
        record = self._find(id)
        record.terminal_size = (height, width)
        if record.process is not None:
            await record.process.resize(height, width)

    def _find(self, id: str) -> ExecRecord:
        try:
            return self._records[id]
        except KeyError:
            raise NotFound(f"No such exec instance: {id}") from None

    def _publish(self, record: ExecRecord, action: str, **attributes: str) -> None:
        self._parts.publish(record.container, action, execID=record.id, **attributes)


def _check_running(container: Container) -> None:
    if container.state.status == "paused":
        raise Conflict(f"container {container.name} is paused, unpause the container before exec")
    if container.state.status == "restarting":
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")
    container.live_system()


def _attachment(record: ExecRecord, fd: int, tty: bool) -> Attachment:
    config = record.config
    return Attachment(
        fd,
        stdin=config.attach_stdin,
        stdout=config.attach_stdout,
        stderr=config.attach_stderr,
        framed=not tty,
        stdin_once=True,
        detach_keys=record.keys if config.tty else b"",
    )


def _refusal(error: KnarrError | OSError) -> KnarrError | OSError:
    """What a detached client is told: a program that is not there, or no program, is its mistake."""
    wrong = isinstance(error, StartFailed) and error.exit_code in (126, 127)
    return InvalidParameter(str(error)) if wrong else error


async def _outcome(process: Exec, output: socket.socket) -> tuple[int, str]:
    """Its exit code, and what it has written, up to a limit, when it has ended."""
    output.setblocking(False)
    loop = asyncio.get_running_loop()
    kept = b""
    while data := await loop.sock_recv(output, 65536):
        kept = (kept + data)[:_KEPT_OUTPUT]
    exit = await asyncio.shield(process.exited)
    return exit.code, kept.decode(errors="replace")


def _tell(fd: int, text: str, *, framed: bool) -> None:
    """Send a client an error on its stdout stream."""
    data = f"{text}\r\n".encode()
    header = b"\1\0\0\0" + len(data).to_bytes(4) if framed else b""
    with socket.socket(fileno=os.dup(fd)) as client:
        try:
            client.send(header + data, socket.MSG_DONTWAIT | socket.MSG_NOSIGNAL)
        except OSError:  # it has gone
            pass
