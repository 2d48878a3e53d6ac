"""Texts of option values to numbers and back: sizes, switches, pairs, resource limits."""

from __future__ import annotations

import re

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE)
_SWITCHES = {"1": True, "t": True, "true": True, "0": False, "f": False, "false": False}


def size(text: str | int) -> int:
    """Bytes of a size as Docker writes it ("64m", "1.5 GiB"; 1024-based). Raises ValueError."""
    if isinstance(text, int):
        return text
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"invalid size: '{text}'")
    power = " kmgtp".index(match[2].lower() or " ")
    return int(float(match[1]) * 1024**power)


def switch(text: str) -> bool:
    """A boolean as Go's flag package reads it. Raises ValueError."""
    try:
        return _SWITCHES[text.lower()]
    except KeyError:
        raise ValueError(f"invalid boolean value '{text}'") from None


def pair(text: str) -> tuple[str, str]:
    """The two sides of KEY=VALUE. Raises ValueError."""
    key, separator, value = text.partition("=")
    if not separator or not key:
        raise ValueError(f"invalid key/value pair: {text}")
    return key, value


def ulimit(text: str) -> tuple[str, dict[str, str | int]]:
    """NAME=SOFT[:HARD] as daemon.json writes it. Raises ValueError."""
    name, value = pair(text)
    soft, separator, hard = value.partition(":")
    try:
        limits = int(soft), int(hard if separator else soft)
    except ValueError:
        raise ValueError(f"invalid ulimit argument: {text}") from None
    return name, {"Name": name, "Soft": limits[0], "Hard": limits[1]}


def runtime(text: str) -> tuple[str, dict[str, str]]:
    """NAME=PATH as daemon.json writes it. Raises ValueError."""
    name, path = pair(text)
    return name, {"path": path}


def pool(text: str) -> dict[str, str | int]:
    """base=CIDR,size=N as daemon.json writes it. Raises ValueError."""
    fields = dict(pair(part) for part in text.split(","))
    if fields.keys() != {"base", "size"} or not fields["size"].isdecimal():
        raise ValueError(f"invalid default address pool: {text}, expected base=CIDR,size=N")
    return {"base": fields["base"], "size": int(fields["size"])}


def network_option(text: str) -> tuple[str, tuple[str, str]]:
    """The driver, and the option, of "bridge=com.docker.network.driver.mtu=1400". Raises ValueError."""
    driver, separator, option = text.partition("=")
    if not (driver and separator):
        raise ValueError(f"invalid network option '{text}': it should be DRIVER=KEY=VALUE")
    return driver, pair(option)
