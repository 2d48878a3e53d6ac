"""knarr stats"""

from __future__ import annotations

import asyncio
import sys

from knarr.cli import formatting
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.cli.units import binary_size, decimal_size
from knarr.client import containers, system
from knarr.client.asynchronous import AsyncClient
from knarr.client.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Sample = dict[str, Any]

_FLAGS = (
    switch("a all", "Show containers that do not run, too"),
    text("format", formatting.FORMAT_HELP),
    switch("no-stream", "Show what is used now, once"),
    switch("no-trunc", "Do not shorten what is shown"),
)
_TABLE = "{{.ID}}\t{{.Name}}\t{{.CPUPerc}}\t{{.MemUsage}}\t{{.MemPerc}}\t{{.NetIO}}\t{{.BlockIO}}\t{{.PIDs}}"
_HEADINGS = {
    "ID": "CONTAINER ID",
    "Container": "CONTAINER",
    "Name": "NAME",
    "CPUPerc": "CPU %",
    "MemUsage": "MEM USAGE / LIMIT",
    "MemPerc": "MEM %",
    "NetIO": "NET I/O",
    "BlockIO": "BLOCK I/O",
    "PIDs": "PIDS",
}
_REDRAW_SECONDS = 0.5
_CLEAR = "\033[2J\033[H"


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    client = AsyncClient(session.address(), version=session.engine.version)
    board = _Board(
        client,
        everything=options.on("all"),
        template=options.text("format") or session.settings.get("statsFormat", ""),
        short=not options.on("no-trunc"),
    )
    asyncio.run(board.show(list(invocation.arguments), once=options.on("no-stream")))
    return 0


class _Board:
    """Containers and the last sample of each, in the order in which they came."""

    def __init__(self, client: AsyncClient, *, everything: bool, template: str, short: bool) -> None:
        self._client = client
        self._everything = everything
        self._template = template
        self._short = short
        self._samples: dict[str, Sample | None] = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def show(self, wanted: list[str], *, once: bool) -> None:
        """The containers `wanted`, or all and whatever comes. Raises CommandError when one of those is missing."""
        try:
            for reference in wanted or await self._present():
                self._samples[reference] = None
            if once:
                await asyncio.gather(*(self._take(reference) for reference in self._samples))
                self._print()
            elif wanted:
                await self._watch_named()
            else:
                await self._watch_all()
        finally:
            for task in self._tasks.values():
                task.cancel()
            await asyncio.gather(*self._tasks.values(), return_exceptions=True)
            await self._client.close()

    async def _present(self) -> list[str]:
        return [row["Id"][:12] for row in await self._client.call(containers.list_all(everything=self._everything))]

    async def _take(self, reference: str) -> None:
        self._samples[reference] = await self._client.call(containers.stats(reference))

    async def _watch_named(self) -> None:
        """Until none of them is there any more."""
        for reference in self._samples:
            self._follow(reference)
        while True:
            done, running = await asyncio.wait(self._tasks.values(), timeout=_REDRAW_SECONDS)
            for task in done:
                task.result()
            self._print(redraw=True)
            if not running:
                return

    async def _watch_all(self) -> None:
        """Containers come and go with their events."""
        events = asyncio.create_task(self._follow_events())
        try:
            for reference in list(self._samples):
                self._follow(reference)
            while not (await asyncio.wait([events], timeout=_REDRAW_SECONDS))[0]:
                self._print(redraw=True)
            await events
        finally:
            events.cancel()

    async def _follow_events(self) -> None:
        actions = ["start", "create", "die", "destroy"]
        async with await self._client.stream(
            system.events(filters={"type": ["container"], "event": actions})
        ) as happenings:
            async for event in happenings:
                reference, action = event["Actor"]["ID"][:12], event["Action"]
                if action == "start" or (action == "create" and self._everything):
                    self._follow(reference)
                elif action == "destroy" or not self._everything:
                    self._forget(reference)

    def _follow(self, reference: str) -> None:
        if reference not in self._tasks:
            self._samples.setdefault(reference, None)
            self._tasks[reference] = asyncio.create_task(self._follow_one(reference))

    def _forget(self, reference: str) -> None:
        self._samples.pop(reference, None)
        task = self._tasks.pop(reference, None)
        if task is not None:
            task.cancel()

    async def _follow_one(self, reference: str) -> None:
        try:
            async with await self._client.stream(containers.stats_stream(reference)) as samples:
                async for sample in samples:
                    self._samples[reference] = sample
        except EngineError as error:
            raise CommandError(f"Error response from daemon: {error}") from error
        self._samples.pop(reference, None)

    def _print(self, *, redraw: bool = False) -> None:
        """On a terminal the table is drawn over the last one."""
        if redraw and sys.stdout.isatty():
            sys.stdout.write(_CLEAR)
        rows = [row(reference, sample, short=self._short) for reference, sample in self._samples.items()]
        formatting.show_list(rows, _HEADINGS, _TABLE, self._template)
        sys.stdout.flush()


