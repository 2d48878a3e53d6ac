"""The native backend as knarrd sees it: asks the zygote for shims, talks to shims, finds them again.

A system's decisions are made here (see `planner`); everything that happens to it happens in its shim.
"""

from __future__ import annotations

import asyncio
import errno
import os
import socket
from collections.abc import Callable, Iterable, Iterator
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from signal import SIGKILL

import msgspec

from knarr.compute.interface import (
    Attachment,
    CreateRequest,
    ExecRequest,
    ExitStatus,
    RecoveredExec,
    StartFailed,
)
from knarr.compute.native import host, limits, messages, planner, remains, run_directory, user_spaces
from knarr.compute.native.connection import Connection, ShimLost
from knarr.compute.native.launch import open_cgroup
from knarr.compute.native.messages import AttachSpec, Done
from knarr.compute.native.mount_options import id_map
from knarr.compute.native.plan import CgroupPlan, CgroupWrite, Plan
from knarr.compute.native.program import is_refused_value
from knarr.compute.native.run_directory import STATE_NAME, State
from knarr.compute.native.zygote_process import ZygoteProcess
from knarr.compute.spec import IdMapping, Resources
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound, Unsupported
from knarr.kernel import cgroup_usage, link_counters, process_trees
from knarr.kernel.cgroups import NO_CGROUPS, Cgroup

_CGROUP_LINK = "cgroup"
"""In the run directory, leads nowhere: the cgroup's path, for as long as there is no state yet that says more."""
_ATTEMPTS = 3
_GREETING = 1.0
"""Seconds for which a shim's first words are waited for."""
_PATIENCE = 10.0
"""Seconds after which a shim that does not answer is taken for stuck. It only ever needs some microseconds."""


class NativeBackend:
    """Runs systems with knarr's own runtime."""

    name = "knarr"
    path = "knarr"

    def __init__(self, zygote: ZygoteProcess | None = None) -> None:
        self.zygote = zygote or ZygoteProcess()
        self._host = host.look()

    async def start(self) -> None:
        """Start the zygote. Raises OSError."""
        self.zygote.start()
        self.zygote.prepare_shim()

    async def create(self, request: CreateRequest) -> NativeSystem:
        """Make a system up to the point where only the program is missing. Takes ownership of all descriptors."""
        fds = [request.root_fd]
        if request.network_fd is not None:
            fds.append(request.network_fd)
        if request.user_fd is not None:
            fds.append(request.user_fd)
        fds += [attachment.fd for attachment in request.attachments]
        try:
            return await self._create(request, fds)
        finally:
            for fd in fds:
                os.close(fd)

    async def _create(self, request: CreateRequest, fds: list[int]) -> NativeSystem:
        message, cgroup = self._prepare(request)
        for _ in range(_ATTEMPTS):
            try:
                connection, pid = await self._make(request.run_dir, message, cgroup, fds)
            except ShimLost:  # killed, or it never came to be as the zygote was
                continue
            asyncio.get_running_loop().call_soon(self.zygote.prepare_shim)
            system = self._system(request.id, pid, request.run_dir, cgroup, connection)
            system.begun = request.start
            return system
        raise KnarrError("the shim ended while it made the container")

    def _prepare(self, request: CreateRequest) -> tuple[messages.AnyRequest, CgroupPlan]:
        """What the shim is asked for, and where its system is accounted. Raises InvalidParameter, Unsupported."""
        hooks = request.spec.hooks
        if hooks is not None and any(getattr(hooks, name) for name in hooks.__struct_fields__):
            raise Unsupported("OCI hooks are the business of knarr-runtime: the engine has none")
        if request.spec.linux.net_devices or request.spec.linux.intel_rdt:
            raise Unsupported("linux.netDevices and linux.intelRdt are the business of knarr-runtime")
        plan = planner.plan_system(request, self._host)
        if plan.process.notifies:
            raise Unsupported("seccomp listeners are the business of knarr-runtime: the engine has none")
        return _create_message(request, plan), plan.cgroup

    def _take_shim(self) -> socket.socket:
        return self.zygote.take_shim()

    def _system(self, id: str, pid: int, run_dir: Path, cgroup: CgroupPlan, connection: Connection) -> NativeSystem:
        return NativeSystem(id, pid, run_dir, cgroup, connection, self._host)

    async def _make(
        self, run_dir: Path, message: messages.AnyRequest, cgroup: CgroupPlan, fds: list[int]
    ) -> tuple[Connection, int]:
        """Have a shim make the system. Raises StartFailed, ShimLost; then nothing is left of it."""
        run_dir.mkdir(mode=0o700)
        try:
            (run_dir / _CGROUP_LINK).symlink_to(cgroup.path)
            connection = Connection(self._take_shim())
            try:
                done = await connection.request(message, fds)
                _raise_failure(done)
            except BaseException:
                connection.close()
                raise
        except (ShimLost, asyncio.CancelledError) as error:  # no shim tells what became of it
            begun = await asyncio.to_thread(_undo, run_dir, cgroup)
            if begun and isinstance(error, ShimLost):  # once is enough
                raise StartFailed("the shim ended before the program was started") from None
            raise
        except BaseException:
            run_directory.remove(run_dir)
            raise
        return connection, done.pid

    async def make_user_namespace(self, mappings: list[IdMapping], *, network: bool = False) -> list[int]:
        """A user namespace and, with `network`, a network namespace in it. Raises KnarrError."""
        maker = self.zygote.take_namespace_maker()
        lines = id_map(mappings)
        return await asyncio.to_thread(user_spaces.ask, maker, user_spaces.Wanted(lines, lines, network))

    async def recover(self, id: str, run_dir: Path) -> NativeSystem | ExitStatus | None:
        """Find a system again by its run directory."""
        state = remains.read_state(run_dir)
        if state is None:
            await asyncio.to_thread(self._clear_unfinished, run_dir)
            return None
        connection = remains.connect(run_dir)
        if connection is not None:
            system = self._system(id, state.pid, run_dir, state.cgroup, connection)
            try:
                hello = await asyncio.wait_for(connection.hello(), _GREETING)
            except ShimLost:
                pass
            except TimeoutError:  # somebody has stopped it: it listens, so it is there
                return system
            else:
                system.recover_execs(hello.execs)
                return system
        status = await asyncio.to_thread(remains.bury, run_dir, state)
        run_directory.remove(run_dir)
        return status

    def _clear_unfinished(self, run_dir: Path) -> None:
        """Take away what there is of a system whose making was cut short.

        Its launcher may still be at it: without the directory it cannot finish, and undoes its work.
        """
        with suppress(FileNotFoundError):
            path = os.readlink(run_dir / _CGROUP_LINK)
            run_directory.remove(run_dir)
            remains.clear_cgroup(Cgroup(self._host.hierarchies, path))
        run_directory.remove(run_dir)

    async def close(self) -> None:
        """Let the zygote end; systems go on running."""
        self.zygote.close()


