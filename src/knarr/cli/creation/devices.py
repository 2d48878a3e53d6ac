"""`--device` and `--gpus`."""

from __future__ import annotations

import os
import re

from knarr.cli.creation.values import csv_fields

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_CDI_NAME = r"[A-Za-z](?:[A-Za-z0-9_.-]*[A-Za-z0-9])?/[A-Za-z][A-Za-z0-9_-]*=[A-Za-z0-9][A-Za-z0-9_.:-]*"


def parse_devices(specs: list[str]) -> tuple[list[dict[str, str]], list[str]]:
    """What `--device` asks for: (device files, names of the Container Device Interface). Raises ValueError."""
    files: list[dict[str, str]] = []
    names: list[str] = []
    for spec in specs:
        if re.fullmatch(_CDI_NAME, spec):
            names.append(spec)
        else:
            files.append(_parse_file(spec))
    return files, names


def _parse_file(spec: str) -> dict[str, str]:
    source, *rest = spec.split(":")
    if not source or len(rest) > 2:
        raise ValueError(f"bad format for path: {spec}")
    permissions = "rwm"
    if len(rest) == 2 or (len(rest) == 1 and _are_permissions(rest[0])):
        permissions = rest.pop()
        if not _are_permissions(permissions):
            raise ValueError(f"bad mode specified: {permissions}")
    target = os.path.normpath(rest[0]) if rest else source
    if not target.startswith("/"):
        raise ValueError(f"{target} is not an absolute path")
    return {"PathOnHost": source, "PathInContainer": target, "CgroupPermissions": permissions}


def _are_permissions(word: str) -> bool:
    return 0 < len(word) == len(set(word)) and set(word) <= set("rwm")


def parse_gpus(word: str) -> dict[str, Any]:
    """The API's DeviceRequest of `all`, a number, or key=value fields. Raises ValueError."""
    given: dict[str, str] = {}
    for field in csv_fields(word):
        key, separator, value = field.partition("=")
        if not separator:
            key, value = "count", key
        if key in given:
            raise ValueError(f"gpu request key '{key}' can be specified only once")
        if key not in ("driver", "count", "device", "capabilities", "options"):
            raise ValueError(f"unexpected key '{key}' in '{field}'")
        given[key] = value
    devices = given["device"].split(",") if "device" in given else None
    capabilities = given["capabilities"].split(",") if "capabilities" in given else []
    return {
        "Driver": given.get("driver", ""),
        "Count": _count(given["count"]) if "count" in given else int(devices is None),
        "DeviceIDs": devices,
        "Capabilities": [[*capabilities, "gpu"] if "gpu" not in capabilities else capabilities],
        "Options": dict(_pair(field) for field in csv_fields(given["options"])) if "options" in given else {},
    }


def _count(word: str) -> int:
    if word == "all":
        return -1
    if not re.fullmatch(r"[+-]?[0-9]+", word):
        raise ValueError(f'invalid count ({word}): value must be either "all" or an integer: invalid syntax')
    return int(word)


def _pair(field: str) -> tuple[str, str]:
    key, _, value = field.partition("=")
    return key, value
