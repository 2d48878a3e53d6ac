"""A client of BuildKit's protocol that does what buildx does with a docker driver, over the same wire."""

from __future__ import annotations

import asyncio
import hashlib
import io
import os
import secrets
import socket
import stat
import tarfile
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from fnmatch import fnmatch
from pathlib import Path
from typing import Any

from grpclib.client import UnaryStreamMethod, UnaryUnaryMethod
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from knarr.buildkit.proto import content_pb2 as content
from knarr.buildkit.proto import control_pb2 as control
from knarr.buildkit.proto import gateway_pb2 as gateway
from knarr.buildkit.proto.bytes_pb2 import BytesMessage
from knarr.buildkit.proto.fsutil_pb2 import Packet, Stat
from knarr.buildkit.proto.secrets_pb2 import GetSecretRequest, GetSecretResponse
from knarr.buildkit.transport import ClientEnd, ServerEnd
from knarr.ignore import Patterns

_KINDS = {stat.S_IFREG: 0, stat.S_IFDIR: 1 << 31, stat.S_IFLNK: 1 << 27}


async def dial(socket_path: Path, path: str, headers: dict[str, str]) -> int:
    """A connection that was upgraded to HTTP/2."""
    connected = socket.socket(socket.AF_UNIX)
    connected.setblocking(False)
    loop = asyncio.get_running_loop()
    await loop.sock_connect(connected, str(socket_path))
    lines = [f"POST {path} HTTP/1.1", "Host: docker", "Connection: Upgrade", "Upgrade: h2c"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    await loop.sock_sendall(connected, "\r\n".join([*lines, "", ""]).encode())
    answer = b""
    while not answer.endswith(b"\r\n\r\n"):
        piece = await loop.sock_recv(connected, 1)
        assert piece, answer
        answer += piece
    assert answer.startswith(b"HTTP/1.1 101 "), answer
    assert b"Upgrade: h2c" in answer
    return connected.detach()


class Files:
    """moby.filesync.v1.FileSync: directories by name. `sent` has the paths whose content was asked for."""

    def __init__(self, directories: dict[str, Path]) -> None:
        self._directories = directories
        self.sent: list[str] = []
        self.requests: list[dict[str, list[str]]] = []

    def __mapping__(self) -> dict[str, Handler]:
        handler = Handler(self._copy, Cardinality.STREAM_STREAM, Packet, Packet)
        return {"/moby.filesync.v1.FileSync/DiffCopy": handler}

    async def _copy(self, stream: Any) -> None:
        wanted = {name: stream.metadata.getall(name) for name in stream.metadata}
        self.requests.append(wanted)
        root = self._directories.get(stream.metadata["dir-name"])
        if root is None:
            raise GRPCError(Status.NOT_FOUND, "no such directory")
        ignored = Patterns(wanted.get("exclude-patterns", []))
        follow = _followed(root, wanted.get("followpaths", []))
        kept = [path for path in _walk(root) if not ignored.excludes(path)]
        needed = {str(parent) for path in kept for parent in Path(path).parents} | set(kept)
        paths = [path for path in _walk(root) if path in needed]
        paths = [path for path in paths if not follow or any(_related(path, each) for each in follow)]
        for path in paths:
            await stream.send_message(Packet(type=Packet.PACKET_STAT, stat=_stat(root, path)))
        await stream.send_message(Packet(type=Packet.PACKET_STAT))
        async for packet in stream:
            if packet.type == Packet.PACKET_FIN:
                await stream.send_message(Packet(type=Packet.PACKET_FIN))
                return
            self.sent.append(paths[packet.ID])
            data = (root / paths[packet.ID]).read_bytes()
            if data:
                await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=packet.ID, data=data))
            await stream.send_message(Packet(type=Packet.PACKET_DATA, ID=packet.ID))


def _related(path: str, wanted: str) -> bool:
    return fnmatch(path, wanted) or path.startswith(wanted + "/") or wanted.startswith(path + "/")


def _followed(root: Path, wanted: list[str]) -> set[str]:
    """The paths, and where the symbolic links on the way to what fits them lead inside of the directory."""
    found: set[str] = set()
    ahead = list(wanted)
    while ahead:
        path = ahead.pop()
        if path in found:
            continue
        found.add(path)
        parts = path.split("/")
        for depth in range(1, len(parts) + 1):
            for link in root.glob("/".join(parts[:depth])):
                if link.is_symlink():
                    target = os.path.join("/", link.relative_to(root).parent, os.readlink(link), *parts[depth:])
                    ahead.append(os.path.normpath(target).lstrip("/"))
    return found


def _walk(root: Path) -> list[str]:
    found = [
        (Path(directory) / name).relative_to(root)
        for directory, directories, files in os.walk(root)
        for name in directories + files
    ]
    return [str(path) for path in sorted(found, key=lambda path: path.parts)]


