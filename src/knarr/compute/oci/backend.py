"""The backend of an OCI runtime other than ours: runc, crun, runsc and their kin, driven by their command line.

Streams, log, exit status and recovery are the shim's, as with our own runtime; the runtime makes the system, starts,
signals, pauses and updates it, adds processes to it, and takes it away. Figures come from the cgroup that it was told
to use.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import socket
from contextlib import suppress
from pathlib import Path
from signal import SIGKILL

import msgspec

from knarr.compute.interface import CreateRequest, ExecRequest, StartFailed
from knarr.compute.native import limits, messages, planner
from knarr.compute.native.backend import NativeBackend, NativeSystem, attach_spec
from knarr.compute.native.connection import Connection, ShimLost
from knarr.compute.native.launch import LaunchError
from knarr.compute.native.messages import AttachSpec
from knarr.compute.native.plan import CgroupPlan
from knarr.compute.native.zygote_process import ZygoteProcess
from knarr.compute.oci import command as commands
from knarr.compute.spec import Mount, Process, Resources, RuntimeSpec
from knarr.errors import InvalidParameter, KnarrError, NotFound, Unsupported

_INIT_PROGRAMS = ("docker-init", "tini-static", "tini")
_INIT_PATH = "/sbin/docker-init"
_VERSION = "1.0.2"
"""What even older runtimes know; what came later they ignore."""
_SHARED = {"shared", "rshared"}


class OciBackend(NativeBackend):
    """Runs systems with `command`, a runtime's absolute path and its own options."""

    def __init__(self, name: str, command: list[str], zygote: ZygoteProcess) -> None:
        """`zygote` belongs to the native backend, which starts and ends it."""
        super().__init__(zygote)
        self.name = name
        self.path = command[0]
        self._command = command

    async def start(self) -> None:
        """Nothing to do: the runtime is started for each of its commands."""

    async def close(self) -> None:
        """Nothing to do; systems go on running."""

    def _prepare(self, request: CreateRequest) -> tuple[messages.AnyRequest, CgroupPlan]:
        spec = request.spec
        if spec.process is None:
            raise InvalidParameter("process is not set in the runtime spec")
        _refuse_unsupported(request)
        if request.init:
            _add_init(spec, spec.process)
        cgroup = planner.plan_cgroup(spec, request.id, self._host)
        cgroup.writes, cgroup.device_program = [], b""  # the runtime's to do
        spec.linux.cgroups_path = None if cgroup.mode == "none" else cgroup.path
        spec.oci_version = _VERSION
        message = messages.BundleCreate(
            id=request.id,
            run_dir=str(request.run_dir),
            command=self._command,
            config=msgspec.json.encode(spec),
            cgroup=cgroup,
            owns_pids=any(namespace.type == "pid" and not namespace.path for namespace in spec.linux.namespaces),
            log=request.log,
            terminal=spec.process.terminal,
            stdin_open=request.stdin_open,
            has_network=request.network_fd is not None,
            attachments=[attach_spec(attachment) for attachment in request.attachments],
        )
        return message, cgroup

    def _take_shim(self) -> socket.socket:
        return self.zygote.take_bundle_shim()

    def _system(self, id: str, pid: int, run_dir: Path, cgroup: CgroupPlan, connection: Connection) -> NativeSystem:
        return OciSystem(id, pid, run_dir, cgroup, connection, self._host, self._command)


def _refuse_unsupported(request: CreateRequest) -> None:
    if request.user_fd is not None:
        raise Unsupported("user namespaces by container need knarr's own runtime")
    for mount in request.spec.mounts:
        if _SHARED.intersection(mount.options):
            raise Unsupported(f"{mount.destination}: shared bind propagation needs knarr's own runtime")


