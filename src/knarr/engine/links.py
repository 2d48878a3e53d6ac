"""Links (--link NAME:ALIAS): under which names and addresses a container reaches others, as files and variables."""

from __future__ import annotations

import msgspec
from msgspec import Struct

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


def shown(container: Container) -> list[str]:
    """As inspect shows them: "/db:/web/alias"."""
    found = [parse(link) for link in container.host_config.links or []]
    return [f"/{name}:/{container.name}/{alias}" for name, alias in found]


def hosts(parts: Parts, container: Container) -> list[tuple[str, str]]:
    """Addresses, of both IP versions, and names of what a container on the default bridge is linked to.

    Raises KnarrError, Conflict if the container is about to start and one of them does not run.
    """
    return [
        (address, _names(link.other, link.alias)) for link in _present(parts, container) for address in link.addresses
    ]


def variables(parts: Parts, container: Container) -> dict[str, str]:
    """What the programs of such a container find in their environment. Raises as `hosts`."""
    from knarr.engine import link_variables  # few containers have links

    found: dict[str, str] = {}
    for link in _present(parts, container):
        config, path = link.other.config, f"/{container.name}/{link.alias}"
        found |= link_variables.variables(
            path, link.alias, link.addresses[0], config.exposed_ports or {}, config.env or []
        )
    return found


def remove(parts: Parts, path: str) -> None:
    """Take away the link "container/alias". Raises NotFound for an unknown container, Conflict without an alias."""
    name, _, alias = path.strip("/").partition("/")
    if not alias:
        raise Conflict("Conflict, cannot remove the default link name of the container")
    try:
        container = parts.registry.find(name)
    except NotFound:
        raise NotFound(f"No such container: {path}") from None
    links = container.host_config.links or []
    left = [link for link in links if parse(link)[1] != alias]
    if len(left) == len(links):
        raise NotFound(f"No such container: {path}")
    container.record.host_config = msgspec.structs.replace(container.host_config, links=left)
    parts.store.save_record(container.record)


class _Link(Struct):
    other: Container
    alias: str
    addresses: list[str]


def _present(parts: Parts, container: Container) -> list[_Link]:
    found = []
    if _BRIDGE in container.record.endpoints:
        for link in container.host_config.links or []:
            name, alias = parse(link)
            try:
                other = parts.registry.find(name)
                found.append(_Link(other, alias, _addresses(parts, container, other, alias)))
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
