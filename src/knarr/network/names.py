"""The names that a daemon's things have on the host: several daemons, each with its run root, stay apart."""

from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

_DEFAULT_RUN_ROOT = Path("/run/knarr")


def _suffix(run_root: Path) -> str:
    resolved = os.path.realpath(run_root)
    if Path(resolved) == Path(os.path.realpath(_DEFAULT_RUN_ROOT)):
        return ""
    return hashlib.sha256(resolved.encode()).hexdigest()[:8]


def bridge_name(run_root: Path) -> str:
    """The default bridge's interface: at most 15 characters."""
    suffix = _suffix(run_root)
    return f"knarr-{suffix}" if suffix else "knarr0"


def link_group(run_root: Path) -> int:
    """The group (see ip-link(8)) of the interfaces that the daemon makes for networks, by which it knows them."""
    return 0x6B000000 | zlib.crc32(os.path.realpath(run_root).encode()) & 0xFFFFFF


def table_name(run_root: Path) -> str:
    """The nftables table."""
    suffix = _suffix(run_root)
    return f"knarr-{suffix}" if suffix else "knarr"