def _undo(run_dir: Path, cgroup: CgroupPlan) -> bool:
    """End what was made of a system; whether its program may have begun.

    A launcher may still be at it: without the directory it cannot finish, and undoes its work.
    """
    begun = remains.read_state(run_dir)
    run_directory.remove(run_dir)
    if begun is None:
        remains.clear_cgroup(open_cgroup(cgroup))
    else:
        remains.end(begun)
    return begun is not None


def _create_message(request: CreateRequest, plan: Plan) -> messages.Create:
    return messages.Create(
        plan=plan,
        log=request.log,
        stdin_open=request.stdin_open,
        has_network=request.network_fd is not None,
        has_users=request.user_fd is not None,
        start=request.start,
        attachments=[attach_spec(attachment) for attachment in request.attachments],
    )


def attach_spec(attachment: Attachment) -> AttachSpec:
    """An attachment as it is told to a shim."""
    return AttachSpec(
        stdin=attachment.stdin,
        stdout=attachment.stdout,
        stderr=attachment.stderr,
        framed=attachment.framed,
        stdin_once=attachment.stdin_once,
        detach_keys=attachment.detach_keys,
    )


def _raise_failure(done: Done) -> None:
    if done.invalid:
        raise InvalidParameter(done.error)
    if done.error:
        raise StartFailed(done.error, done.code)


class NativeExec:
    """An additional process; see `knarr.compute.interface.Exec`."""

    def __init__(self, connection: Connection, id: str) -> None:
        self.pid = 0
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self._connection = connection
        self._id = id

    async def resize(self, height: int, width: int) -> None:
        """Set the size of its terminal, in characters. Raises NotFound if it has none or has ended."""
        try:
            done = await self._connection.request(messages.Resize(exec_id=self._id, rows=height, columns=width))
        except ShimLost:
            done = Done(number=0, missing=True)
        if done.missing:
            raise NotFound(f"no terminal: {self._id}")


