"""`-v`, `--tmpfs` and `--mount`."""

from __future__ import annotations

import os

from knarr.cli.creation.values import csv_fields
from knarr.cli.flags import parse_bool
from knarr.cli.units import parse_size

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

_RECURSIVE = {
    "enabled": {},
    "disabled": {"NonRecursive": True},
    "writable": {"ReadOnlyNonRecursive": True},
    "readonly": {"ReadOnlyForceRecursive": True},
}


def parse_volumes(specs: list[str]) -> tuple[list[str], dict[str, dict[str, object]]]:
    """What `-v` asks for: (binds and named volumes, anonymous volumes). Raises ValueError."""
    binds: list[str] = []
    anonymous: dict[str, dict[str, object]] = {}
    for spec in specs:
        if not spec:
            raise ValueError("invalid empty volume spec")
        if len(spec) <= 2 or ":" not in spec:
            anonymous[spec] = {}
            continue
        source, *rest = spec.split(":")
        if not source or not rest[0]:
            raise ValueError(f"invalid spec: {spec}: empty section between colons")
        binds.append(":".join([os.path.abspath(source) if source.startswith(".") else source, *rest]))
    return binds, anonymous


def parse_tmpfs(specs: list[str]) -> dict[str, str]:
    """`--tmpfs path[:options]`."""
    return {path: options for path, _, options in (spec.partition(":") for spec in specs)}


def parse_mount(word: str) -> dict[str, Any]:
    """The API's Mount of a `--mount` value. Raises ValueError."""
    mount: dict[str, Any] = {"Type": "volume"}
    for field in csv_fields(word):
        key, separator, value = field.partition("=")
        key = key.lower()
        if not separator:
            if key not in ("readonly", "ro", "volume-nocopy", "bind-nonrecursive", "idmap"):
                raise ValueError(f"invalid field '{field}' must be a key=value pair")
            value = "true"
        if not _set_common(mount, key, value) and not _set_special(mount, key, value):
            raise ValueError(f"unexpected key '{key}' in '{field}'")
    _check(mount)
    return mount


def _set_common(mount: dict[str, Any], key: str, value: str) -> bool:
    if key == "type":
        mount["Type"] = value.lower()
    elif key in ("source", "src"):
        relative = value in (".", "..") or value.startswith(("./", "../"))
        mount["Source"] = os.path.abspath(value) if relative else value
    elif key in ("target", "dst", "destination"):
        mount["Target"] = value
    elif key in ("readonly", "ro"):
        _set_switch(mount, "ReadOnly", key, value)
    elif key == "idmap":
        _set_switch(mount, "IDMap", key, value)
    elif key == "owner":
        mount["Owner"] = value
    elif key == "consistency":
        mount["Consistency"] = value.lower()
    else:
        return False
    return True


def _set_special(mount: dict[str, Any], key: str, value: str) -> bool:
    """The options that belong to one type of mount."""
    kind, _, name = key.partition("-")
    setter = {"bind": _set_bind, "volume": _set_volume, "image": _set_image, "tmpfs": _set_tmpfs}.get(kind)
    if setter is None:
        return False
    return setter(mount.setdefault(f"{kind.title()}Options", {}), name, key, value)


def _set_bind(options: dict[str, Any], name: str, key: str, value: str) -> bool:
    if name == "propagation":
        options["Propagation"] = value.lower()
    elif name == "nonrecursive":
        _set_switch(options, "NonRecursive", key, value)
    elif name == "recursive":
        if value not in _RECURSIVE:
            allowed = '"enabled", "disabled", "writable", or "readonly"'
            raise ValueError(f"invalid value for {key}: {value} (must be {allowed})")
        options.update(_RECURSIVE[value])
    else:
        return False
    return True


def _set_volume(options: dict[str, Any], name: str, key: str, value: str) -> bool:
    if name == "nocopy":
        _set_switch(options, "NoCopy", key, value)
    elif name == "subpath":
        options["Subpath"] = value
    elif name == "label":
        label, _, content = value.partition("=")
        options.setdefault("Labels", {})[label] = content
    elif name == "driver":
        options.setdefault("DriverConfig", {})["Name"] = value
    elif name == "opt":
        option, _, content = value.partition("=")
        options.setdefault("DriverConfig", {}).setdefault("Options", {})[option] = content
    else:
        return False
    return True


def _set_image(options: dict[str, Any], name: str, key: str, value: str) -> bool:
    if name != "subpath":
        return False
    options["Subpath"] = value
    return True


def _set_tmpfs(options: dict[str, Any], name: str, key: str, value: str) -> bool:
    try:
        if name == "size":
            options["SizeBytes"] = parse_size(value)
        elif name == "mode":
            options["Mode"] = int(value, 8)
        else:
            return False
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
    return True


def _set_switch(options: dict[str, Any], name: str, key: str, value: str) -> None:
    try:
        on = parse_bool(value)
    except ValueError:
        raise ValueError(f"invalid value for {key}: {value}") from None
    if on:
        options[name] = True
    else:
        options.pop(name, None)


def _check(mount: dict[str, Any]) -> None:
    if not mount.get("Target"):
        raise ValueError("target is required")
    for kind in ("volume", "bind", "image", "tmpfs"):
        if f"{kind.title()}Options" in mount and mount["Type"] != kind:
            raise ValueError(f"cannot mix '{kind}-*' options with mount type '{mount['Type']}'")
    bind = mount.get("BindOptions", {})
    for name, word in (("ReadOnlyNonRecursive", "writable"), ("ReadOnlyForceRecursive", "readonly")):
        if name in bind and not mount.get("ReadOnly"):
            raise ValueError(f"option 'bind-recursive={word}' requires 'readonly' to be specified in conjunction")
    if "ReadOnlyForceRecursive" in bind and bind.get("Propagation") != "rprivate":
        needed = "'bind-propagation=rprivate' to be specified in conjunction"
        raise ValueError(f"option 'bind-recursive=readonly' requires {needed}")
