"""Options of tmpfs mounts (--tmpfs, --mount type=tmpfs), by dockerd's rules."""

from __future__ import annotations

import re

from knarr.engine.config import Mount, TmpfsOptions
from knarr.errors import InvalidParameter

_DEFAULTS = ["noexec", "nosuid", "nodev", "rprivate"]
_KEYS = frozenset({"size", "mode", "uid", "gid", "nr_inodes", "nr_blocks", "mpol", "huge"})
_PROPAGATIONS = frozenset({"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"})
_PAIRS = (
    ("ro", "rw"),
    ("suid", "nosuid"),
    ("dev", "nodev"),
    ("exec", "noexec"),
    ("sync", "async"),
    ("dirsync",),
    ("mand", "nomand"),
    ("atime", "noatime"),
    ("diratime", "nodiratime"),
    ("relatime", "norelatime"),
    ("strictatime", "nostrictatime"),
)
_KIND = {word: pair[0] for pair in _PAIRS for word in pair}


def options(text: str) -> list[str]:
    """The mount options for `--tmpfs PATH:text`: the defaults, with what is given in place of its opposite.

    Raises InvalidParameter.
    """
    return _merged([option for option in text.split(",") if option])


def mount_options(mount: Mount) -> list[str]:
    """The mount options for `--mount type=tmpfs`. Raises InvalidParameter."""
    given = mount.tmpfs_options or TmpfsOptions()
    words = ["=".join(pair) for pair in given.options or []]
    if given.mode:
        words.append(f"mode={given.mode:o}")
    if given.size_bytes < 0:
        raise InvalidParameter("invalid tmpfs size: must not be negative")
    if given.size_bytes:
        words.append(f"size={_size(given.size_bytes)}")
    if mount.read_only:
        words.append("ro")
    return _merged(words)


def _size(size: int) -> str:
    for unit, letter in ((1 << 30, "g"), (1 << 20, "m"), (1 << 10, "k")):
        if size % unit == 0:
            return f"{size // unit}{letter}"
    return str(size)


def _merged(given: list[str]) -> list[str]:
    """Defaults and `given` options; of those that exclude each other the last one stays."""
    chosen: dict[str, str] = {}
    for word in [*_DEFAULTS, *given]:
        key, separator, value = word.partition("=")
        if separator:
            if key not in _KEYS or not re.fullmatch(r"[A-Za-z0-9%:,=-]+", value):
                raise InvalidParameter(f'invalid tmpfs option ["{key}" "{value}"]')
        elif word in _PROPAGATIONS:
            key = "propagation"
        elif word in _KIND:
            key = _KIND[word]
        elif word != "defaults":
            raise InvalidParameter(f'invalid tmpfs option ["{word}"]')
        chosen.pop(key, None)
        chosen[key] = word
    chosen.pop("defaults", None)
    return list(chosen.values())
