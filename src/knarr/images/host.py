"""The built-in image `host`: its root file system is the machine's own, so it has no layers, only a configuration."""

from __future__ import annotations

import os
import platform
from datetime import UTC, datetime

from knarr.images import config, platforms
from knarr.images.config import ContainerDefaults, HistoryEntry, ImageConfig
from knarr.images.references import DEFAULT_DOMAIN, DEFAULT_TAG, OFFICIAL, Reference

REFERENCE = Reference(DEFAULT_DOMAIN, OFFICIAL + "host", DEFAULT_TAG)
DEFAULT_PATH = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
_RELEASE_FILES = ("/etc/os-release", "/usr/lib/os-release")


def configuration() -> bytes:
    """The image's configuration: it changes, and with it the image's id, when the machine's system is upgraded."""
    try:
        release = platform.freedesktop_os_release()
    except OSError:
        release = {}
    machine = platforms.of_host()
    name = release.get("PRETTY_NAME", "Linux")
    return config.encode(
        ImageConfig(
            architecture=machine.architecture,
            variant=machine.variant,
            os=machine.os,
            created=_installed(),
            comment=f"{name}: this machine's own root file system, copy on write",
            config=ContainerDefaults(env=[DEFAULT_PATH], cmd=["/bin/sh"], labels=_labels(release)),
            history=[HistoryEntry(created=_installed(), created_by="built in", comment=name, empty_layer=True)],
        )
    )


def _labels(release: dict[str, str]) -> dict[str, str]:
    labels = {
        "org.opencontainers.image.title": release.get("PRETTY_NAME", ""),
        "org.opencontainers.image.version": release.get("VERSION_ID", ""),
    }
    return {name: value for name, value in labels.items() if value}


def _installed() -> str:
    """When the system's release file was written."""
    for path in _RELEASE_FILES:
        try:
            seconds = int(os.stat(path).st_mtime)
        except OSError:
            continue
        return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    return config.ZERO_TIME
