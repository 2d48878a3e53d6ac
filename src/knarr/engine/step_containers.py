"""Commands of builds, each in a container of its own that is in no list: it has no name, no log and no record.

What a crash leaves of one is cleared away at the next start as belonging to no container.
"""

from __future__ import annotations

import asyncio
import shutil
import socket
import struct
from collections.abc import Collection

import msgspec

from knarr.build.interface import Output, RunStep, StepMount
from knarr.build.threads import finished
from knarr.compute.interface import Attachment
from knarr.engine import defaulting, times, users
from knarr.engine.config import (
    ContainerConfig,
    EndpointSettings,
    HostConfig,
    LogConfig,
    Mount,
    MountPoint,
    TmpfsOptions,
)
from knarr.engine.container import Container, Record, State
from knarr.engine.launcher import Launcher
from knarr.engine.parts import Parts
from knarr.errors import Forbidden

_HEADER = struct.Struct(">BxxxL")


class StepContainers:
    """A Runner. `entitlements` are what the client allows beyond the usual: network.host, security.insecure."""

    def __init__(
        self, parts: Parts, launcher: Launcher, host_config: HostConfig, entitlements: Collection[str] = ()
    ) -> None:
        """`host_config` has the limits, names and network for all commands. It was checked."""
        self._parts = parts
        self._launcher = launcher
        self._host_config = host_config
        self._entitlements = entitlements

    def owner(self, root_fd: int, text: str) -> tuple[int, int]:
        """See Runner. A number without a group means the group of the same number, as dockerd has it."""
        user = users.resolve(root_fd, text).user
        if text.isdigit():
            return user.uid, user.uid
        return user.uid, user.gid

    async def run(self, step: RunStep, output: Output) -> int:
        """See Runner."""
        container = Container(self._record(step), State())
        directory = self._parts.settings.container_dir(step.id)
        directory.mkdir(mode=0o710)
        ours, theirs = socket.socketpair()
        container.keep_attachment(Attachment(theirs.detach(), stdin=False, framed=True))
        reader = asyncio.create_task(_copy(ours, output))
        try:
            code = await self._run(container)
            await reader
            return code
        finally:
            container.drop_attachments()
            reader.cancel()
            ours.close()
            await finished(asyncio.to_thread(shutil.rmtree, directory, ignore_errors=True))

    async def _run(self, container: Container) -> int:
        try:
            await finished(self._launch(container))  # its program runs before that is told: a cancelled one is stopped
            assert container.system is not None
            return (await asyncio.shield(container.system.exited)).code
        finally:
            container.state.pid = 0
            if container.system is not None:
                await finished(self._release(container))

    async def _launch(self, container: Container) -> None:
        system = await self._launcher.launch(container)
        container.adopt(system)
        container.state.pid = system.pid

    async def _release(self, container: Container) -> None:
        assert container.system is not None
        try:
            await container.system.delete()
        finally:
            await self._launcher.release(container)

    def _record(self, step: RunStep) -> Record:
        host_config = self._limits(step)
        mode = host_config.network_mode
        networks = [] if mode.startswith("container:") else [self._parts.network.network(mode).name]
        config = ContainerConfig(
            hostname=socket.gethostname() if mode == "host" else step.hostname or step.id[:12],
            user=step.user,
            env=step.env,
            cmd=step.args,
            working_dir=step.working_dir,
            labels=step.labels,
        )
        return Record(
            id=step.id,
            name=step.id[:12],
            created=times.now(),
            image_id="",
            image_name="",
            on_host=False,
            config=config,
            host_config=host_config,
            mounts=[_mount_point(mount) for mount in step.mounts],
            endpoints={name: EndpointSettings() for name in networks},
        )

    def _limits(self, step: RunStep) -> HostConfig:
        mode = self._host_config.network_mode or "bridge"
        if step.network == "host" and mode != "host" and "network.host" not in self._entitlements:
            raise Forbidden("network.host is not allowed")
        if step.insecure and "security.insecure" not in self._entitlements:
            raise Forbidden("security.insecure is not allowed")
        if mode.startswith("container:"):
            mode = f"container:{self._parts.registry.find(mode.removeprefix('container:')).id}"
        host_config = msgspec.structs.replace(
            self._host_config,
            network_mode=mode if step.network == "default" else step.network,
            runtime=self._parts.settings.runtime,
            log_config=LogConfig(type="none"),
            privileged=step.insecure,
        )
        defaulting.fill(host_config, self._parts.settings)
        return host_config


def _mount_point(mount: StepMount) -> MountPoint:
    kind = "tmpfs" if mount.tmpfs else "bind"
    spec = Mount(type=kind, source=mount.source, target=mount.target, read_only=mount.readonly)
    if mount.tmpfs:
        spec.tmpfs_options = TmpfsOptions(size_bytes=mount.size)
    return MountPoint(type=kind, source=mount.source, destination=mount.target, rw=not mount.readonly, spec=spec)


async def _copy(connection: socket.socket, output: Output) -> None:
    """Take the frames of a container's output to their end."""
    stream, writer = await asyncio.open_connection(sock=connection)
    try:
        while True:
            number, size = _HEADER.unpack(await stream.readexactly(_HEADER.size))
            while size:
                data = await stream.read(min(size, 1 << 16))
                if not data:
                    return
                size -= len(data)
                output(number, data)
    except asyncio.IncompleteReadError:
        return
    finally:
        writer.close()
