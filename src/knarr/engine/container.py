"""A container: what was asked for (the record), how it is (the state), and what this process holds of it.

created ──start──► running ◄──unpause── paused
   ▲                 │  ▲ └────pause────►
   │ start failed    │  └── restarting ◄┐
   └─────────────────┴──exit──► exited  └─ exit, and the restart policy says so
                                  └─remove──► removing ──► gone, or dead if that failed
"""

from __future__ import annotations

import asyncio
import os
import select
from typing import Literal

from msgspec import Struct, field

from knarr.compute.interface import Attachment, ExitStatus, System
from knarr.compute.spec import Process
from knarr.engine.config import ContainerConfig, EndpointSettings, HostConfig, MountPoint
from knarr.errors import Conflict
from knarr.network.model import NetworkInfo

Status = Literal["created", "running", "paused", "restarting", "exited", "removing", "dead"]


class IdRange(Struct, frozen=True):
    """So many user and group ids of the host from `first` on."""

    first: int
    size: int


class Record(Struct, kw_only=True):
    """What a container is made to be. Kept as JSON; changes only by rename and update. `created` in nanoseconds."""

    id: str
    name: str
    created: int
    image_id: str
    image_name: str
    """As the user wrote it."""
    on_host: bool
    """Its root is the host's own, copy on write."""
    config: ContainerConfig
    host_config: HostConfig
    mounts: list[MountPoint]
    endpoints: dict[str, EndpointSettings]
    """What was asked for, by network."""
    ids: IdRange | None = None
    """The host's ids of its user namespace, if it has one."""

    @property
    def command(self) -> list[str]:
        """The program and its arguments."""
        return [*(self.config.entrypoint or []), *(self.config.cmd or [])]


class State(Struct):
    """What has become of it. Times in nanoseconds since 1970, 0 for never."""

    status: Status = "created"
    pid: int = 0
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    stopped_by_hand: bool = False
    ended_unhealthy: bool = False
    """It is being ended, or was, because its health checks have failed."""
    remove_volumes: bool = False
    """While `removing`: its anonymous volumes go with it."""


class WaitResult(Struct, frozen=True):
    """What a wait was for. `error` says why a container could not be started again, or not removed."""

    status_code: int
    error: str = ""


class Probe(Struct):
    """One health check that has been made. Times in nanoseconds since 1970."""

    start: int
    end: int
    exit_code: int
    output: str


class Health(Struct):
    """The state of health of a running container: starting, healthy or unhealthy."""

    status: str = "starting"
    failing_streak: int = 0
    log: list[Probe] = field(default_factory=list)


_SHELL = ["/bin/sh", "-c"]


