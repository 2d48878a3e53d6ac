"""Values of log options: sizes, counts, patterns, tags. Raise InvalidParameter for what is none."""

from __future__ import annotations

import re
import socket
from collections.abc import Mapping

from knarr.engine import patterns
from knarr.engine.container import Record
from knarr.engine.patterns import Pattern
from knarr.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TRUE, _FALSE = ("1", "t", "T", "true", "TRUE", "True"), ("0", "f", "F", "false", "FALSE", "False")
_SHORT = 12


def size(options: Mapping[str, str], name: str) -> int:
    """Bytes; 0 where there is no limit."""
    text = options.get(name, "")
    return 0 if text in ("", "-1") else positive_size(name, text)


def positive_size(name: str, text: str) -> int:
    """Bytes, from a number with a unit."""
    match = _SIZE.fullmatch(text)
    found = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if found <= 0:
        raise InvalidParameter(f"{name} must be a positive number: {text!r}")
    return found


def count(options: Mapping[str, str]) -> int:
    """How many files there may be."""
    text = options.get("max-file", "1")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) > 0):
        raise InvalidParameter(f"max-file cannot be less than 1: {text!r}")
    return int(text)


def flag(options: Mapping[str, str], name: str) -> bool:
    """A boolean as Go parses it."""
    text = options.get(name, "") or "false"
    if text not in (*_TRUE, *_FALSE):
        raise InvalidParameter(f"invalid value for option {name}: {text}")
    return text in _TRUE


def pattern(options: Mapping[str, str], name: str) -> Pattern | None:
    """A regular expression, if there is one."""
    if not options.get(name):
        return None
    try:
        return patterns.compile(options[name])
    except InvalidParameter as error:
        raise InvalidParameter(f"{name}: {error}") from error


def attributes(record: Record, options: Mapping[str, str]) -> dict[str, str]:
    """The labels and environment variables of a container that its log options choose."""
    environment = dict(variable.split("=", 1) for variable in record.config.env or [] if "=" in variable)
    return _chosen(record.config.labels or {}, options, "labels") | _chosen(environment, options, "env")


def _chosen(values: Mapping[str, str], options: Mapping[str, str], name: str) -> dict[str, str]:
    wanted = options.get(name, "").split(",")
    matching = pattern(options, f"{name}-regex")
    return {key: value for key, value in values.items() if key in wanted or (matching and matching.search(key))}


def tag(record: Record, text: str) -> str:
    """A tag: a template over what dockerd calls the log context."""
    from knarr.template import Template, TemplateError  # few logs have one

    try:
        return Template(text).render(_context(record))
    except TemplateError as error:
        raise InvalidParameter(f"failed to initialize logging driver: {error}") from None


def _context(record: Record) -> dict[str, Any]:
    image = record.image_id.removeprefix("sha256:")
    options = record.host_config.log_config.config or {}
    command = record.command
    return {
        "ID": record.id[:_SHORT],
        "FullID": record.id,
        "Name": record.name,
        "ImageID": image[:_SHORT],
        "ImageFullID": image,
        "ImageName": record.image_name,
        "DaemonName": "knarr",
        "Command": " ".join(command),
        "Hostname": socket.gethostname(),
        "ExtraAttributes": lambda _=None: dict(attributes(record, options)),
        "Config": dict(options),
        "ContainerID": record.id,
        "ContainerName": f"/{record.name}",
        "ContainerEntrypoint": command[0] if command else "",
        "ContainerArgs": command[1:],
        "ContainerImageID": record.image_id,
        "ContainerImageName": record.image_name,
        "ContainerEnv": list(record.config.env or []),
        "ContainerLabels": dict(record.config.labels or {}),
    }
