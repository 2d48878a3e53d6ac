"""Links (--link NAME:ALIAS): names under which a container reaches others, in its /etc/hosts."""

from __future__ import annotations

from knarr.engine.container import Container
from knarr.engine.parts import Parts
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound

_BRIDGE = "bridge"


def parse(link: str) -> tuple[str, str]:
    """The container and the alias of "name:alias", "name" and the "/name:/other/alias" that inspect shows.

    Raises InvalidParameter.
    """
    name, separator, alias = link.partition(":")
    name, alias = name.removeprefix("/"), alias.rpartition("/")[2]
    if not name or (separator and not alias):
        raise InvalidParameter(f"bad format for links: {link}")
    return name, alias or name


def check(parts: Parts, links: list[str]) -> None:
    """Whether all containers that are linked to are there. Raises InvalidParameter."""
    for link in links:
        name, _ = parse(link)
        try:
            parts.registry.find(name)
        except NotFound as error:
            raise InvalidParameter(f"could not get container for {name}: {error}") from None


def hosts(parts: Parts, container: Container) -> list[tuple[str, str]]:
    """Addresses, of both IP versions, and names of what a container on the default bridge is linked to.

    Raises KnarrError, Conflict if the container is about to start and one of them does not run.
    """
    found = []
    if _BRIDGE in container.record.endpoints:
        for link in container.host_config.links or []:
            name, alias = parse(link)
            try:
                other = parts.registry.find(name)
                names = _names(other, alias)
                found += [(address, names) for address in _addresses(parts, container, other, alias)]
            except NotFound as error:
                if container.system is None:
                    raise KnarrError(f"could not get container for {name}: {error}") from None
            except Conflict:
                if container.system is None:
                    raise
    return found


def _addresses(parts: Parts, container: Container, other: Container, alias: str) -> list[str]:
    for endpoint in parts.network.endpoints(other.id):
        if endpoint.network_name == _BRIDGE:
            return [address.ip for address in endpoint.addresses]
    raise Conflict(f"Cannot link to a non running container: /{other.name} AS /{container.name}/{alias}")


def _names(other: Container, alias: str) -> str:
    return " ".join(dict.fromkeys((alias, other.id[:12], other.name)))
