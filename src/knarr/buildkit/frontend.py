"""The Dockerfile frontend: reads a Dockerfile from the client, finds images, and gives a graph for each platform."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable, Callable, Mapping
from contextlib import suppress
from pathlib import Path

from knarr import ignore
from knarr.build.interface import Images
from knarr.build.threads import in_thread
from knarr.buildkit import linting, llb, options, progress, subrequests
from knarr.buildkit.attestations import sbom
from knarr.buildkit.attestations.statements import Attestation
from knarr.buildkit.attestations.steps import SourceFile
from knarr.buildkit.bases import Bases, FindLayout, Remotes, local_directory
from knarr.buildkit.builds import Build
from knarr.buildkit.caches.importing import ImportedCache
from knarr.buildkit.caches.places import Place
from knarr.buildkit.dispatch import ContextPaths, Dispatcher, Outcome
from knarr.buildkit.evaluation import Evaluation
from knarr.buildkit.failures import detailed
from knarr.buildkit.filesync import Files, Selection, receive
from knarr.buildkit.graph import FetchedDirectory, LocalDirectory
from knarr.buildkit.options import CacheSource, Options
from knarr.buildkit.proto import gateway_pb2, ops_pb2
from knarr.buildkit.remote import is_upload
from knarr.buildkit.results import Result, Target
from knarr.buildkit.sessions import Session, Sessions
from knarr.dockerfile import document
from knarr.dockerfile.document import Dockerfile, Stage
from knarr.dockerfile.locations import DockerfileError
from knarr.dockerfile.rules import Finding
from knarr.errors import KnarrError, NotFound, Unsupported
from knarr.images import platforms
from knarr.images.config import ContainerDefaults
from knarr.images.platforms import Platform
from knarr.kernel import paths

_IGNORE_NAME = ".dockerignore"
_FRONTENDS = ("dockerfile.v0", "gateway.v0")
_LIMIT = 16 << 20  # bytes of a Dockerfile


FindPlace = Callable[[Build, str, Mapping[str, str], str], Awaitable[Place]]
"""The place of a cache by its type and attributes, for "pull" or "pull,push". Raises Unsupported, InvalidParameter."""


class DockerfileFrontend:
    """Implements results.Frontend. `begin` makes the evaluation of one build's graphs, `images` finds its images."""

    def __init__(
        self,
        sessions: Sessions,
        images: Callable[[Build, Options], Images],
        begin: Callable[[Build, Options], Evaluation],
        place: FindPlace,
        layout: FindLayout,
        scratch: Path,
    ) -> None:
        """`place` finds the places of caches, `scratch` is a directory for what is fetched for single builds."""
        self._place = place
        self._layout = layout
        self._scratch = scratch
        self._sessions = sessions
        self._images = images
        self._begin = begin
        self._targets: dict[str, Target] = {}

    async def solve(self, build: Build, request: gateway_pb2.SolveRequest) -> Result:
        """See results.Frontend."""
        if request.HasField("Definition") and not request.Frontend:
            id = llb.target(request.Definition)
            return Result({"": build.target(id)} if id else {})
        if request.Frontend not in _FRONTENDS:
            raise Unsupported(f"frontend {request.Frontend} is not supported")
        wanted = options.read(request.FrontendOpt)
        inputs = {name: llb.target(each) for name, each in request.FrontendInputs.items()}
        known = {name: self._known(id) for name, id in inputs.items()}
        remotes = Remotes(build, wanted, self._sessions, self._scratch)
        bases = Bases(build, wanted, self._images(build, wanted), known, self._layout, remotes)
        run = _Run(build, wanted, self._sessions, bases, remotes, self._place, self._scratch)
        result = await run.solve(self._begin(build, wanted))
        for target in result.targets.values():
            self._targets[target.id] = target
        build.on_end(lambda: self._forget(list(result.targets.values())))
        return result

    def _forget(self, targets: list[Target]) -> None:
        for target in targets:
            del self._targets[target.id]

    def _known(self, id: str) -> Target:
        if id not in self._targets:
            raise NotFound(f"no such build result: {id}")
        return self._targets[id]


