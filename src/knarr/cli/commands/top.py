"""knarr top"""

from __future__ import annotations

import asyncio
import re

from knarr.cli import full_screen
from knarr.cli.command import Command, Invocation
from knarr.cli.flags import switch
from knarr.cli.tables import write_columns
from knarr.client import containers

TYPE_CHECKING = False
if TYPE_CHECKING:
    from knarr.client.types import TopResult

_FLAGS = (switch("no-stream", "Show the processes of now, once, on a terminal too"),)
_REFRESH_SECONDS = 1.0
_LIVE_COLUMNS = "-eo pid,user,pcpu,pmem,rss,stat,time,args"
_CPU = 2
_NUMBER = r"(\d+-)?[\d:.]+"


def _run(invocation: Invocation) -> int:
    name, *words = invocation.arguments
    ps_options = " ".join(words) or None
    if invocation.options.on("no-stream") or not full_screen.possible():
        found = invocation.session.engine.call(containers.top(name, ps_args=ps_options))
        write_columns([found["Titles"], *(found["Processes"] or [])], least=20)
        return 0
    return _show_live(invocation, name, ps_options or _LIVE_COLUMNS)


def _show_live(invocation: Invocation, name: str, ps_options: str) -> int:
    """A full screen until a key asks for the end, or the container has ended. Raises as the call."""
    from knarr.cli.live_table import LiveTable
    from knarr.client.asynchronous import AsyncClient

    session = invocation.session
    call = containers.top(name, ps_args=ps_options)
    first = session.engine.call(call)  # what is wrong is told before the screen is taken
    table = LiveTable(first["Titles"], numeric=_numeric(first), sort=_CPU if ps_options == _LIVE_COLUMNS else 0)
    client = AsyncClient(session.address(), version=session.engine.version)

    async def follow() -> None:
        found = first
        while True:
            rows = found["Processes"] or []
            screen.headline = f"knarr top {name}   {len(rows)} process{'' if len(rows) == 1 else 'es'}"
            table.update(found["Titles"], [(row, [_key(cell) for cell in row]) for row in rows])
            screen.draw()
            await asyncio.sleep(_REFRESH_SECONDS)
            found = await client.call(call)

    with full_screen.FullScreen(table) as screen:
        asyncio.run(screen.run(follow()))
    return 0


def _numeric(found: TopResult) -> list[int]:
    """Columns of figures and times."""
    rows = found["Processes"] or []
    return [
        index
        for index in range(len(found["Titles"]))
        if rows and all(re.fullmatch(_NUMBER, row[index]) for row in rows)
    ]


def _key(cell: str) -> tuple[float, str]:
    """Figures before words, by their value: 1:02:03 are seconds."""
    if not re.fullmatch(_NUMBER, cell):
        return (float("inf"), cell.lower())
    days, _, clock = cell.rpartition("-")
    value = 0.0
    for part in clock.split(":"):
        value = value * 60 + float(part or 0)
    return (value + 86400 * int(days or 0), "")


COMMAND = Command(
    "CONTAINER [ps OPTIONS]",
    _run,
    flags=_FLAGS,
    arguments=(1, None),
    interspersed=False,
    examples=[
        ("A full screen that is sorted by keys, on a terminal", "top web"),
        ("With other columns", "top web -o pid,user,rss,args"),
    ],
)
