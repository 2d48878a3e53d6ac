"""All containers in memory, and how users name them."""

from __future__ import annotations

from knarr.engine import names
from knarr.engine.container import Container
from knarr.errors import Conflict, InvalidParameter, NotFound


class Registry:
    """Containers by id and by name. Names are reserved before there is a container to have them."""

    def __init__(self) -> None:
        self._containers: dict[str, Container] = {}
        self._names: dict[str, str] = {}

    def all(self) -> list[Container]:
        """Every container."""
        return list(self._containers.values())

    def find(self, reference: str) -> Container:
        """By full id, by name with or without a leading slash, or by the beginning of an id, in this order.

        Raises NotFound, InvalidParameter if more than one id begins so.
        """
        id = reference if reference in self._containers else self._names.get(reference.removeprefix("/"), "")
        if id in self._containers:
            return self._containers[id]
        found = [id for id in self._containers if reference and id.startswith(reference)]
        if len(found) > 1:
            raise InvalidParameter(f"multiple IDs found with provided prefix: {reference}")
        if not found:
            raise NotFound(f"No such container: {reference}")
        return self._containers[found[0]]

    def reserve(self, name: str | None, id: str) -> str:
        """Give `name`, or an invented one, to `id`; the name without its slash.

        Raises InvalidParameter for what is no name, Conflict if it is in use.
        """
        name = names.invent(self._names.__contains__) if name is None else name.removeprefix("/")
        names.check(name)
        if name in self._names:
            raise Conflict(
                f'Conflict. The container name "/{name}" is already in use by container "{self._names[name]}". '
                "You have to remove (or rename) that container to be able to reuse that name."
            )
        self._names[name] = id
        return name

    def release(self, name: str) -> None:
        """Give a name back."""
        self._names.pop(name, None)

    def add(self, container: Container) -> None:
        """A container whose name has been reserved."""
        self._containers[container.id] = container
        self._names[container.name] = container.id

    def remove(self, container: Container) -> None:
        """Forget a container and its name."""
        self._containers.pop(container.id, None)
        self.release(container.name)
