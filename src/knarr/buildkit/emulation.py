"""Programs for other processors: which of them the kernel hands to an emulator (binfmt_misc)."""

from __future__ import annotations

from pathlib import Path

from knarr.errors import Unsupported
from knarr.images import platforms
from knarr.images.platforms import Platform

_REGISTERED = Path("/proc/sys/fs/binfmt_misc")
_NAMES = {
    "386": "i386",
    "amd64": "x86_64",
    "arm": "arm",
    "arm64": "aarch64",
    "loong64": "loongarch64",
    "mips64le": "mips64el",
    "ppc64le": "ppc64le",
    "riscv64": "riscv64",
    "s390x": "s390x",
}
"""What emulators are registered as, by the processors' names in images: qemu-NAME."""

_COMPATIBLE = {"amd64": ("386",), "arm64": ("arm",)}
"""What processors run besides their own programs; not all arm64 ones do."""


def check(platform: Platform) -> None:
    """Raise Unsupported if steps for this platform cannot be executed here."""
    host = platforms.of_host()
    if platform.os != host.os:
        raise Unsupported(f"a step for {platform} cannot be executed on {host}")
    if not _runs(platform.architecture):
        name = _emulator(platform.architecture)
        raise Unsupported(
            f"a step for {platform} cannot be executed on {host}: no emulator is registered with binfmt_misc as {name}"
        )


def runnable() -> list[Platform]:
    """The platforms that steps can be executed for, this machine's own first."""
    host = platforms.of_host()
    others = [name for name in _NAMES if name != host.architecture and _runs(name)]
    return [host, *(Platform(host.os, name) for name in others)]


def _runs(architecture: str) -> bool:
    own = platforms.of_host().architecture
    if architecture == own or architecture in _COMPATIBLE.get(own, ()):
        return True
    try:
        return (_REGISTERED / _emulator(architecture)).read_text().startswith("enabled")
    except OSError:
        return False


def _emulator(architecture: str) -> str:
    return f"qemu-{_NAMES.get(architecture, architecture)}"
