"""What lies in a registry's directory below certs.d: certificates, and hosts.toml.

certs.d/registry.example:5000/ca.crt                       a CA besides the system's (*.crt)
certs.d/registry.example:5000/client.cert, client.key      who we are (*.cert, *.key)
certs.d/registry.example:5000/hosts.toml                   other places for the registry, as containerd has it:

    server = "https://registry.example:5000"
    [host."https://mirror.example"]
      capabilities = ["pull", "resolve"]
      ca = "mirror.crt"                    # or a list; relative to this directory
      client = [["mirror.cert", "mirror.key"]]
      skip_verify = false
      override_path = false                # the address has the API's path already
      dial_timeout = "3s"                  # give up a connection that is not made by then
      [host."https://mirror.example".header]
        x-team = ["blue"]
"""

from __future__ import annotations

import tomllib
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import msgspec
from msgspec import Struct, field

from knarr.dockerfile import values
from knarr.errors import InvalidParameter
from knarr.images.references import DEFAULT_DOMAIN
from knarr.images.registry.endpoint import ALL, HUB_HOST, Endpoint

ClientFiles = tuple[Path, Path | None]


class _Host(Struct, forbid_unknown_fields=True):
    capabilities: list[str] = field(default_factory=lambda: sorted(ALL))
    ca: str | list[str] = ""
    client: str | list[str | list[str]] = ""
    skip_verify: bool = False
    override_path: bool = False
    header: dict[str, str | list[str]] = field(default_factory=dict)
    dial_timeout: str = ""


class _File(_Host, forbid_unknown_fields=True):
    server: str = ""
    host: dict[str, _Host] = field(default_factory=dict)


def read(domain: str, directories: Iterable[Path]) -> list[Endpoint] | None:
    """The endpoints that hosts.toml names for a registry, None without such a file. Raises InvalidParameter."""
    for directory in _directories(domain, directories):
        path = directory / "hosts.toml"
        try:
            with path.open("rb") as file:
                content = msgspec.convert(tomllib.load(file), _File)
            return _endpoints(domain, content, directory)
        except FileNotFoundError:
            continue
        except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
            raise InvalidParameter(f"failed to load {path}: {error}") from error
    return None


def certificates(host: str, directories: Iterable[Path]) -> tuple[tuple[Path, ...], ClientFiles | None]:
    """Docker's layout: the CA certificates for a host, and a client's certificate with its key.

    Raises InvalidParameter for a certificate without its key.
    """
    for directory in _named(host, directories):
        authorities = tuple(sorted(directory.glob("*.crt")))
        for certificate in sorted(directory.glob("*.cert")):
            key = certificate.with_suffix(".key")
            if not key.exists():
                raise InvalidParameter(f"missing key {key.name} for client certificate {certificate.name}")
            return authorities, (certificate, key)
        return authorities, None
    return (), None


def _named(host: str, directories: Iterable[Path]) -> list[Path]:
    return [directory / host for directory in directories if (directory / host).is_dir()]


def _directories(domain: str, directories: Iterable[Path]) -> list[Path]:
    """The registry's directories: under its name, under the name that has no colon in it, and the one for all."""
    host, colon, port = domain.rpartition(":")
    names = [domain, *([f"{host}_{port}_"] if colon else []), "_default"]
    found = [path for name in names for path in _named(name, directories)]
    return [path for path in found if path.name != "_default" or (path / "hosts.toml").exists()]


def _endpoints(domain: str, content: _File, directory: Path) -> list[Endpoint]:
    hosts = [_endpoint(domain, url, host, directory, mirror=True) for url, host in content.host.items()]
    server = content.server or f"https://{HUB_HOST if domain == DEFAULT_DOMAIN else domain}"
    return [*hosts, _endpoint(domain, server, content, directory, mirror=False)]


def _endpoint(domain: str, url: str, host: _Host, directory: Path, *, mirror: bool) -> Endpoint:
    base = (url if "://" in url else f"https://{url}").rstrip("/")
    own = base.partition("://")[2].partition("/")[0] == (HUB_HOST if domain == DEFAULT_DOMAIN else domain)
    authorities, client = certificates(domain, [directory.parent]) if own else ((), None)
    authorities += tuple(directory / name for name in ([host.ca] if isinstance(host.ca, str) else host.ca) if name)
    unknown = set(host.capabilities) - ALL
    if unknown:
        raise InvalidParameter(f"failed to load {directory}/hosts.toml: unknown capability {min(unknown)}")
    try:
        dial_ns = values.duration("dial_timeout", host.dial_timeout)
    except InvalidParameter as error:
        raise InvalidParameter(f"failed to load {directory}/hosts.toml: {error}") from None
    return Endpoint(
        url=base if host.override_path else f"{base}/v2",
        verify=not host.skip_verify,
        authorities=authorities,
        client=_client(host.client, directory) or client,
        mirror=mirror and not own,
        namespace="" if own else domain,
        capabilities=frozenset(host.capabilities),
        dial_seconds=dial_ns / 1e9 or None,
        headers=tuple((name, value) for name, found in host.header.items() for value in _listed(found)),
    )


def _client(value: str | list[str | list[str]], directory: Path) -> ClientFiles | None:
    """containerd's forms: a file with both, or a list of files or of pairs; the first is used."""
    first: Any = value if isinstance(value, str) else next(iter(value), "")
    names = [first] if isinstance(first, str) else [*first]
    if not names or not names[0]:
        return None
    return directory / names[0], directory / names[1] if len(names) > 1 and names[1] else None


def _listed(value: str | list[str]) -> list[str]:
    return [value] if isinstance(value, str) else value
