"""Clients on a container's streams: their connection is handed to the running system, or kept until the next start."""

from __future__ import annotations

import asyncio
import socket

from msgspec import Struct

from knarr.compute.interface import Attachment
from knarr.engine import detach_keys, inspection, logs
from knarr.engine.container import Container
from knarr.engine.logs import LogOptions
from knarr.engine.parts import Parts
from knarr.errors import Conflict


class AttachOptions(Struct, kw_only=True):
    """`stream` asks for what comes, `logs` for what was; `framed` wraps output in Docker's stream headers."""

    stream: bool = True
    stdin: bool = False
    stdout: bool = True
    stderr: bool = True
    logs: bool = False
    detach_keys: str | None = None
    framed: bool = True


def check_attachable(container: Container) -> None:
    """Raises Conflict in a state in which nobody can attach."""
    if container.state.status == "paused":
        raise Conflict(f"container {container.id} is paused, unpause the container before attach")
    if container.state.status == "restarting":
        raise Conflict(f"container {container.id} is restarting, wait until the container is running")


async def attach(parts: Parts, container: Container, options: AttachOptions, fd: int) -> None:
    """Connect a client. Its connected socket `fd` is taken. Raises InvalidParameter, Conflict."""
    with socket.socket(fileno=fd) as client:
        check_attachable(container)
        keys = detach_keys.parse(options.detach_keys)
        parts.publish(container, "attach")
        if options.logs and container.state.status != "created":  # that has none, and may be started this moment
            await _replay(parts, container, options, client)
        if options.stream:
            attachment = _attachment(container, options, keys, client.detach())
            await _connect(container, attachment)


async def _connect(container: Container, attachment: Attachment) -> None:
    async with container.lock:  # a start that is under way has its attachments already
        if container.system is None:
            container.keep_attachment(attachment)
        else:
            await container.system.attach(attachment)


def _attachment(container: Container, options: AttachOptions, keys: bytes, fd: int) -> Attachment:
    config = container.config
    return Attachment(
        fd,
        stdin=options.stdin and config.open_stdin,
        stdout=options.stdout,
        stderr=options.stderr and not config.tty,
        framed=options.framed and not config.tty,
        stdin_once=config.stdin_once,
        detach_keys=keys if config.tty else b"",
    )


async def _replay(parts: Parts, container: Container, options: AttachOptions, client: socket.socket) -> None:
    """Send the log so far."""
    wanted = LogOptions(stdout=options.stdout, stderr=options.stderr)
    path = inspection.log_path(container, parts.settings.container_dir(container.id))
    client.setblocking(False)
    loop = asyncio.get_running_loop()
    try:
        async for chunk in await logs.read(path, wanted, framed=options.framed, ended=None):
            await loop.sock_sendall(client, chunk)
    except ConnectionError:  # gone, which is no matter of ours
        pass
