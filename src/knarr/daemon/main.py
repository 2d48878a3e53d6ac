"""knarrd: from the command line to a running engine.

command line, daemon.json ─► configuration ─► directories locked ─► service.Service ─► exit status
"""

from __future__ import annotations

import faulthandler
import logging
import os
import signal
import sys
from collections.abc import Sequence
from contextlib import ExitStack
from typing import TYPE_CHECKING

from knarr.daemon import command_line, logs, sockets
from knarr.daemon import config as configuration
from knarr.daemon.command_line import Invocation
from knarr.daemon.config import DaemonConfig
from knarr.daemon.locks import DirectoryLock
from knarr.daemon.sockets import Doors
from knarr.errors import KnarrError

if TYPE_CHECKING:
    from knarr.rootless.entrance import Outside

_log = logging.getLogger(__name__)


def main() -> None:
    """The knarrd command. Exit statuses: 0 stopped by a signal, 1 could not start, 125 wrong usage."""
    sys.exit(run(sys.argv[1:]))


def run(arguments: Sequence[str]) -> int:
    """Run an engine until a signal ends it; the exit status."""
    invocation = command_line.parse(arguments)
    try:
        config = configuration.load(invocation)
    except KnarrError as error:
        return _refuse(str(error))
    if invocation.validate:
        print("configuration OK")
        return 0
    logs.set_up(config)
    try:
        with ExitStack() as held:
            _claim(config, held)
            doors = sockets.open_doors(config)  # first: clients queue in the kernel while the engine starts
            held.callback(doors.close)
            outside = None if os.geteuid() == 0 else _move_in(config)
            _serve(config, invocation, doors, outside)
        if invocation.ephemeral:
            from knarr.daemon import ephemeral

            ephemeral.remove(invocation.ephemeral)
    except (KnarrError, OSError) as error:
        _log.debug("where it happened", exc_info=True)
        return _refuse(f"failed to start daemon: {error}")
    return 0


def _move_in(config: DaemonConfig) -> Outside:
    """An ordinary user's engine is root in namespaces of the user's own. Raises KnarrError, OSError."""
    from knarr.rootless import entrance

    outside, note = entrance.enter(config.run_dir)
    if note:
        _log.warning("%s", note)
    return outside


def _serve(config: DaemonConfig, invocation: Invocation, doors: Doors, outside: Outside | None) -> None:
    import asyncio  # only now: it takes longer than --help

    from knarr.daemon.service import Service

    asyncio.run(Service(config, invocation, doors, outside).run())


def _refuse(words: str) -> int:
    print(words, file=sys.stderr)
    return 1


def _claim(config: DaemonConfig, held: ExitStack) -> None:
    """Make the process what a daemon should be, and take what only one daemon may have."""
    os.umask(0o022)
    os.chdir("/")
    faulthandler.register(signal.SIGUSR1, all_threads=True)
    for directory in (config.data_dir, config.run_dir):
        held.callback(DirectoryLock(directory).release)
    config.pid_path.write_text(f"{os.getpid()}\n")
    held.callback(config.pid_path.unlink, missing_ok=True)
