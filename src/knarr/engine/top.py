"""The processes of a container as `docker top` shows them: what ps(1) says on the host, of these processes only."""

from __future__ import annotations

import asyncio
import os
import pwd
import shutil
import time
from collections.abc import Collection

from msgspec import Struct

from knarr.errors import InvalidParameter, Unsupported

_FULL_FORMAT = ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
_TICKS = os.sysconf("SC_CLK_TCK")
_PTS_MAJORS = range(136, 144)


class ProcessTable(Struct, rename="pascal"):
    """Column titles, and a row of texts for each process."""

    titles: list[str]
    processes: list[list[str]]


async def processes(pids: Collection[int], ps_args: str) -> ProcessTable:
    """The table that `ps` with these arguments gives, reduced to `pids`. "-ef" needs no ps.

    Raises InvalidParameter for arguments that ps refuses or that leave out the PID, Unsupported without a ps.
    """
    if "\0" in ps_args:
        raise InvalidParameter("ps: invalid argument")
    if ps_args in ("", "-ef"):
        return ProcessTable(_FULL_FORMAT, [row for pid in sorted(pids) if (row := _full_row(pid))])
    return parse(await _run_ps(ps_args.split()), pids)


async def _run_ps(arguments: list[str]) -> str:
    program = shutil.which("ps")
    if program is None:
        raise Unsupported("ps is not installed on the engine's host: only its default columns can be shown")
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(program, *arguments, stdout=pipe, stderr=pipe)
    output, errors = await process.communicate()
    if process.returncode:
        first = (errors.decode(errors="replace").strip() or "failed").splitlines()[0]
        raise InvalidParameter(f"ps: {first.removeprefix('ps: ')}")
    return output.decode(errors="replace")


def parse(output: str, pids: Collection[int]) -> ProcessTable:
    """The rows of ps's output that belong to `pids`. Raises InvalidParameter if it has no PID column."""
    lines = output.splitlines()
    titles = lines[0].split() if lines else []
    if "PID" not in titles:
        raise InvalidParameter("Couldn't find PID field in ps output")
    column = titles.index("PID")
    rows = [line.split(None, len(titles) - 1) for line in lines[1:]]
    wanted = {str(pid) for pid in pids}
    return ProcessTable(
        titles, [[cell.rstrip() for cell in row] for row in rows if row[column : column + 1] and row[column] in wanted]
    )


def _full_row(pid: int) -> list[str] | None:
    """A row of `ps -ef`, from proc(5); None for a process that has ended."""
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            name, _, rest = file.read().decode(errors="replace").partition("(")[2].rpartition(") ")
        with open(f"/proc/{pid}/cmdline", "rb") as file:
            arguments = file.read().decode(errors="replace").rstrip("\0").replace("\0", " ")
        owner = os.stat(f"/proc/{pid}").st_uid
        with open("/proc/uptime", encoding="ascii") as file:
            uptime = float(file.read().split()[0])
    except (FileNotFoundError, ProcessLookupError):
        return None
    fields = rest.split()
    parent, terminal = fields[1], int(fields[4])
    used = (int(fields[11]) + int(fields[12])) // _TICKS
    age = max(uptime - int(fields[19]) / _TICKS, 0.0)
    busy = min(int(used * 100 / age), 99) if age >= 1 else 0
    columns = [_user_name(owner), str(pid), parent, str(busy), _start(time.time() - age)]
    return [*columns, _terminal_name(terminal), _clock(used), arguments or f"[{name}]"]


def _user_name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _start(moment: float) -> str:
    started, today = time.localtime(moment), time.localtime()
    same_day = (started.tm_year, started.tm_yday) == (today.tm_year, today.tm_yday)
    return time.strftime("%H:%M" if same_day else "%b%d" if started.tm_year == today.tm_year else "%Y", started)


def _terminal_name(device: int) -> str:
    if os.major(device) in _PTS_MAJORS:
        return f"pts/{os.minor(device) + 256 * (os.major(device) - _PTS_MAJORS.start)}"
    return "?" if device == 0 else f"{os.major(device)}:{os.minor(device)}"


def _clock(seconds: int) -> str:
    return f"{seconds // 3600:02}:{seconds // 60 % 60:02}:{seconds % 60:02}"
