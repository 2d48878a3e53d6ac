"""Creating containers: from a request and an image to a committed record with a root of its own."""

from __future__ import annotations

import asyncio
import shutil
import socket
from contextlib import AsyncExitStack

import msgspec

from knarr.engine import (
    defaulting,
    links,
    log_settings,
    merging,
    mounts,
    names,
    publishing,
    restart_policy,
    secret_mounts,
    times,
    validation,
)
from knarr.engine.config import (
    ContainerConfig,
    CreateBody,
    EndpointSettings,
    HostConfig,
    LogConfig,
    MountPoint,
    SecretReference,
)
from knarr.engine.container import Container, Record, State
from knarr.engine.parts import Parts
from knarr.errors import InvalidParameter, NotFound
from knarr.images import platforms
from knarr.images.image import Image

_DEFAULT_NETWORK = "bridge"


def _platform_warnings(image: Image) -> list[str]:
    host = platforms.of_host()
    if image.host or not image.config.architecture or host.runs(image.platform):
        return []
    return [
        f"The requested image's platform ({image.platform}) does not match the detected host platform ({host}) and no "
        "specific platform was requested"
    ]


class Creation:
    """Makes containers."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def create(self, name: str | None, body: CreateBody, platform: str | None) -> tuple[Container, list[str]]:
        """The new container, committed, and warnings for the user. A failure leaves nothing behind.

        Raises InvalidParameter, NotFound (image, container to join), Conflict (the name).
        """
        host_config = body.host_config or HostConfig()
        warnings = validation.validate_create(body, self._parts.facts)
        image = self._image(body.image, platform)
        warnings += [] if platform else _platform_warnings(image)
        host_config = self._with_defaults(host_config)
        id = names.new_id()
        async with AsyncExitStack() as undo:
            name = self._parts.registry.reserve(name, id)
            undo.callback(self._parts.registry.release, name)
            undo.callback(self._parts.user_namespaces.settle, id)
            record = self._record(id, name, image, body, host_config)
            warnings += _health_warnings(record)
            undo.push_async_callback(asyncio.to_thread, self._remove_files, id)
            await asyncio.to_thread(self._make_files, record, image)
            await self._parts.volumes.prepare(id, record.mounts, lambda: self._parts.layers.mount_root(id))
            undo.push_async_callback(self._parts.volumes.release, id, record.mounts, remove_anonymous=True)
            container = Container(record, State())
            self._parts.store.add(record, container.state)
            undo.pop_all()
        self._parts.registry.add(container)
        self._parts.user_namespaces.settle(id)
        self._parts.publish(container, "create")
        return container, warnings

    def _image(self, reference: str, platform: str | None) -> Image:
        if not reference:
            raise InvalidParameter("no image was given")
        image = self._parts.images.usable(reference, platforms.parse(platform) if platform else None)
        if image.config.os != "linux":
            raise InvalidParameter(
                f'image operating system "{image.config.os}" cannot be used on this platform: operating system is not '
                f"supported: containers here run on Linux, {reference} needs a {image.platform} host"
            )
        return image

    def _with_defaults(self, asked: HostConfig) -> HostConfig:
        """What the engine chooses where the client has not. Raises InvalidParameter, NotFound."""
        settings = self._parts.settings
        runtime = asked.runtime or settings.runtime
        if runtime not in self._parts.backends:
            raise InvalidParameter(f"unknown or invalid runtime name: {runtime}")
        log_config = self._log_config(asked.log_config)
        log_settings.check(log_config)
        host_config = msgspec.structs.replace(
            asked,
            runtime=runtime,
            log_config=log_config,
            network_mode=self._network_mode(asked.network_mode),
            ipc_mode=self._joined(asked.ipc_mode),
            pid_mode=self._joined(asked.pid_mode),
            memory_swappiness=None if asked.memory_swappiness == -1 else asked.memory_swappiness,
            restart_policy=msgspec.structs.replace(asked.restart_policy, name=asked.restart_policy.name or "no"),
            secrets=self._secrets(asked.secrets),
        )
        defaulting.fill(host_config, settings)
        self._parts.user_namespaces.choose(host_config)
        return host_config

    def _secrets(self, asked: list[SecretReference] | None) -> list[SecretReference] | None:
        """With the ids of the secrets, so that another of the same name is not taken for one. Raises NotFound."""
        found: dict[str, SecretReference] = {}
        for reference in asked or []:
            try:
                secret = self._parts.secrets.find(reference.source)
            except NotFound as error:  # a client would take it for a missing image
                raise InvalidParameter(str(error)) from None
            wanted = msgspec.structs.replace(
                reference, source=secret.name, target=reference.target or secret.name, secret_id=secret.id
            )
            secret_mounts.check(wanted)
            if found.setdefault(path := secret_mounts.path_of(wanted), wanted) is not wanted:
                raise InvalidParameter(f"Duplicate mount point: {path}")
        return list(found.values()) or None

    def _log_config(self, asked: LogConfig) -> LogConfig:
        settings = self._parts.settings
        if asked.type and asked.type != settings.log_driver:
            return asked
        return LogConfig(type=settings.log_driver, config={**settings.log_opts, **(asked.config or {})})

    def _network_mode(self, asked: str) -> str:
        return _DEFAULT_NETWORK if asked in ("", "default") else self._joined(asked)

    def _joined(self, mode: str) -> str:
        """A mode with the id of the container that it names, which has to be there."""
        kind, separator, reference = mode.partition(":")
        if kind != "container" or not separator:
            return mode
        try:
            return f"container:{self._parts.registry.find(reference).id}"
        except NotFound as error:  # a client would take it for a missing image
            raise InvalidParameter(str(error)) from None

    def _record(self, id: str, name: str, image: Image, body: CreateBody, host_config: HostConfig) -> Record:
        config = merging.merge(body.config(), image.config.config)
        config.hostname = config.hostname or self._hostname(id, host_config)
        for port in host_config.port_bindings or {}:
            number, protocol = publishing.parse(port)
            config.exposed_ports = {**(config.exposed_ports or {}), f"{number}/{protocol}": {}}
        publishing.mappings(config, host_config)
        links.check(self._parts, host_config.links or [])
        record = Record(
            id=id,
            name=name,
            created=times.now(),
            image_id=image.id,
            image_name=body.image,
            on_host=image.host,
            config=config,
            host_config=host_config,
            mounts=self._mount_points(config, host_config),
            endpoints=self._endpoints(body, host_config),
            ids=self._parts.user_namespaces.take(id, host_config),
        )
        log_settings.check_tag(record)
        return record

    def _mount_points(self, config: ContainerConfig, host_config: HostConfig) -> list[MountPoint]:
        points = mounts.points(config, host_config, self._mounts_of)
        for point in points:
            if point.type == "image":
                try:
                    point.source = self._parts.images.usable(point.source).id
                except NotFound as error:  # a client would take it for the container's own image
                    raise InvalidParameter(str(error)) from None
        return points

    def _mounts_of(self, reference: str) -> list[MountPoint]:
        return self._parts.registry.find(reference).record.mounts

    def _hostname(self, id: str, host_config: HostConfig) -> str:
        if host_config.network_mode == "host" or host_config.uts_mode == "host":
            return socket.gethostname()
        if host_config.network_mode.startswith("container:"):
            return self._parts.registry.find(host_config.network_mode.removeprefix("container:")).config.hostname
        return id[:12]

    def _endpoints(self, body: CreateBody, host_config: HostConfig) -> dict[str, EndpointSettings]:
        """The networks of the container by name, that of its mode first, with what was asked for there."""
        mode = host_config.network_mode
        if mode.startswith("container:"):
            return {}
        asked = (body.networking_config.endpoints_config if body.networking_config else None) or {}
        found = {self._network_name(mode): EndpointSettings()}
        for reference, settings in asked.items():
            name = self._network_name(_DEFAULT_NETWORK if reference == "default" else reference)
            found[name] = settings or EndpointSettings()
        if len(found) > 1 and found.keys() & {"host", "none"}:
            raise InvalidParameter(
                "conflicting options: cannot attach both user-defined and non-user-defined network-modes"
            )
        return found

    def _network_name(self, reference: str) -> str:
        """Which network is meant may be open until the container starts."""
        try:
            return self._parts.network.network(reference).name
        except NotFound:
            return reference

    def _make_files(self, record: Record, image: Image) -> None:
        """The container's directory comes first: recovery knows by it what may have been left half made."""
        directory = self._parts.settings.container_dir(record.id)
        directory.mkdir(mode=0o710)
        if record.host_config.log_config.type == "local":
            (directory / "local-logs").mkdir(mode=0o700)
        self._parts.layers.create_root(
            record.id, image.chain_id, host=image.host, volatile=record.host_config.auto_remove
        )

    def _remove_files(self, id: str) -> None:
        self._parts.layers.remove_root(id)
        shutil.rmtree(self._parts.settings.container_dir(id), ignore_errors=True)


def _health_warnings(record: Record) -> list[str]:
    check = record.config.healthcheck
    if record.host_config.restart_policy.name != restart_policy.ON_UNHEALTHY or (check and check.test):
        return []
    return [
        "The restart policy on-unhealthy acts as on-failure: neither the container nor its image has a health check"
    ]
