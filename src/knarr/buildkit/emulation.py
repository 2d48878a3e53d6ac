"""Programs for other processors: which of them the kernel hands to an emulator (binfmt_misc)."""

from __future__ import annotations

from pathlib import Path

from knarr.errors import Unsupported
from knarr.images import platforms
from knarr.images.platforms import Platform

_REGISTERED = Path("/proc/sys/fs/binfmt_misc")
_NAMES = {"amd64": "x86_64", "386": "i386", "arm64": "aarch64", "loong64": "loongarch64"}
_COMPATIBLE = {"amd64": ("386",), "arm64": ("arm",)}
"""What processors run besides their own programs; not all arm64 ones do."""


def check(platform: Platform) -> None:
    """Raise Unsupported if steps for this platform cannot be executed here."""
    host = platforms.of_host()
    if platform.os != host.os:
        raise Unsupported(f"a step for {platform} cannot be executed on {host}")
    if host.architecture == platform.architecture or platform.architecture in _COMPATIBLE.get(host.architecture, ()):
        return
    name = f"qemu-{_NAMES.get(platform.architecture, platform.architecture)}"
    try:
        enabled = (_REGISTERED / name).read_text().startswith("enabled")
    except OSError:
        enabled = False
    if not enabled:
        raise Unsupported(
            f"a step for {platform} cannot be executed on {host}: no emulator is registered with binfmt_misc as {name}"
        )