def row(reference: str, sample: Sample | None, *, short: bool = True) -> dict[str, str]:
    """What --format may show of a sample; dashes where there is none yet."""
    if sample is None:
        return dict.fromkeys(_HEADINGS, "--") | {"Container": reference, "MemUsage": "-- / --"}
    memory = sample["memory_stats"]
    used, limit = _memory_used(memory), memory.get("limit", 0)
    received, sent = _network_bytes(sample)
    read, written = _block_bytes(sample)
    return {
        "ID": sample["id"][:12] if short else sample["id"],
        "Container": reference,
        "Name": sample["name"].removeprefix("/"),
        "CPUPerc": f"{_cpu_percent(sample):.2f}%",
        "MemUsage": f"{binary_size(used)} / {binary_size(limit)}",
        "MemPerc": f"{used / limit * 100 if limit else 0:.2f}%",
        "NetIO": f"{decimal_size(received, 3)} / {decimal_size(sent, 3)}",
        "BlockIO": f"{decimal_size(read, 3)} / {decimal_size(written, 3)}",
        "PIDs": str(sample["pids_stats"].get("current", 0)),
    }


def _memory_used(memory: Sample) -> int:
    """Without file pages that the kernel would drop first: cgroup v1 and v2 name them differently."""
    detail, usage = memory.get("stats") or {}, int(memory.get("usage", 0))
    cache = detail.get("total_inactive_file", detail.get("inactive_file", 0))
    return usage - cache if cache < usage else usage


def _cpu_percent(sample: Sample) -> float:
    """Of one processor, between the two moments of the sample."""
    now, before = sample["cpu_stats"], sample["precpu_stats"]
    used = now["cpu_usage"]["total_usage"] - before["cpu_usage"]["total_usage"]
    passed = now.get("system_cpu_usage", 0) - before.get("system_cpu_usage", 0)
    if used <= 0 or passed <= 0:
        return 0.0
    cpus: int = now.get("online_cpus") or len(now["cpu_usage"].get("percpu_usage") or [0])
    return float(used / passed * 100 * cpus)


def _network_bytes(sample: Sample) -> tuple[int, int]:
    counters = (sample.get("networks") or {}).values()
    return sum(each["rx_bytes"] for each in counters), sum(each["tx_bytes"] for each in counters)


def _block_bytes(sample: Sample) -> tuple[int, int]:
    entries = sample["blkio_stats"].get("io_service_bytes_recursive") or []
    read, written = (sum(entry["value"] for entry in entries if entry["op"].lower() == op) for op in ("read", "write"))
    return read, written


COMMAND = Command(
    "[OPTIONS] [CONTAINER...]",
    _run,
    flags=_FLAGS,
    arguments=(0, None),
    examples=[
        ("What all running containers use now", "stats --no-stream"),
        ("Names and memory only", "stats --format 'table {{.Name}}\\t{{.MemUsage}}'"),
    ],
)
