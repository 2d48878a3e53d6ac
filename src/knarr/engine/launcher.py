"""Making a container run: its network, root, name files and volumes, the runtime spec, and the backend's system.

Order matters: what is made first is undone last, and a failure at any point undoes all that came before it.
"""

from __future__ import annotations

import asyncio
import errno
import hashlib
import os
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path

from msgspec import Struct, field

from knarr.compute.interface import Backend, CreateRequest, System
from knarr.compute.spec import IdMapping, Mount, Process, RuntimeSpec
from knarr.engine import (
    apparmor_profile,
    endpoints,
    id_mapping,
    inspection,
    links,
    log_settings,
    mounts,
    runtime_spec,
    user_namespaces,
)
from knarr.engine.container import Container, Record
from knarr.engine.image_mounts import ImageMounts
from knarr.engine.parts import Parts
from knarr.engine.runtime_spec import Defaults, SpecInputs
from knarr.engine.secret_mounts import SecretMounts
from knarr.engine.shared_memory import SharedMemory
from knarr.errors import Conflict, InvalidParameter, KnarrError
from knarr.network import name_files
from knarr.network.controller import Endpoint, NetworkInfo

_JOINABLE = {"ipc": "ipc_mode", "pid": "pid_mode", "network": "network_mode"}


class _Network(Struct):
    """A container's place: a namespace of its own with or without an endpoint, or somebody else's."""

    fd: int | None = None
    endpoint: Endpoint | None = None


class _Users(Struct):
    """A container's user namespace, if it has one: itself and a network namespace that belongs to it, where it joins
    nobody else's, and one with the mapping for its mounts."""

    space: list[IdMapping] = field(default_factory=list)
    user_fd: int | None = None
    network_fd: int | None = None
    mounts_fd: int | None = None


