"""`RUN --mount=…`: what is mounted while one step runs."""

from __future__ import annotations

import csv
from collections.abc import Callable

import msgspec
from msgspec import Struct

from knarr.dockerfile.values import boolean, octal, size, whole_number
from knarr.errors import InvalidParameter

_KINDS = {
    "bind": {"target", "source", "from", "readonly"},
    "cache": {"target", "id", "source", "from", "readonly", "sharing", "mode", "uid", "gid"},
    "tmpfs": {"target", "size"},
    "secret": {"target", "id", "required", "mode", "uid", "gid", "env"},
    "ssh": {"target", "id", "required", "mode", "uid", "gid"},
}
_ALIASES = {"dst": "target", "destination": "target", "src": "source", "ro": "readonly"}
_SHARING = ("shared", "private", "locked")


class RunMount(Struct, frozen=True, kw_only=True):
    """One mount. `kind` is bind, cache, tmpfs, secret or ssh; `mode` None unless given; `size` in bytes, 0 unlimited.

    `from_stage` is a stage's name or number, or an image; "" is the build context. A secret with `env` becomes a
    variable, and a file only if it has a target too.
    """

    kind: str = "bind"
    target: str = ""
    source: str = ""
    from_stage: str = ""
    id: str = ""
    readonly: bool = False
    sharing: str = "shared"
    required: bool = False
    mode: int | None = None
    uid: int = 0
    gid: int = 0
    size: int = 0
    env: str = ""

    def expanded(self, expand: Callable[[str], str]) -> RunMount:
        """The mount with the variables in its paths and its id replaced. Raises what `expand` raises."""
        names = ("target", "source", "id", "from_stage")
        return msgspec.structs.replace(self, **{name: expand(getattr(self, name)) for name in names})


def parse(text: str) -> RunMount:
    """The mount that a flag's value describes. Raises InvalidParameter."""
    options = _options(text)
    kind = options.pop("type", "bind")
    if kind not in _KINDS:
        raise InvalidParameter(f'unsupported mount type "{kind}"')
    readwrite = next((options.pop(name) for name in ("rw", "readwrite") if name in options), None)
    for name in options:
        if name not in _KINDS[kind]:
            raise InvalidParameter(f"unexpected key '{name}' for mount type '{kind}'")
    if readwrite is not None and kind not in ("bind", "cache"):
        raise InvalidParameter(f"unexpected key 'rw' for mount type '{kind}'")
    mount = RunMount(
        kind=kind,
        target=options.get("target", ""),
        source=options.get("source", ""),
        from_stage=options.get("from", ""),
        id=options.get("id", ""),
        readonly=_readonly(kind, options.get("readonly"), readwrite),
        sharing=options.get("sharing", "shared").lower(),
        required=boolean(options.get("required", "false")),
        mode=octal(options["mode"]) if "mode" in options else None,
        uid=whole_number("uid", options.get("uid", "0")),
        gid=whole_number("gid", options.get("gid", "0")),
        size=size(options["size"]) if "size" in options else 0,
        env=options.get("env", ""),
    )
    _check(mount)
    return mount


def _options(text: str) -> dict[str, str]:
    """The comma-separated `name=value` options by their names; one without a value is true."""
    try:
        fields = next(csv.reader([text], strict=True), [])
    except csv.Error as error:
        raise InvalidParameter(f"failed to parse csv mounts: {error}") from None
    options: dict[str, str] = {}
    for field in fields:
        name, equals, value = field.partition("=")
        name = _ALIASES.get(name.lower(), name.lower())
        if not equals and name not in ("readonly", "rw", "readwrite", "required"):
            raise InvalidParameter(f"invalid field '{field}' must be a key=value pair")
        options[name] = value if equals else "true"
    return options


def _readonly(kind: str, readonly: str | None, readwrite: str | None) -> bool:
    if readwrite is not None:
        return not boolean(readwrite)
    return boolean(readonly) if readonly is not None else kind == "bind"


def _check(mount: RunMount) -> None:
    if mount.sharing not in _SHARING:
        raise InvalidParameter(f'unsupported sharing value "{mount.sharing}"')
    if mount.kind in ("bind", "cache", "tmpfs") and not mount.target:
        raise InvalidParameter(f'invalid mount: target must be set for type "{mount.kind}"')
    if mount.kind == "secret" and not (mount.id or mount.target):
        raise InvalidParameter('invalid mount: one of source, target is required for type "secret"')
