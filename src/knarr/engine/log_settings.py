"""HostConfig.LogConfig: what a log driver is told, checked and turned into what the compute backend understands."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path

from knarr.compute.interface import LogSettings
from knarr.engine.config import LogConfig
from knarr.engine.container import Record
from knarr.errors import InvalidParameter

READABLE = ("json-file", "local")
DRIVERS = (*READABLE, "none")

_OPTIONS = {
    "json-file": {"max-size", "max-file", "compress", "labels", "labels-regex", "env", "env-regex", "tag"},
    "local": {"max-size", "max-file", "compress"},
    "none": set[str](),
}
_COMMON_OPTIONS = {"mode", "max-buffer-size"}
_LOCAL_DEFAULTS = {"max-size": "20m", "max-file": "5", "compress": "true"}
_NON_BLOCKING = "non-blocking"
_DEFAULT_BUFFER = "1m"
_SIZE = re.compile(r"(\d+(?:\.\d+)?) ?([kmgt]?)i?b?", re.IGNORECASE)
_UNITS = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}
_TAG_FIELD = re.compile(r"\{\{\s*\.(\w+)\s*\}\}")


def check(config: LogConfig) -> None:
    """Raises InvalidParameter for a driver or an option that is not there, or a value that makes no sense."""
    if config.type not in DRIVERS:
        raise InvalidParameter(f"logger: no log driver named '{config.type}' is registered")
    options = config.config or {}
    for name in options:
        if name not in _OPTIONS[config.type] | _COMMON_OPTIONS:
            raise InvalidParameter(f"unknown log opt '{name}' for {config.type} log driver")
    if options.get("mode", "blocking") not in ("", "blocking", _NON_BLOCKING):
        raise InvalidParameter(f"logger: logging mode not supported: {options['mode']}")
    if "max-buffer-size" in options and options.get("mode") != _NON_BLOCKING:
        raise InvalidParameter(f"logger: max-buffer-size option is only supported with 'mode={_NON_BLOCKING}'")
    _buffer(options)
    max_size, max_file = _size(options), _count(options)
    if max_file > 1 and not max_size and config.type == "json-file":
        raise InvalidParameter("max-file cannot be greater than 1 when max-size is not set")
    if _flag(options) and config.type == "json-file" and (max_file < 2 or not max_size):
        raise InvalidParameter("compress cannot be true when max-file is less than 2 or max-size is not set")
    for name in ("labels-regex", "env-regex"):
        _pattern(options, name)


def settings(record: Record, path: Path) -> LogSettings:
    """How the output of a container is kept, in the file at `path`."""
    config = record.host_config.log_config
    if config.type == "none":
        return LogSettings(driver="none")
    options = {**(_LOCAL_DEFAULTS if config.type == "local" else {}), **(config.config or {})}
    return LogSettings(
        driver="json-file",
        path=str(path),
        max_size=_size(options),
        max_file=_count(options),
        compress=_flag(options),
        buffer=_buffer(options),
        attrs=_attributes(record, options),
    )


def _attributes(record: Record, options: Mapping[str, str]) -> dict[str, str]:
    environment = dict(variable.split("=", 1) for variable in record.config.env or [] if "=" in variable)
    found = _chosen(record.config.labels or {}, options, "labels") | _chosen(environment, options, "env")
    if tag := options.get("tag"):
        found["tag"] = _TAG_FIELD.sub(lambda match: _tag_field(record, match[1]), tag)
    return found


def _chosen(values: Mapping[str, str], options: Mapping[str, str], name: str) -> dict[str, str]:
    wanted = options.get(name, "").split(",")
    pattern = _pattern(options, f"{name}-regex")
    return {key: value for key, value in values.items() if key in wanted or (pattern and pattern.search(key))}


def _tag_field(record: Record, name: str) -> str:
    image = record.image_id.removeprefix("sha256:")
    fields = {
        "ID": record.id[:12],
        "FullID": record.id,
        "Name": record.name,
        "ImageID": image[:12],
        "ImageFullID": image,
        "ImageName": record.image_name,
        "DaemonName": "knarr",
    }
    return fields.get(name, "")


def _size(options: Mapping[str, str]) -> int:
    text = options.get("max-size", "")
    return 0 if text in ("", "-1") else _bytes("max-size", text)


def _buffer(options: Mapping[str, str]) -> int:
    if options.get("mode") != _NON_BLOCKING:
        return 0
    return _bytes("max-buffer-size", options.get("max-buffer-size") or _DEFAULT_BUFFER)


def _bytes(name: str, text: str) -> int:
    match = _SIZE.fullmatch(text)
    size = int(float(match[1]) * _UNITS[match[2].lower()]) if match else 0
    if size <= 0:
        raise InvalidParameter(f"{name} must be a positive number: {text!r}")
    return size


def _count(options: Mapping[str, str]) -> int:
    text = options.get("max-file", "1")
    if not (text.isascii() and text.isdecimal() and len(text) < 6 and int(text) > 0):
        raise InvalidParameter(f"max-file cannot be less than 1: {text!r}")
    return int(text)


def _flag(options: Mapping[str, str]) -> bool:
    text = options.get("compress", "false").lower()
    if text not in ("true", "false", "1", "0", "t", "f"):
        raise InvalidParameter(f"strconv.ParseBool: parsing {text!r}: invalid syntax")
    return text in ("true", "1", "t")


def _pattern(options: Mapping[str, str], name: str) -> re.Pattern[str] | None:
    if not options.get(name):
        return None
    try:
        return re.compile(options[name])
    except re.error as error:
        raise InvalidParameter(f"{name}: {error}") from error