def _stat(root: Path, path: str) -> Stat:
    info = os.lstat(root / path)
    kind = _KINDS[stat.S_IFMT(info.st_mode)]
    link = os.readlink(root / path) if stat.S_ISLNK(info.st_mode) else ""
    mode = kind | info.st_mode & 0o777
    return Stat(path=path, mode=mode, size=info.st_size, modTime=info.st_mtime_ns, linkname=link)


class Secrets:
    """moby.buildkit.secrets.v1.Secrets."""

    def __init__(self, known: dict[str, bytes]) -> None:
        self._known = known

    def __mapping__(self) -> dict[str, Handler]:
        handler = Handler(self._get, Cardinality.UNARY_UNARY, GetSecretRequest, GetSecretResponse)
        return {"/moby.buildkit.secrets.v1.Secrets/GetSecret": handler}

    async def _get(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.ID not in self._known:
            raise GRPCError(Status.NOT_FOUND, "not found")
        await stream.send_message(GetSecretResponse(data=self._known[request.ID]))


class Received:
    """moby.filesync.v1.FileSend: what exporters send, as a file or (`tree`) as a directory's files by path."""

    def __init__(self, *, tree: bool) -> None:
        self._tree = tree
        self.data = b""
        self.files: dict[str, bytes] = {}
        self.modes: dict[str, int] = {}

    def __mapping__(self) -> dict[str, Handler]:
        kind = Packet if self._tree else BytesMessage
        handler = Handler(self._take, Cardinality.STREAM_STREAM, kind, kind)
        return {"/moby.filesync.v1.FileSend/DiffCopy": handler}

    async def _take(self, stream: Any) -> None:
        if not self._tree:
            async for message in stream:
                self.data += message.data
            return
        names: list[str] = []
        wanted = 0
        while (packet := await stream.recv_message()) is not None and packet.HasField("stat"):
            self.modes[packet.stat.path] = packet.stat.mode
            if not packet.stat.mode >> 19:
                self.files[packet.stat.path] = b""
                await stream.send_message(Packet(type=Packet.PACKET_REQ, ID=len(names)))
                wanted += 1
            names.append(packet.stat.path)
        while wanted:
            packet = await stream.recv_message()
            self.files[names[packet.ID]] += packet.data
            wanted -= not packet.data
        await stream.send_message(Packet(type=Packet.PACKET_FIN))
        assert (await stream.recv_message()).type == Packet.PACKET_FIN

    def archive(self) -> tarfile.TarFile:
        """What came, opened."""
        return tarfile.open(fileobj=io.BytesIO(self.data))


class Content:
    """containerd.services.content.v1.Content: blobs in memory, of one store whose name is not looked at."""

    def __init__(self) -> None:
        self.blobs: dict[str, bytes] = {}

    def __mapping__(self) -> dict[str, Handler]:
        methods = {
            "Info": Handler(self._info, Cardinality.UNARY_UNARY, content.InfoRequest, content.InfoResponse),
            "Read": Handler(
                self._read, Cardinality.UNARY_STREAM, content.ReadContentRequest, content.ReadContentResponse
            ),
            "Write": Handler(
                self._write, Cardinality.STREAM_STREAM, content.WriteContentRequest, content.WriteContentResponse
            ),
        }
        return {f"/containerd.services.content.v1.Content/{name}": method for name, method in methods.items()}

    async def _info(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.digest not in self.blobs:
            raise GRPCError(Status.NOT_FOUND, "not found")
        await stream.send_message(content.InfoResponse(info=content.Info(digest=request.digest)))

    async def _read(self, stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(content.ReadContentResponse(data=self.blobs[request.digest]))

    async def _write(self, stream: Any) -> None:
        data = b""
        async for message in stream:
            assert message.offset == len(data)
            data += message.data
            if message.action == content.COMMIT:
                assert f"sha256:{hashlib.sha256(data).hexdigest()}" == message.expected
                self.blobs[message.expected] = data
            await stream.send_message(content.WriteContentResponse(action=message.action, offset=len(data)))


class Build:
    """What a build has come to. `error` is what was raised, with the status's details in it."""

    def __init__(self) -> None:
        self.ref = secrets.token_hex(12)
        self.response: dict[str, str] = {}
        self.error: GRPCError | None = None
        self.metadata: dict[str, bytes] = {}
        self.status = control.StatusResponse()

    @property
    def image(self) -> str:
        assert self.error is None, self.error
        return self.response["containerimage.config.digest"]

    @property
    def names(self) -> list[str]:
        """The steps, in the order in which they were told of."""
        return list({vertex.digest: vertex.name for vertex in self.status.vertexes}.values())

    @property
    def cached(self) -> list[str]:
        """The steps that were found in the cache."""
        return [vertex.name for vertex in self.status.vertexes if vertex.cached and vertex.HasField("completed")]

    @property
    def log(self) -> str:
        """All output of all steps."""
        return b"".join(log.msg for log in self.status.logs).decode()


class BuildClient:
    """Connected to one engine. Directories, secrets and receivers are those of all its builds."""

    def __init__(self, channel: ClientEnd, socket_path: Path) -> None:
        self.channel = channel
        self._socket_path = socket_path
        self.files = Files({})
        self.directories: dict[str, Path] = {}
        self.secrets: dict[str, bytes] = {}
        self.content = Content()

    @classmethod
    @asynccontextmanager
    async def connected(cls, socket_path: Path) -> AsyncIterator[BuildClient]:
        channel = ClientEnd(await dial(socket_path, "/grpc", {}), lambda: None)
        await channel.open()
        try:
            yield cls(channel, socket_path)
        finally:
            channel.close()

    def unary(self, service: str, name: str, request: Any, reply: type[Any], metadata: Any = ()) -> Any:
        """Call a method."""
        method = UnaryUnaryMethod(self.channel, f"/{service}/{name}", type(request), reply)
        return method(request, metadata=list(metadata))

    async def build(
        self,
        context: Path,
        dockerfile: str = "",
        /,
        *,
        exporter: str = "moby",
        attributes: dict[str, str] | None = None,
        received: Received | None = None,
        watch: Callable[[Build, control.StatusResponse], object] = lambda build, message: None,
        entitlements: tuple[str, ...] = (),
        caches: tuple[tuple[str, dict[str, str]], ...] = (),
        **options: str,
    ) -> Build:
        """As `docker buildx build` does it; `options` are frontend attributes. Failures are in the result."""
        if dockerfile:
            (context / "Dockerfile").write_text(dockerfile)
        self.files = Files({"context": context, "dockerfile": context, **self.directories})
        served: list[Any] = [self.files, Secrets(self.secrets), self.content, *([received] if received else [])]
        session, id = ServerEnd(served), secrets.token_hex(12)
        headers = {"X-Docker-Expose-Session-Uuid": id, "X-Docker-Expose-Session-Sharedkey": str(context)}
        await session.serve(await dial(self._socket_path, "/session", headers))
        build = Build()
        request = control.SolveRequest(
            Ref=build.ref,
            Session=id,
            Exporters=[control.Exporter(Type=exporter, Attrs=attributes or {})] if exporter else [],
            Entitlements=list(entitlements),
            Cache=control.CacheOptions(
                Exports=[control.CacheOptionsEntry(Type=kind, Attrs=settings) for kind, settings in caches]
            ),
        )
        following = asyncio.ensure_future(self._follow(build, watch))
        try:
            await self._solve(build, request, options)
            await following
        finally:
            following.cancel()
            await session.close()
        return build

    async def _solve(self, build: Build, request: control.SolveRequest, options: dict[str, str]) -> None:
        solving = asyncio.ensure_future(self.unary("moby.buildkit.v1.Control", "Solve", request, control.SolveResponse))
        try:
            await self._drive(build, {"filename": "Dockerfile", **options})
            build.response = dict((await solving).ExporterResponse)
        except GRPCError as error:
            build.error = error
        finally:
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)

    async def _drive(self, build: Build, options: dict[str, str]) -> None:
        """Ask the gateway for the Dockerfile's result, and return that, or its failure."""
        service, metadata = "moby.buildkit.v1.frontend.LLBBridge", [("buildkit-controlapi-buildid", build.ref)]
        await self.unary(service, "Ping", gateway.PingRequest(), gateway.PongResponse, metadata)
        wanted = gateway.SolveRequest(Frontend="dockerfile.v0", FrontendOpt=options)
        answer = gateway.ReturnRequest()
        try:
            solved = await self.unary(service, "Solve", wanted, gateway.SolveResponse, metadata)
            answer.result.CopyFrom(solved.result)
            build.metadata = dict(solved.result.metadata)
        except GRPCError as error:
            answer.error.code = error.status.value
            answer.error.message = error.message or ""
            answer.error.details.extend(error.details or [])
        await self.unary(service, "Return", answer, gateway.ReturnResponse, metadata)

    async def _follow(self, build: Build, watch: Callable[[Build, control.StatusResponse], object]) -> None:
        path = "/moby.buildkit.v1.Control/Status"
        method = UnaryStreamMethod(self.channel, path, control.StatusRequest, control.StatusResponse)
        async with method.open() as stream:
            await stream.send_message(control.StatusRequest(Ref=build.ref), end=True)
            async for message in stream:
                build.status.MergeFrom(message)
                watch(build, message)