class _Run:
    """One request."""

    def __init__(
        self,
        build: Build,
        wanted: Options,
        sessions: Sessions,
        bases: Bases,
        remotes: Remotes,
        place: FindPlace,
        scratch: Path,
    ) -> None:
        self._build = build
        self._options = wanted
        self._sessions = sessions
        self._bases = bases
        self._remotes = remotes
        self._find_place = place
        self._scratch = scratch
        self._source = ops_pb2.SourceInfo()
        self._vertex = ""
        self._ignored: bytes | None = None

    async def solve(self, evaluation: Evaluation) -> Result:
        if self._options.request:
            return Result(metadata=await self._answer(self._options.request))
        evaluation.imports += await self._import_caches()
        remote = await self._fetch() if self._options.context else None
        text = await self._dockerfile(remote)
        try:
            dockerfile = self._parsed(text)
            targets = self._options.platforms or [platforms.of_host()]
            context = ContextPaths(remote or self._local_context())
            dispatchers = [Dispatcher(dockerfile, self._options, self._bases, context, target) for target in targets]
            wanted = {each for dispatcher in dispatchers for each in dispatcher.base_images()}
            ignored, _ = await asyncio.gather(self._ignore_patterns(remote), self._bases.find_all(wanted))
            self._check(await self._findings(dockerfile, dispatchers[0], dispatchers[0].stages(), ignored), dockerfile)
            outcomes = [await dispatcher.run() for dispatcher in dispatchers]
            scans = [await self._scan(*each) for each in zip(outcomes, dispatchers, strict=True)]
        except KnarrError as error:
            raise detailed(error, self._source) from error
        context.select(ignored)
        made = zip(targets, outcomes, scans, strict=True)
        return Result({self._name(each[0]): self._target(*each, evaluation) for each in made})

    @staticmethod
    def _parsed(text: str) -> Dockerfile:
        dockerfile = document.parse(text, unique_names=False)
        options.check_frontend(dockerfile.directives.syntax)
        return dockerfile

    # Checks, and what else there is to be known of a Dockerfile

    async def _answer(self, request: str) -> dict[str, bytes]:
        """To one of `subrequests`."""
        if request == subrequests.DESCRIBE:
            return subrequests.describe()
        remote = await self._fetch() if self._options.context else None
        text = await self._dockerfile(remote)
        try:
            dockerfile = self._parsed(text)
            target = (self._options.platforms or [platforms.of_host()])[0]
            dispatcher = Dispatcher(dockerfile, self._options, self._bases, ContextPaths(remote), target)
            match request:
                case subrequests.LINT:
                    ignored, _ = await asyncio.gather(
                        self._ignore_patterns(remote), self._bases.find_all(dispatcher.base_images())
                    )
                    findings = await self._findings(dockerfile, dispatcher, dispatcher.all_stages, ignored)
                    return subrequests.lint(findings, self._source)
                case subrequests.OUTLINE:
                    return subrequests.outline(dockerfile, dispatcher, self._options.build_args)
                case subrequests.TARGETS:
                    return subrequests.targets(dockerfile)
        except DockerfileError as error:
            if request == subrequests.LINT:
                return subrequests.lint([], self._source, error)
            raise detailed(error, self._source) from error
        raise Unsupported(f"unsupported request {request}")

    async def _findings(
        self, dockerfile: Dockerfile, dispatcher: Dispatcher, stages: list[Stage], ignored: tuple[str, ...]
    ) -> list[Finding]:
        """What stages do not keep of the rules. Images that cannot be had are told of by who needs them."""
        bases: dict[int, ContainerDefaults] = {}
        others: list[Finding] = []
        for stage in stages:
            with suppress(KnarrError):
                base = await dispatcher.base_of(stage)
                if base is not None:
                    bases[stage.index] = base.config.config
                    others += linting.of_platform(stage, base.config, dispatcher.platform_of(stage))
        found = linting.check(dockerfile, stages, self._options, dispatcher.target, bases, ignored)
        settings = linting.settings(dockerfile, self._options)
        return found + [each for each in others if settings.applies(each.rule)]

    def _check(self, findings: list[Finding], dockerfile: Dockerfile) -> None:
        """Tell of them. Raises DockerfileError if the Dockerfile wants that."""
        for each in findings:
            self._build.progress.warn(linting.warning(each, self._source, self._vertex))
        if findings and linting.settings(dockerfile, self._options).fail:
            raise linting.failure(findings)

    async def _scan(self, outcome: Outcome, dispatcher: Dispatcher) -> Outcome | None:
        """The bill of materials of an outcome, if one is asked for."""
        scanner = self._options.attestations.sbom
        if scanner is None:
            return None
        return sbom.scan(
            await self._bases.registered(scanner, platforms.of_host()), scanner, outcome, dispatcher.scanned
        )

    async def _import_caches(self) -> list[ImportedCache]:
        """The caches that can be read. As with BuildKit others are no failure: they are shown as what they are."""
        self._scratch.mkdir(mode=0o700, parents=True, exist_ok=True)
        found = await asyncio.gather(*(self._import_cache(cache) for cache in self._options.caches))
        return [cache for caches in found for cache in caches]

    async def _import_cache(self, cache: CacheSource) -> list[ImportedCache]:
        what = cache.attrs.get("ref") or cache.attrs.get("src") or cache.type
        title = f"importing cache manifest from {what}"
        vertex = self._build.progress.vertex(progress.digest(self._build.ref, title), title)
        vertex.start()
        try:
            place = await self._find_place(self._build, cache.type, cache.attrs, "pull")
            imported = await ImportedCache.open(place, self._scratch)
        except (KnarrError, OSError) as error:
            vertex.complete(error=str(error))
            return []
        vertex.complete()
        return imported

    async def _fetch(self) -> FetchedDirectory:
        """A context that is no directory of the client's."""
        address = self._options.context
        title = "load remote build context" if is_upload(address) else f"load source {address}"
        return await self._remotes.fetch(address, f"[internal] {title}")

    def _local_context(self) -> LocalDirectory:
        title = "[internal] load build context"
        return local_directory(self._build, self._options, self._options.context_name, title)

    def _name(self, platform: Platform) -> str:
        return str(platform) if self._options.multi_platform else ""

    def _target(self, platform: Platform, outcome: Outcome, scan: Outcome | None, evaluation: Evaluation) -> Target:
        async def evaluate() -> str | None:
            try:
                return await evaluation.layers_of(outcome)
            except KnarrError as error:
                raise detailed(error, self._source) from error

        async def scanned() -> list[Attestation]:
            if scan is None:
                return []
            return await in_thread(sbom.statements, evaluation.layers, await evaluation.layers_of(scan))

        file = SourceFile(self._source.filename, self._source.data)
        return Target(
            secrets.token_hex(16), platform, outcome, evaluate, lambda: evaluation.results, self._options, file, scanned
        )

    # What the client has

    async def _session(self, directory: str) -> Session:
        return await self._sessions.get(self._options.sessions.get(directory) or self._build.request.Session)

    async def _read(self, title: str, what: str, directory: str, names: list[str]) -> Files:
        """A few files of one of the client's directories."""
        files = Files()
        vertex = self._build.progress.vertex(progress.digest(self._build.ref, title), f"[internal] {title}")
        vertex.start()
        received = 0

        def count(size: int) -> None:
            nonlocal received
            received += size

        try:
            session = await self._session(directory)
            await receive(session, directory, Selection(follow=tuple(names)), files, count)
        except KnarrError as error:
            vertex.complete(error=str(error))
            raise
        vertex.status(f"transferring {what}:", received, completed=True)
        vertex.complete()
        return files

    async def _dockerfile(self, remote: FetchedDirectory | None) -> str:
        name = self._options.filename
        wanted = [name, f"{name}.dockerignore", name.lower()]
        if remote is not None and not self._options.own_dockerfile:
            data = await in_thread(_read_remote, remote.directory.root_fd, name)
        else:
            title = f"load build definition from {name}"
            self._vertex = progress.digest(self._build.ref, title)
            files = await self._read(title, "dockerfile", self._options.dockerfile_name, wanted)
            if not files.has(name) and files.has(name.lower()):
                name = name.lower()
            try:
                data = files.read(name)
            except NotFound as error:
                raise NotFound(f"failed to read dockerfile: {error}") from error
            own = f"{name}.dockerignore"
            self._ignored = files.read(own) if files.has(own) else None
        self._source = ops_pb2.SourceInfo(filename=name, data=data, language="Dockerfile")
        return data.decode("utf-8", "replace")

    async def _ignore_patterns(self, remote: FetchedDirectory | None) -> tuple[str, ...]:
        """What of the context is not to be sent."""
        data = self._ignored
        if data is None and remote is None:
            files = await self._read("load .dockerignore", "context", self._options.context_name, [_IGNORE_NAME])
            data = files.read(_IGNORE_NAME) if files.has(_IGNORE_NAME) else None
        return tuple(ignore.read((data or b"").decode("utf-8", "replace")))


def _read_remote(root_fd: int, name: str) -> bytes:
    """The Dockerfile of a fetched context. Raises NotFound."""
    try:
        return paths.read_regular(root_fd, name, _LIMIT)
    except OSError as error:
        words = (error.strerror or "").lower()
        raise NotFound(f"failed to read dockerfile: open {name}: {words}") from error