def _add_init(spec: RuntimeSpec, process: Process) -> None:
    """Put an init process in front of the program, as Docker does. Raises Unsupported where the host has none."""
    program = next(filter(None, map(shutil.which, _INIT_PROGRAMS)), None)
    if program is None:
        raise Unsupported(f"an init process for this runtime needs one of {', '.join(_INIT_PROGRAMS)} on this host")
    spec.mounts.append(Mount(_INIT_PATH, "bind", os.path.realpath(program), ["bind", "ro"]))
    process.args = [_INIT_PATH, "--", *process.args]


class OciSystem(NativeSystem):
    """A system that a runtime has made."""

    def __init__(
        self,
        id: str,
        pid: int,
        run_dir: Path,
        cgroup: CgroupPlan,
        connection: Connection,
        host: planner.Host,
        command: list[str],
    ) -> None:
        super().__init__(id, pid, run_dir, cgroup, connection, host)
        self._command = command

    async def start(self) -> None:
        """Let the main process run its program. Raises StartFailed."""
        try:
            await self._connection.request(messages.Start())
            try:
                await self._run("start", self.id)
            finally:
                await self._connection.request(messages.Start())
        except LaunchError as error:
            raise StartFailed(error.text, error.code) from error
        except ShimLost:
            raise StartFailed("the shim ended before the program was started") from None

    async def kill(self, signal: int, *, everyone: bool = False) -> None:
        """Signal the main process, or all. Raises NotFound once it has ended."""
        if self.exited.done():
            raise NotFound(f"container {self.id} is not running")
        words = ["kill", "--all"] if everyone else ["kill"]
        try:
            await self._run(*words, self.id, str(int(signal)))
        except LaunchError:  # it has ended or, for SIGKILL, the runtime has lost it
            if signal != SIGKILL:
                raise NotFound(f"container {self.id} is not running") from None
            await super().kill(signal)

    def _exec_message(self, request: ExecRequest, attachment: AttachSpec | None) -> messages.AnyRequest:
        process = request.process
        planner.plan_process(process, self._host, seccomp=(b"", 0))  # what makes no sense is refused in one voice
        size = process.console_size
        return messages.BundleExec(
            exec_id=request.id,
            process=msgspec.json.encode(process),
            terminal=process.terminal,
            rows=size.height if size else 0,
            columns=size.width if size else 0,
            attachment=attachment,
            note=request.note,
        )

    async def pause(self) -> None:
        """Freeze all processes. Raises NotFound once the system has ended, KnarrError."""
        await self._change("pause", self.id)

    async def resume(self) -> None:
        """Thaw them. Raises as `pause`."""
        await self._change("resume", self.id)

    async def update(self, resources: Resources) -> None:
        """Change all limits or none. Raises as `pause`, InvalidParameter."""
        before = [
            (write, self._cgroup.read(write.controller, write.file))
            for write in limits.writes(resources, self._host.hierarchies, update=True)
            if not write.optional
        ]
        try:
            await self._change("update", "--resources", "-", self.id, stdin=msgspec.json.encode(resources))
        except InvalidParameter:
            for write, value in before:
                self._restore_limit(write, value)
            raise

    async def _change(self, *words: str, stdin: bytes = b"") -> None:
        try:
            await self._run(*words, stdin=stdin)
        except LaunchError as error:
            if self.exited.done() or not self._cgroup.exists():
                raise NotFound(f"container {self.id} is not running") from None
            kind = InvalidParameter if error.invalid else KnarrError
            raise kind(error.text) from error

    async def _run(self, *words: str, stdin: bytes = b"") -> None:
        """One command of the runtime. Raises LaunchError with what its log tells."""
        run_dir, log = str(self._run_dir), f"{words[0]}-{os.urandom(4).hex()}.log"
        process = await asyncio.create_subprocess_exec(
            *commands.arguments(self._command, run_dir, log, *words),
            cwd=run_dir,
            env=commands.ENVIRONMENT,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.DEVNULL,
            stderr=asyncio.subprocess.DEVNULL,
        )
        await process.communicate(stdin)
        failed = commands.failure(run_dir, log, self._command[0]) if process.returncode else None
        with suppress(FileNotFoundError):
            os.unlink(f"{run_dir}/{log}")
        if failed:
            raise failed