class NativeSystem:
    """A system and the connection to its shim; see `knarr.compute.interface.System`."""

    def __init__(
        self, id: str, pid: int, run_dir: Path, cgroup: CgroupPlan, connection: Connection, host: planner.Host
    ) -> None:
        self.id = id
        self.pid = pid
        self.exited: asyncio.Future[ExitStatus] = asyncio.get_running_loop().create_future()
        self.on_oom = asyncio.Event()
        self.on_detached: Callable[[str], None] = lambda _exec_id: None
        self.recovered: list[RecoveredExec] = []
        self._run_dir = run_dir
        self._cgroup_plan = cgroup
        self._cgroup = open_cgroup(cgroup)
        self._has_cgroup = cgroup.mode != "none"
        self._connection = connection
        self._host = host
        self._execs: dict[str, NativeExec] = {}
        self.begun = False
        connection.listen(self)

    # -- what the shim tells ------------------------------------------------------------------------------------------

    def told(self, message: messages.AnyReply) -> None:
        """The shim has said something by itself."""
        match message:
            case messages.Exited():
                self._on_exited(message)
            case messages.Detached():
                self.on_detached(message.exec_id)
            case messages.Oom():
                self.on_oom.set()

    def _on_exited(self, message: messages.Exited) -> None:
        status = ExitStatus(message.code, message.at, message.oom_killed)
        if not message.exec_id:
            _settle(self.exited, status)
            return
        execution = self._execs.pop(message.exec_id, None)
        if execution is not None:
            _settle(execution.exited, status)
        self._release = asyncio.ensure_future(self._release_exec(message.exec_id))

    def recover_execs(self, known: Iterable[messages.KnownExec]) -> None:
        """Take over those of an earlier knarrd."""
        for each in known:
            execution = NativeExec(self._connection, each.exec_id)
            execution.pid = each.pid
            if each.code is None:
                self._execs[each.exec_id] = execution
            else:
                _settle(execution.exited, ExitStatus(each.code, each.at))
            self.recovered.append(RecoveredExec(each.exec_id, each.note, execution, each.told))

    async def _release_exec(self, exec_id: str) -> None:
        with suppress(ShimLost):
            await self._connection.request(messages.Release(exec_id=exec_id))

    def on_lost(self) -> None:
        """The shim is gone. If it did not say how the system ended, it was killed: so is the system."""
        for execution in self._execs.values():
            _settle(execution.exited, remains.lost_status())
        self._execs.clear()
        if not self.exited.done():
            self._burial = asyncio.ensure_future(self._bury())

    async def _bury(self) -> None:
        state = State(self.pid, 0, 0, self._cgroup_plan)
        with suppress(OSError, msgspec.DecodeError):
            state = msgspec.json.decode((self._run_dir / STATE_NAME).read_bytes(), type=State)
        status = await asyncio.to_thread(remains.bury, self._run_dir, state)
        _settle(self.exited, status)

    async def _ask(self, message: messages.AnyRequest, fds: list[int] | None = None) -> Done:
        try:
            return await self._connection.request(message, fds or [])
        except ShimLost:
            raise NotFound(f"container {self.id} is not running") from None

    # -- what the engine asks -----------------------------------------------------------------------------------------

    async def start(self) -> None:
        """Let the main process run its program. Raises StartFailed; then the system is gone."""
        if self.begun:
            return
        try:
            done = await self._connection.request(messages.Start())
        except ShimLost:
            raise StartFailed("the shim ended before the program was started") from None
        if done.error:
            _settle(self.exited, ExitStatus(done.code, 0, error=done.error))
        _raise_failure(done)

    async def kill(self, signal: int, *, everyone: bool = False) -> None:
        """Signal the main process, or all. Raises NotFound once it has ended."""
        if everyone:
            for pid in self.pids():
                with suppress(ProcessLookupError):
                    os.kill(pid, signal)
            return
        if self.exited.done():
            raise NotFound(f"container {self.id} is not running")
        try:
            done = await asyncio.wait_for(self._ask(messages.Signal(signal=signal)), _PATIENCE)
        except TimeoutError:
            if signal != SIGKILL:
                raise KnarrError(f"container {self.id}: its shim does not answer") from None
            await asyncio.to_thread(remains.kill_shim, self.id, self._run_dir)  # at whose end the system is buried
            return
        if done.missing:
            raise NotFound(f"container {self.id} is not running")

    async def attach(self, attachment: Attachment) -> None:
        """Connect a client; its descriptor is taken."""
        try:
            await self._ask(messages.Attach(spec=attach_spec(attachment)), [attachment.fd])
        finally:
            os.close(attachment.fd)

    async def resize(self, height: int, width: int) -> None:
        """Set the size of the terminal, in characters. Raises Conflict if there is none."""
        if (await self._ask(messages.Resize(rows=height, columns=width))).missing:
            raise Conflict(f"container {self.id} has no terminal")

    async def exec(self, request: ExecRequest) -> NativeExec:
        """Start one more process. Takes the attachment. Raises StartFailed, NotFound if the system has ended."""
        attachment = request.attachment
        fds = [attachment.fd] if attachment is not None else []
        spec = attach_spec(attachment) if attachment is not None else None
        try:
            message = self._exec_message(request, spec)
            execution = self._execs[request.id] = NativeExec(self._connection, request.id)
            done = await self._ask(message, fds)
            if done.missing:
                raise NotFound(f"container {self.id} is not running")
            _raise_failure(done)
        except BaseException:
            self._execs.pop(request.id, None)
            raise
        finally:
            for fd in fds:
                os.close(fd)
        execution.pid = done.pid
        return execution

    def _exec_message(self, request: ExecRequest, attachment: AttachSpec | None) -> messages.AnyRequest:
        """What the shim is asked for. Raises InvalidParameter, Unsupported."""
        plan = planner.plan_process(request.process, self._host, seccomp=(b"", 0))
        return messages.Exec(exec_id=request.id, process=plan, attachment=attachment, note=request.note)

    async def pause(self) -> None:
        """Freeze all processes. Raises NotFound once the system has ended, Unsupported without a cgroup, OSError."""
        if not self._has_cgroup:
            raise Unsupported(f"containers cannot be paused: {NO_CGROUPS}")
        with self._living():
            await asyncio.to_thread(self._cgroup.freeze)

    async def resume(self) -> None:
        """Thaw them. Raises as `pause`."""
        with self._living():
            await asyncio.to_thread(self._cgroup.thaw)

    @contextmanager
    def _living(self) -> Iterator[None]:
        """A cgroup that has gone tells that the system has ended."""
        try:
            yield
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENODEV):
                raise NotFound(f"container {self.id} is not running") from None
            raise

    async def update(self, resources: Resources) -> None:
        """Change all limits or none. Raises NotFound once the system has ended, else KnarrError with the control file
        that did not take its value."""
        if not self._has_cgroup:
            raise Unsupported(f"limits cannot be changed: {NO_CGROUPS}")
        with self._living(), ExitStack() as undo:
            for write in limits.writes(resources, self._host.hierarchies, update=True):
                self._change_limit(write, undo)
            undo.pop_all()

    def _change_limit(self, write: CgroupWrite, undo: ExitStack) -> None:
        try:
            before = self._cgroup.read(write.controller, write.file)
            self._cgroup.write(write.controller, write.file, write.value)
        except OSError as error:
            if self._cgroup.leaves(write.controller):
                raise
            if not write.optional:
                kind = InvalidParameter if is_refused_value(error) else KnarrError
                raise kind(f'failed to write "{write.value}" to "{write.file}": {error.strerror}') from error
        else:
            undo.callback(self._restore_limit, write, before)

    def _restore_limit(self, write: CgroupWrite, before: str) -> None:
        with suppress(OSError):
            self._cgroup.write(write.controller, write.file, before)

    def pids(self) -> list[int]:
        """The host process ids of all processes in the system."""
        return self._cgroup.pids() if self._has_cgroup else process_trees.members(self.pid)

    def usage(self) -> cgroup_usage.Usage:
        """What the system has used of the host up to now."""
        usage = cgroup_usage.read(self._cgroup) if self._has_cgroup else None
        return usage if usage and usage.memory.current else process_trees.usage(self.pid)  # no controller of memory

    def network_counters(self) -> dict[str, link_counters.LinkCounters]:
        """What has gone through the interfaces that the system sees."""
        return link_counters.read(self.pid)

    async def delete(self) -> None:
        """Kill what is left and free everything."""
        with suppress(NotFound):
            await self.kill(9)
        await asyncio.shield(self.exited)
        with suppress(ShimLost, TimeoutError):
            await asyncio.wait_for(self._connection.request(messages.Release()), _PATIENCE)
        self._connection.close()
        run_directory.remove(self._run_dir)


def _settle(future: asyncio.Future[ExitStatus], status: ExitStatus) -> None:
    if not future.done():
        future.set_result(status)
