"""Signals by name and number, as clients write them."""

from __future__ import annotations

import signal

from knarr.engine.config import ContainerConfig
from knarr.errors import InvalidParameter

KILL = int(signal.SIGKILL)
_STOP_TIMEOUT = 10
_LAST = 64
_NUMBERS = {each.name.removeprefix("SIG"): int(each) for each in signal.Signals}
_NUMBERS |= {"RTMIN": 34, "RTMAX": _LAST, "CLD": signal.SIGCHLD, "POLL": signal.SIGIO, "IOT": signal.SIGABRT}


def parse(text: str) -> int:
    """The number of "TERM", "SIGTERM", "15" or "RTMIN+3". Raises InvalidParameter."""
    if text.isascii() and text.isdigit() and len(text) < 4:
        number = int(text)
    else:
        number = _by_name(text.upper().removeprefix("SIG"))
    if not 0 < number <= _LAST:
        raise InvalidParameter(f"invalid signal: {text}")
    return number


def _by_name(name: str) -> int:
    for base, sign in (("RTMIN+", 1), ("RTMAX-", -1)):
        offset = name.removeprefix(base)
        if (
            offset != name
            and offset.isascii()
            and offset.isdigit()
            and int(offset) <= _NUMBERS["RTMAX"] - _NUMBERS["RTMIN"]
        ):
            return _NUMBERS[base[:-1]] + sign * int(offset)
    return _NUMBERS.get(name, 0)


def stop_signal(config: ContainerConfig) -> int:
    """What asks a container to end."""
    return parse(config.stop_signal or "TERM")


def stop_timeout(config: ContainerConfig) -> int:
    """Seconds that it is given for that; below 0 is no limit."""
    return _STOP_TIMEOUT if config.stop_timeout is None else config.stop_timeout