class Container:
    """One container. Whoever changes its status holds `lock`."""

    def __init__(self, record: Record, state: State) -> None:
        self.record = record
        self.state = state
        self.lock = asyncio.Lock()
        self.system: System | None = None
        self.process: Process | None = None
        """What the main process of the present run was made from."""
        self.health: Health | None = None
        self.networks: list[NetworkInfo] = []
        """The networks that it is connected to while it runs, if not another container's."""
        self.exec_ids: dict[str, None] = {}
        self.terminal_size: tuple[int, int] | None = None
        """Height and width that were asked for before the start."""
        self.run_ended: asyncio.Future[None] | None = None
        """Of the present run, done when it is over and all output is in the log."""
        self.restart_delay: asyncio.Future[None] | None = None
        """While `restarting`: cancelled to have it stay stopped."""
        self.restart_wait = 0.0
        """Seconds before the last restart of the policy."""
        self.restarting_by_hand = False
        self.being_removed = False
        self._waiting: list[Attachment] = []
        self._exit_waiters: list[asyncio.Future[WaitResult]] = []
        self._removal_waiters: list[asyncio.Future[WaitResult]] = []

    @property
    def id(self) -> str:
        return self.record.id

    @property
    def name(self) -> str:
        """Without the leading slash that the API shows."""
        return self.record.name

    @property
    def config(self) -> ContainerConfig:
        return self.record.config

    @property
    def host_config(self) -> HostConfig:
        return self.record.host_config

    @property
    def running(self) -> bool:
        """As the API means it: also while paused, and between two runs of a restart policy."""
        return self.state.status in ("running", "paused", "restarting")

    @property
    def health_command(self) -> list[str] | None:
        """What checks its health; None if nothing does."""
        check = self.config.healthcheck
        kind, *words = (check.test if check else None) or ["NONE"]
        if kind == "CMD-SHELL":
            return [*(self.config.shell or _SHELL), *words]
        return words if kind == "CMD" and words else None

    def live_system(self) -> System:
        """The running system. Raises Conflict if there is none."""
        if self.system is None or self.state.status not in ("running", "paused"):
            raise not_running(self)
        return self.system

    def attributes(self, **more: str) -> dict[str, str]:
        """What events say of it."""
        return {**(self.config.labels or {}), "image": self.record.image_name, "name": self.name, **more}

    # Clients that came before the start

    def keep_attachment(self, attachment: Attachment) -> None:
        """Connect a client at the next start. Its descriptor is taken."""
        self._waiting.append(attachment)
        for other in self._waiting[:-1]:
            if _hung_up(other.fd):
                self._waiting.remove(other)
                os.close(other.fd)

    def take_attachments(self) -> list[Attachment]:
        """Those kept; their descriptors go to the caller."""
        taken, self._waiting = self._waiting, []
        return taken

    def drop_attachments(self) -> None:
        """Close the connections of those kept."""
        for attachment in self.take_attachments():
            os.close(attachment.fd)

    # Waiting

    def next_exit(self) -> asyncio.Future[WaitResult]:
        """Done when it ends the next time, or fails to start."""
        return _waiter(self._exit_waiters)

    def removal(self) -> asyncio.Future[WaitResult]:
        """Done when it has been removed, or that has failed."""
        return _waiter(self._removal_waiters)

    def tell_exit(self, error: str = "") -> None:
        """Wake those who wait for its end, log readers too; `error` says why it could not be started again."""
        if self.run_ended is not None and not self.run_ended.done():
            self.run_ended.set_result(None)
        _wake(self._exit_waiters, WaitResult(self.state.exit_code, error))

    def tell_removal(self, error: str = "") -> None:
        """Wake those who wait for its removal."""
        _wake(self._removal_waiters, WaitResult(self.state.exit_code, error))

    # State

    def adopt(self, system: System) -> None:
        """It runs as `system`, which may have been started by an earlier engine."""
        self.system = system
        self.health = None
        self.run_ended = asyncio.get_running_loop().create_future()

    def begin_run(self, system: System, moment: int) -> None:
        """It runs from now on."""
        self.adopt(system)
        self.state.status = "running"
        self.state.pid = system.pid
        self.state.exit_code = 0
        self.state.error = ""
        self.state.oom_killed = False
        self.state.started_at = moment
        self.state.stopped_by_hand = False
        self.state.ended_unhealthy = False

    def end_run(self, exit: ExitStatus, status: Status) -> None:
        """It has ended; `status` is exited or restarting."""
        self.system = None
        if self.health is not None:
            self.health.status = "unhealthy"  # as dockerd has it: nobody vouches for it any more
        self.state.status = status
        self.state.pid = 0
        self.state.exit_code = exit.code
        self.state.error = exit.error
        self.state.oom_killed = exit.oom_killed
        self.state.finished_at = exit.at


def not_running(container: Container) -> Conflict:
    """The error of what needs a running container."""
    return Conflict(f"container {container.id} is not running")


def _hung_up(fd: int) -> bool:
    poll = select.poll()
    poll.register(fd, 0)
    return any(events & (select.POLLHUP | select.POLLERR) for _, events in poll.poll(0))


def _waiter(waiters: list[asyncio.Future[WaitResult]]) -> asyncio.Future[WaitResult]:
    future: asyncio.Future[WaitResult] = asyncio.get_running_loop().create_future()
    waiters.append(future)
    future.add_done_callback(lambda done: waiters.remove(done) if done in waiters else None)
    return future


def _wake(waiters: list[asyncio.Future[WaitResult]], result: WaitResult) -> None:
    pending = waiters[:]
    waiters.clear()
    for future in pending:
        if not future.done():
            future.set_result(result)
