"""What an administrator may say about registries."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from msgspec import Struct

CERTIFICATE_DIRECTORIES = (Path("/etc/knarr/certs.d"), Path("/etc/docker/certs.d"))


class ProxySettings(Struct, frozen=True, kw_only=True):
    """Addresses of proxies, and which hosts are reached without (a list as Go programs read it)."""

    http: str = ""
    https: str = ""
    no_proxy: str = ""

    @classmethod
    def from_environment(cls, environment: Mapping[str, str]) -> ProxySettings:
        """As the variables say, in capitals or not."""

        def read(name: str) -> str:
            return environment.get(name.upper()) or environment.get(name, "")

        return cls(http=read("http_proxy"), https=read("https_proxy"), no_proxy=read("no_proxy"))

    def over(self, other: ProxySettings) -> ProxySettings:
        """These, and the other's where nothing is said."""
        return ProxySettings(
            http=self.http or other.http, https=self.https or other.https, no_proxy=self.no_proxy or other.no_proxy
        )


class RegistrySettings(Struct, frozen=True, kw_only=True):
    """`mirrors` are of docker.io; `insecure` are hosts with or without port, and networks in CIDR notation.

    In each of `certificates` there may be a directory for a registry (see hosts_file). Downloads and uploads are
    layers under way at once, over all pulls and pushes; `attempts` is how often one is begun.
    """

    mirrors: tuple[str, ...] = ()
    insecure: tuple[str, ...] = ()
    certificates: tuple[Path, ...] = CERTIFICATE_DIRECTORIES
    proxies: ProxySettings = ProxySettings()
    downloads: int = 3
    uploads: int = 5
    attempts: int = 5


def environment_proxies() -> ProxySettings:
    """What this process's environment says."""
    return ProxySettings.from_environment(os.environ)
