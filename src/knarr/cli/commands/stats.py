"""knarr stats"""

from __future__ import annotations

import asyncio
import sys

from knarr.cli import formatting, full_screen
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch, text
from knarr.cli.live_table import LiveTable
from knarr.cli.samples import COLUMNS, HEADINGS, figures, row, summary
from knarr.client import containers, system
from knarr.client.asynchronous import AsyncClient
from knarr.client.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from knarr.cli.samples import Sample

    Samples = dict[str, Sample | None]

_FLAGS = (
    switch("a all", "Show containers that do not run, too"),
    text("format", formatting.FORMAT_HELP),
    switch("no-stream", "Show what is used now, once"),
    switch("no-trunc", "Do not shorten what is shown"),
)
_TABLE = "\t".join(f"{{{{.{name}}}}}" for name in COLUMNS)
_TITLES = [HEADINGS[name] for name in COLUMNS]
_NAME = COLUMNS.index("Name")
_NUMERIC = range(2, len(COLUMNS))
_REDRAW_SECONDS = 0.5
_CLEAR = "\033[2J\033[H"


def _run(invocation: Invocation) -> int:
    options, session = invocation.options, invocation.session
    wanted, once = list(invocation.arguments), options.on("no-stream")
    template, short = options.text("format") or session.settings.get("statsFormat", ""), not options.on("no-trunc")
    board = _Board(AsyncClient(session.address(), version=session.engine.version), everything=options.on("all"))
    if once or template or not full_screen.possible():
        board.display = _Printed(template, short=short, redraw=not once and sys.stdout.isatty())
        asyncio.run(board.show(wanted, once=once))
        return 0
    with full_screen.FullScreen(LiveTable(_TITLES, numeric=_NUMERIC, sort=_NAME)) as screen:
        board.display = _Drawn(screen, short=short)
        asyncio.run(screen.run(board.show(wanted)))
    return 0


class _Printed:
    """A table, or what the template makes; with `redraw` it is drawn over the last one."""

    def __init__(self, template: str, *, short: bool, redraw: bool) -> None:
        self._template = template
        self._short = short
        self._redraw = redraw

    def __call__(self, samples: Samples) -> None:
        if self._redraw:
            sys.stdout.write(_CLEAR)
        rows = [row(reference, sample, short=self._short) for reference, sample in samples.items()]
        formatting.show_list(rows, HEADINGS, _TABLE, self._template)
        sys.stdout.flush()


class _Drawn:
    """A full screen."""

    def __init__(self, screen: full_screen.FullScreen, *, short: bool) -> None:
        self._screen = screen
        self._short = short

    def __call__(self, samples: Samples) -> None:
        rows = []
        for reference, sample in samples.items():
            shown = row(reference, sample, short=self._short)
            rows.append(([shown[name] for name in COLUMNS], figures(reference, sample)))
        self._screen.headline = f"knarr stats   {summary(samples.values())}"
        self._screen.table.update(_TITLES, rows)
        self._screen.draw()


class _Board:
    """Containers and the last sample of each, in the order in which they came."""

    def __init__(self, client: AsyncClient, *, everything: bool) -> None:
        self.display: Callable[[Samples], None] = lambda samples: None
        self._client = client
        self._everything = everything
        self._samples: Samples = {}
        self._tasks: dict[str, asyncio.Task[None]] = {}

    async def show(self, wanted: list[str], *, once: bool = False) -> None:
        """The containers `wanted`, or all and whatever comes. Raises CommandError when one of those is missing."""
        try:
            for reference in wanted or await self._present():
                self._samples[reference] = None
            if once:
                await asyncio.gather(*(self._take(reference) for reference in self._samples))
                self.display(self._samples)
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
            self.display(self._samples)
            if not running:
                return

    async def _watch_all(self) -> None:
        """Containers come and go with their events."""
        events = asyncio.create_task(self._follow_events())
        try:
            for reference in list(self._samples):
                self._follow(reference)
            while not (await asyncio.wait([events], timeout=_REDRAW_SECONDS))[0]:
                self.display(self._samples)
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


COMMAND = Command(
    "[OPTIONS] [CONTAINER...]",
    _run,
    flags=_FLAGS,
    arguments=(0, None),
    examples=[
        ("A full screen that is sorted by keys, on a terminal", "stats"),
        ("What all running containers use now", "stats --no-stream"),
        ("Names and memory only", "stats --format 'table {{.Name}}\\t{{.MemUsage}}'"),
    ],
)