class Launcher:
    """Brings systems up, and gives back what they used."""

    def __init__(self, parts: Parts, defaults: Defaults) -> None:
        self._parts = parts
        self._defaults = defaults
        self._shared_memory = SharedMemory(parts.settings.run_root / "shm")
        self._secret_mounts = SecretMounts(parts.settings.run_root / "secrets")
        self._image_mounts = ImageMounts(parts.settings.run_root / "images", parts.images, parts.layers)
        self._launched: dict[str, Container] = {}  # a build's steps are in no registry
        parts.network.namespace_of = lambda id: network_namespace(self._launched.get(id) or parts.registry.find(id))

    async def launch(self, container: Container) -> System:
        """A running system for `container`. Raises KnarrError, StartFailed, OSError; then nothing is left of it."""
        async with AsyncExitStack() as undo:
            undo.push_async_callback(self.release, container)
            self._launched[container.id] = container
            joined = self._joined(container)
            with ExitStack() as fds, ExitStack() as helpers:
                users = await self._users(container, joined, fds, helpers)
                network = await self._connect(container, users.network_fd)
                if network.fd is not None:
                    fds.callback(os.close, network.fd)
                request = await self._request(container, network, users, joined, fds)
                request.attachments = container.take_attachments()
                fds.pop_all()  # the backend's from here on
            system = await self.backend(container).create(request)
            container.process = request.spec.process
            undo.push_async_callback(system.delete)
            await system.start()
            undo.pop_all()
        return system

    def backend(self, container: Container) -> Backend:
        """What runs this container. Raises InvalidParameter if the engine does not have it any more."""
        runtime = container.host_config.runtime
        try:
            return self._parts.backends[runtime]
        except KeyError:
            raise InvalidParameter(f"unknown or invalid runtime name: {runtime}") from None

    async def _users(
        self, container: Container, joined: dict[str, Container], fds: ExitStack, helpers: ExitStack
    ) -> _Users:
        """What goes to the backend is in the care of `fds`, what is needed until then in that of `helpers`."""
        ids = container.record.ids
        if ids is None:
            return _Users()
        backend, users = self.backend(container), _Users(user_namespaces.mount_mappings(ids))
        (users.mounts_fd,) = await backend.make_user_namespace(users.space)
        helpers.callback(os.close, users.mounts_fd)
        if not joined:
            mappings = user_namespaces.mappings(ids)
            users.user_fd, users.network_fd = await backend.make_user_namespace(mappings, network=True)
            fds.callback(os.close, users.user_fd)
            helpers.callback(os.close, users.network_fd)
        return users

    async def _request(
        self,
        container: Container,
        network: _Network,
        users: _Users,
        joined: dict[str, Container],
        fds: ExitStack,
    ) -> CreateRequest:
        parts, record = self._parts, container.record
        directory = parts.settings.container_dir(record.id)
        mounts.make_sources(record.mounts)
        sources = await parts.volumes.acquire(record.id, record.mounts)
        if any(point.type == "image" for point in record.mounts):
            sources |= await asyncio.to_thread(self._image_mounts.make, record.id, record.mounts, users.mounts_fd)
        secrets = await asyncio.to_thread(self._make_secrets, record) if record.host_config.secrets else []
        files = self._write_name_files(container, directory)
        inputs = SpecInputs(
            id=record.id,
            config=record.config,
            host_config=record.host_config,
            root_fd=-1,
            files=files,
            mounts=mounts.runtime_mounts(record.mounts, sources),
            pids={kind: other.state.pid for kind, other in joined.items()},
            shm_path=self._shm_path(container, joined),
            linked=self.linked(container),
            ids=user_namespaces.mappings(record.ids) if record.ids else [],
            console_size=container.terminal_size,
            secrets=secrets,
            defaults=self._defaults,
        )
        inputs.root_fd, spec = await asyncio.to_thread(self._mount_and_build, inputs, record, users)
        fds.callback(os.close, inputs.root_fd)
        return CreateRequest(
            id=record.id,
            spec=spec,
            run_dir=parts.settings.run_dir(record.id),
            root_fd=inputs.root_fd,
            network_fd=network.fd,
            user_fd=users.user_fd,
            log=log_settings.settings(record, inspection.log_path(container, directory)),
            stdin_open=record.config.open_stdin,
            init=parts.settings.init if record.host_config.init is None else record.host_config.init,
            start=True,
        )

    def _make_secrets(self, record: Record) -> list[Mount]:
        wanted = record.host_config.secrets or []
        return self._secret_mounts.make(record.id, wanted, self._parts.secrets.contents(wanted))

    def main_process(self, container: Container, root_fd: int) -> Process:
        """What the main process of a container is made from, as at its start."""
        inputs = SpecInputs(
            id=container.id,
            config=container.config,
            host_config=container.host_config,
            root_fd=root_fd,
            pids=dict.fromkeys(_JOINABLE, 0),
            defaults=self._defaults,
        )
        process = runtime_spec.build(inputs).process
        assert process is not None
        return process

    def _mount_and_build(self, inputs: SpecInputs, record: Record, users: _Users) -> tuple[int, RuntimeSpec]:
        """In a thread: mounting takes its time, and so may reading the image's passwd."""
        inputs.root_fd = self._parts.layers.mount_root(inputs.id, ids=users.mounts_fd)
        try:
            pairs = zip(record.mounts, inputs.mounts, strict=True)
            id_mapping.map_owners(pairs, inputs.root_fd, record.config.user, users.space)
            spec = runtime_spec.build(inputs)
            assert spec.process is not None
            user_namespaces.check_user(spec.process, record.ids)
            apparmor_profile.ensure(spec.process.apparmor_profile)
            if users.mounts_fd is not None:
                id_mapping.map_space(spec.mounts, users.space, users.mounts_fd)
            return inputs.root_fd, spec
        except BaseException:
            os.close(inputs.root_fd)
            raise

    # Namespaces of others

    def _joined(self, container: Container) -> dict[str, Container]:
        """By kind of namespace, the container whose is joined. Raises NotFound, Conflict."""
        found = {}
        for kind, attribute in _JOINABLE.items():
            mode: str = getattr(container.host_config, attribute)
            if mode.startswith("container:"):
                found[kind] = self._joinable(container, mode.removeprefix("container:"), kind)
        return found

    def _joinable(self, container: Container, reference: str, kind: str) -> Container:
        other = self._parts.registry.find(reference)
        words = kind if kind == "network" else kind.upper()
        if other is container:
            raise Conflict(f"cannot join own {words} namespace")
        if other.state.status == "restarting":
            raise Conflict(f"container {other.id} is restarting, wait until the container is running")
        if other.system is None:
            raise Conflict(f"cannot join {words} namespace of a non running container: {other.id}")
        if kind == "ipc" and other.host_config.ipc_mode == "private":
            raise Conflict(
                f"can't join IPC of container {other.id}: non-shareable IPC "
                "(hint: use IpcMode:shareable for the donor container)"
            )
        return other

    def _shm_path(self, container: Container, joined: dict[str, Container]) -> str:
        if "ipc" in joined:
            return str(self._shared_memory.path(joined["ipc"].id))
        if container.host_config.ipc_mode == "shareable":
            return str(self._shared_memory.make(container.id, container.host_config.shm_size))
        return ""

    # Network

    def linked(self, container: Container) -> dict[str, str]:
        """Variables that tell of what it is linked to. Raises Conflict for links to nowhere."""
        return links.variables(self._parts, container)

    async def _connect(self, container: Container, namespace: int | None) -> _Network:
        """`namespace`: a new one to be used, if any."""
        mode = container.host_config.network_mode
        if mode.startswith("container:"):
            return _Network()
        try:
            info = self._parts.network.network(mode)
            if info.driver not in ("host", "null"):
                return await self._connect_all(container, namespace)
            connected = _Network()
            if info.driver == "null":
                connected = _Network(await self._parts.network.empty_sandbox(namespace))
        except KnarrError as error:
            raise type(error)(f"failed to set up container networking: {error}") from error
        self.note_connected(container, info)
        return connected

    async def _connect_all(self, container: Container, namespace: int | None) -> _Network:
        """One namespace, with an endpoint in each of the container's networks."""
        network = self._parts.network
        infos = [network.network(name) for name in container.record.endpoints]
        if not infos:  # disconnected from all
            return _Network(await network.empty_sandbox(namespace))
        leaders = endpoints.leaders(container, infos)
        servers = [] if all(info.predefined for info in infos) else self.name_servers(container)
        request = endpoints.request(container, infos[0], servers, leaders)
        endpoint, fd = await network.connect(request, namespace)
        try:
            self.note_connected(container, infos[0])
            for info in infos[1:]:
                await network.join(endpoints.request(container, info, servers, leaders), fd)
                self.note_connected(container, info)
        except BaseException:
            os.close(fd)
            raise
        return _Network(fd, network.endpoint(container.id) or endpoint)

    def name_servers(self, container: Container) -> list[str]:
        """Where names are asked that are no container's."""
        asked = container.host_config.dns or self._parts.settings.dns
        return list(asked) or name_files.servers(name_files.read_host_resolv_conf())

    def note_connected(self, container: Container, info: NetworkInfo) -> None:
        """Remember, and tell, that a container has come into a network."""
        container.networks.append(info)
        self._parts.events.publish("network", "connect", info.id, _network_attributes(container, info))

    def note_disconnected(self, container: Container, info: NetworkInfo) -> None:
        """Tell that a container has left a network."""
        container.networks = [other for other in container.networks if other.id != info.id]
        self._parts.events.publish("network", "disconnect", info.id, _network_attributes(container, info))

    async def release(self, container: Container) -> None:
        """Give back what a run has used beyond its system. Whatever is not in use is passed over."""
        await self._parts.network.disconnect(container.id)
        self._launched.pop(container.id, None)
        for info in list(container.networks):
            self.note_disconnected(container, info)
        self._shared_memory.remove(container.id)
        self._image_mounts.remove(container.id)
        self._secret_mounts.remove(container.id)
        await self._parts.volumes.release(container.id, container.record.mounts)

    def retain(self, ids: set[str]) -> None:
        """Give back what all other containers have left on the host."""
        self._shared_memory.retain(ids)
        self._image_mounts.retain(ids)
        self._secret_mounts.retain(ids)

    # Files

    def _write_name_files(self, container: Container, directory: Path) -> dict[str, str]:
        """The host's paths of the container's name files, by path in the container. Who shares a network shares
        them."""
        mode = container.host_config.network_mode
        if mode.startswith("container:"):
            donor = self._parts.registry.find(mode.removeprefix("container:"))
            directory = self._parts.settings.container_dir(donor.id)
        else:
            self._write(container, directory)
        return {f"/etc/{name}": str(directory / name) for name in ("resolv.conf", "hostname", "hosts")}

    def hosts(self, container: Container) -> str:
        """What belongs into a container's /etc/hosts for the networks that it is in now. Raises Conflict for links to
        nowhere."""
        config, host_config, network = container.config, container.host_config, self._parts.network
        if host_config.network_mode == "host" and not host_config.extra_hosts:
            return _host_file("/etc/hosts")
        return name_files.hosts_file(
            config.hostname,
            config.domainname,
            addresses=[entry.ip for endpoint in network.endpoints(container.id) for entry in endpoint.addresses],
            extra_hosts=host_config.extra_hosts or [],
            linked=links.hosts(self._parts, container),
            host_gateways=network.host_gateways(network.endpoint(container.id)),
        )

    def revise_files(self, container: Container, former_hosts: str) -> None:
        """Bring the name files of a running container to the networks that it is in now, and keep what was written
        into them inside: other lines of hosts, and the whole of a resolv.conf that is not as it was made."""
        directory = self._parts.settings.container_dir(container.id)
        hosts = directory / "hosts"
        present = hosts.read_text(errors="surrogateescape")
        revised = name_files.revised_hosts(present, former_hosts, self.hosts(container))
        hosts.write_text(revised, errors="surrogateescape")
        if _is_as_made(directory / "resolv.conf"):
            self._write_resolv_conf(container, directory)

    def _write(self, container: Container, directory: Path) -> None:
        _write_file(directory / "hostname", name_files.hostname_file(container.config.hostname).encode())
        _write_file(directory / "hosts", self.hosts(container).encode(errors="surrogateescape"))
        self._write_resolv_conf(container, directory)

    def _write_resolv_conf(self, container: Container, directory: Path) -> None:
        host_config, settings = container.host_config, self._parts.settings
        on_host = host_config.network_mode == "host"
        dns = host_config.dns or settings.dns
        search = host_config.dns_search or settings.dns_search
        options = host_config.dns_options or settings.dns_opts
        if on_host and not (dns or search or options):
            names = _host_file("/etc/resolv.conf")
        else:
            host_text = name_files.read_host_resolv_conf()
            if any(entry.names for entry in self._parts.network.endpoints(container.id)):
                names = name_files.embedded_resolv_conf(host_text, search=search, options=options)
            else:
                ipv6 = any(entry.address(6) for entry in self._parts.network.endpoints(container.id))
                names = name_files.resolv_conf(host_text, dns=dns, search=search, options=options, ipv6=ipv6)
        _write_as_made(directory / "resolv.conf", names.encode(errors="surrogateescape"))


