"""Where a registry is reached: its mirrors first, then itself, with TLS or, where that is allowed, without.

docker.io      the configured mirrors, then https://registry-1.docker.io
others         https://NAME; for an insecure one unverified, and then http://NAME
any            what certs.d/NAME/hosts.toml says, if there is one (see hosts_file)
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Iterable

import msgspec

from knarr.images.references import DEFAULT_DOMAIN
from knarr.images.registry import hosts_file
from knarr.images.registry.endpoint import HUB_HOST, PULL, RESOLVE, Endpoint
from knarr.images.registry.settings import RegistrySettings

_LOOPBACK = ("127.0.0.0/8", "::1/128")


def find(domain: str, settings: RegistrySettings) -> list[Endpoint]:
    """The endpoints of a registry, in the order in which they are to be tried. Raises InvalidParameter (hosts.toml)."""
    listed = hosts_file.read(domain, settings.certificates)
    if listed is not None:
        return listed
    mirrors = []
    if domain == DEFAULT_DOMAIN:
        mirrors = [endpoint for url in settings.mirrors for endpoint in _at(_host_of(url), settings, url)]
    own = _at(HUB_HOST if domain == DEFAULT_DOMAIN else domain, settings)
    return [*(_as_mirror(endpoint) for endpoint in mirrors), *own]


def _at(host: str, settings: RegistrySettings, url: str = "") -> list[Endpoint]:
    authorities, client = hosts_file.certificates(host, settings.certificates)
    insecure = is_insecure(host, settings.insecure)
    first = Endpoint(
        url=f"{url.rstrip('/') or f'https://{host}'}/v2", verify=not insecure, authorities=authorities, client=client
    )
    plain = Endpoint(url=f"http://{host}/v2")
    return [first, plain] if insecure and not url else [first]


def _as_mirror(endpoint: Endpoint) -> Endpoint:
    return msgspec.structs.replace(endpoint, mirror=True, capabilities=frozenset({PULL, RESOLVE}))


def is_insecure(host: str, insecure: Iterable[str]) -> bool:
    """Whether a host is on the list, or one of its addresses in a network there or on this machine itself."""
    names = set(insecure)
    if host in names:
        return True
    networks = [
        ipaddress.ip_network(text, strict=False)
        for text in [*_LOOPBACK, *(name for name in names if "/" in name and "://" not in name)]
    ]
    name = _without_port(host)
    try:
        addresses = [ipaddress.ip_address(name)]
    except ValueError:
        if name not in ("localhost",) and len(networks) == len(_LOOPBACK):
            return False  # no need to ask the name server
        addresses = _resolve(name)
    return any(address in network for address in addresses for network in networks)


def _resolve(name: str) -> list[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    try:
        found = socket.getaddrinfo(name, None, type=socket.SOCK_STREAM)
    except OSError:
        return []
    return [ipaddress.ip_address(str(entry[4][0]).partition("%")[0]) for entry in found]


def _host_of(url: str) -> str:
    return url.partition("://")[2].partition("/")[0]


def _without_port(host: str) -> str:
    if host.startswith("["):
        return host[1:].partition("]")[0]
    return host.rpartition(":")[0] if ":" in host else host
