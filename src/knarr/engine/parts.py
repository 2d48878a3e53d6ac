"""What the parts of an engine share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from knarr.compute.interface import Backend
from knarr.engine.container import Container
from knarr.engine.events import EventBus
from knarr.engine.host_facts import HostFacts
from knarr.engine.metrics import Metrics
from knarr.engine.registry import Registry
from knarr.engine.secrets import Secrets
from knarr.engine.settings import EngineSettings
from knarr.engine.sizes import Sizes, Tree
from knarr.engine.state import ContainerStore
from knarr.engine.user_namespaces import UserNamespaces
from knarr.engine.volumes import Volumes
from knarr.images.store import ImageStore
from knarr.network.controller import NetworkController
from knarr.storage.layers import LayerStore


@dataclass(frozen=True)
class Parts:
    """One of each, handed to all that need more than two of them."""

    settings: EngineSettings
    facts: HostFacts
    registry: Registry
    store: ContainerStore
    events: EventBus
    images: ImageStore
    layers: LayerStore
    network: NetworkController
    volumes: Volumes
    secrets: Secrets
    backends: Mapping[str, Backend]
    user_namespaces: UserNamespaces
    sizes: Sizes
    metrics: Metrics = field(default_factory=Metrics)

    def publish(self, container: Container, action: str, **attributes: str) -> None:
        """Tell the world what has happened to a container."""
        self.events.publish("container", action, container.id, container.attributes(**attributes))

    def written(self, container: Container) -> Tree:
        """A container's writable layer, to be measured."""
        state = container.state
        run = None if container.running else (state.started_at, state.finished_at)
        return Tree(lambda: self.layers.root_usage(container.id), run)

    def save_state(self, container: Container) -> None:
        """Commit what has become of a container."""
        self.store.save_state(container.record, container.state)