def network_namespace(container: Container) -> int:
    """A descriptor, the caller's, of a running container's network namespace. Raises FileNotFoundError if it has just
    ended."""
    # The main process is not reaped before its end is known here: the number is no other process's.
    return os.open(f"/proc/{container.state.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)


def _write_file(path: Path, content: bytes) -> None:
    """A text file's object takes longer to make than these files to write."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o666)
    try:
        if os.write(fd, content) < len(content):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(path))
    finally:
        os.close(fd)


def _write_as_made(path: Path, content: bytes) -> None:
    """With a note that it is as made; as dockerd does: a checksum beside the file."""
    _write_file(path, content)
    _write_file(path.with_name(f"{path.name}.hash"), hashlib.sha256(content).hexdigest().encode())


def _is_as_made(path: Path) -> bool:
    try:
        return path.with_name(f"{path.name}.hash").read_text() == hashlib.sha256(path.read_bytes()).hexdigest()
    except FileNotFoundError:  # made by an engine that took no note
        return True


def _host_file(path: str) -> str:
    try:
        return Path(path).read_text(errors="surrogateescape")
    except FileNotFoundError:
        return ""


def _network_attributes(container: Container, network: NetworkInfo) -> dict[str, str]:
    return {"container": container.id, "name": network.name, "type": network.driver}
