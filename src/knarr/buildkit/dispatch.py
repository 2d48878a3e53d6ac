"""From a Dockerfile to a graph: its instructions carried out on image configurations, and operations for the rest."""

from __future__ import annotations

import posixpath
from dataclasses import dataclass, field, replace
from difflib import get_close_matches
from typing import Protocol

import msgspec

from knarr.build import programs, state, variables, windows
from knarr.build.variables import PREDEFINED, Arguments
from knarr.buildkit import naming
from knarr.buildkit.failures import located
from knarr.buildkit.filesync import Selection
from knarr.buildkit.graph import Base, LocalDirectory, MakeDirectory, MountedInput, Operation, Run, Transfer
from knarr.buildkit.options import Options
from knarr.dockerfile import expansion, instructions, reading
from knarr.dockerfile.document import Dockerfile, Stage
from knarr.dockerfile.instructions import Add, Arg, Copy, Instruction
from knarr.dockerfile.locations import DockerfileError
from knarr.dockerfile.run_mounts import RunMount
from knarr.dockerfile.values import boolean
from knarr.errors import InvalidParameter, KnarrError
from knarr.images import changes, platforms
from knarr.images.config import ContainerDefaults, HistoryEntry, ImageConfig
from knarr.images.platforms import Platform

COMMENT = "buildkit.dockerfile.v0"
_SCAN_CONTEXT = "BUILDKIT_SBOM_SCAN_CONTEXT"
_SCAN_STAGE = "BUILDKIT_SBOM_SCAN_STAGE"


@dataclass
class Layer:
    """A step of an image's history, and the operation that made its layer, if it made one."""

    entry: HistoryEntry
    operation: Operation | None = None


@dataclass
class Outcome:
    """What a stage has come to: a file system (None: an empty one), an image's settings, and how it was made."""

    head: Operation | None
    config: ImageConfig
    platform: Platform
    layers: list[Layer] = field(default_factory=list)
    arguments: dict[str, str | None] = field(default_factory=dict)
    """Those that stages which stand on this one have too."""

    def copy(self) -> Outcome:
        """One to go on from."""
        config = msgspec.structs.replace(self.config, config=changes.copy(self.config.config))
        return Outcome(self.head, config, self.platform, list(self.layers), dict(self.arguments))


class Sources(Protocol):
    """What a build finds outside its Dockerfile."""

    def context(self, name: str, platform: Platform) -> str | None:
        """The named context that stands for a stage or an image, if the client has given one."""
        ...

    async def image(self, name: str, platform: Platform) -> Outcome:
        """An image, or what the client has put in its place. Raises NotFound, InvalidParameter."""
        ...


class Dispatcher:
    """Carries out one Dockerfile for one platform."""

    def __init__(
        self, dockerfile: Dockerfile, options: Options, sources: Sources, context: ContextPaths, target: Platform
    ) -> None:
        self._options = options
        self._sources = sources
        self._context = context
        self._target = target
        self._escape = dockerfile.directives.escape
        self.arguments = Arguments(options.build_args, variables.of_platforms(target, platforms.of_host()))
        for argument in dockerfile.arguments:
            self.arguments.add_global(argument, self._escape)
        self._dockerfile = dockerfile.with_bases(
            lambda word: expansion.expand(word, self.arguments.for_from, self._escape)
        )
        for raw, stage in zip(dockerfile.stages, self._dockerfile.stages, strict=True):
            if raw.base.platform and not stage.base.platform:
                empty = InvalidParameter(f"empty platform value from expression {raw.base.platform}")
                raise located(empty, raw.base.location)
        self._done: dict[int, Outcome] = {}
        self.scanned: dict[str, Operation | None] = {}
        """File systems besides the result's that a bill of materials is to tell of, once `run` is done."""
        self.stage = self._dockerfile.stages[-1] if not options.target else self._target_stage(options.target)

    def _target_stage(self, name: str) -> Stage:
        found = self._dockerfile.stage(name)
        if found is None:
            close = get_close_matches(name, [each.base.name for each in self._dockerfile.stages], n=1, cutoff=0.7)
            hint = f" (did you mean {close[0]}?)" if close else ""
            raise InvalidParameter(f'target stage "{name}" could not be found{hint}')
        return found

    def stages(self) -> list[Stage]:
        """Those that the target needs."""
        return self._dockerfile.wanted(self.stage)

    def platform_of(self, stage: Stage) -> Platform:
        """The platform that a stage is built for."""
        return platforms.parse(stage.base.platform) if stage.base.platform else self._target

    def base_images(self) -> list[tuple[str, Platform]]:
        """The images that stages begin with, so that they can be looked for all at once."""
        wanted = []
        for stage in self.stages():
            name = stage.base.image
            if name.lower() != "scratch" and self._dockerfile.stage(name, stage.index) is None:
                wanted.append((name, self.platform_of(stage)))
        return wanted

    @property
    def all_stages(self) -> list[Stage]:
        """Those of the whole file, the variables in their FROMs replaced."""
        return self._dockerfile.stages

    @property
    def target(self) -> Platform:
        """The platform that is built for."""
        return self._target

    async def base_of(self, stage: Stage) -> Outcome | None:
        """What a stage begins with, None if that is another one. Raises KnarrError."""
        name = stage.base.image
        if self._dockerfile.stage(name, stage.index) is not None:
            return None
        if name.lower() == "scratch":
            return self._nothing(stage)
        return await self._sources.image(name, self.platform_of(stage))

    async def run(self) -> Outcome:
        """The target's outcome. Raises KnarrError, DockerfileError where the Dockerfile is at fault."""
        prefix = self._options.multi_platform
        for stage in self.stages():
            replaced = stage.base.name and self._sources.context(stage.base.name, self._target)
            if replaced:
                self._done[stage.index] = await self._sources.image(stage.base.name, self._target)
                continue
            outcome = await self._begin(stage)
            alone = len(self._dockerfile.stages) == 1
            names = naming.StepNames(
                "" if alone else stage.base.name or f"stage-{stage.index}", prefix, outcome.platform
            )
            await _StageRun(self, stage, outcome, names).run()
            self._done[stage.index] = outcome
            self._note_scans(stage, outcome)
        outcome = self._done[self.stage.index]
        outcome.config.config.labels.update(self._options.labels)
        return outcome

    def _note_scans(self, stage: Stage, outcome: Outcome) -> None:
        """What a bill of materials is to tell of besides the result (BuildKit's docs/attestations/sbom.md)."""
        if self._options.attestations.sbom is None:
            return
        given = {**self.arguments.for_from, **self.arguments.in_scope()}
        is_target = stage.index == self.stage.index
        if is_target and _enabled(given.get(_SCAN_CONTEXT, ""), stage.name):
            self.scanned["context"] = self._context.use(["."])
        if not is_target and outcome.head is not None and _enabled(given.get(_SCAN_STAGE, ""), stage.name):
            self.scanned[stage.name] = outcome.head

    async def _begin(self, stage: Stage) -> Outcome:
        name = stage.base.image
        found = self._dockerfile.stage(name, stage.index) if not name.isdigit() else None
        if found is not None:
            return self._done[found.index].copy()
        platform = self.platform_of(stage)
        if name.lower() == "scratch":
            return self._nothing(stage)
        try:
            outcome = (await self._sources.image(name, platform)).copy()
        except DockerfileError:
            raise
        except KnarrError as error:
            raise located(error, stage.base.location) from error
        if isinstance(outcome.head, Base):  # one of this stage's own, which has its own name
            outcome.head = replace(outcome.head)
        return outcome

    def _nothing(self, stage: Stage) -> Outcome:
        platform = self.platform_of(stage)
        return Outcome(None, state.scratch(platform).config, platform)

    async def source(self, name: str, stage: Stage) -> Operation | None:
        """The files that `--from=name` in a stage means: as `outcome`."""
        found = await self.outcome(name, stage)
        return None if found is None else found.head

    async def outcome(self, name: str, stage: Stage) -> Outcome | None:
        """What `--from=name` in a stage means: a stage before it, a named context or an image."""
        if self._sources.context(name, self._target) is None:
            found = self._dockerfile.stage(name, stage.index)
            if found is not None:
                return self._done[found.index]
            if name.lower() == "scratch":
                return None
        return await self._sources.image(name, self._target)

    @property
    def options(self) -> Options:
        """The build's settings."""
        return self._options

    @property
    def escape(self) -> str:
        """The Dockerfile's escape character."""
        return self._escape

    @property
    def context(self) -> ContextPaths:
        """The build context."""
        return self._context


def _enabled(value: str, stage: str) -> bool:
    """Whether a boolean says so, or a list of stages."""
    try:
        return boolean(value) if value else False
    except InvalidParameter:
        return stage in value.split(",")


class ContextPaths:
    """The build context as an operation, and which of its paths are wanted: known only when all stages are done."""

    def __init__(self, operation: Operation | None) -> None:
        self.operation = operation
        self._paths: set[str] = set()
        self._all = False

    def use(self, paths: list[str]) -> Operation | None:
        """The context, of which these paths are used."""
        for path in paths:
            clean = posixpath.normpath("/" + path).lstrip("/")
            if not clean or "**" in path or "/./" in path:
                self._all = True
            self._paths.add(clean)
        return self.operation

    def select(self, ignored: tuple[str, ...]) -> None:
        """All paths are known; `ignored` are patterns for what is never wanted."""
        if isinstance(self.operation, LocalDirectory):
            follow = () if self._all else tuple(sorted(self._paths))
            self.operation.selection = Selection(exclude=ignored, follow=follow)


class _StageRun:
    """One stage while its instructions are carried out, on an outcome that is changed."""

    def __init__(self, dispatcher: Dispatcher, stage: Stage, outcome: Outcome, names: naming.StepNames) -> None:
        self._dispatcher = dispatcher
        self._stage = stage
        self._outcome = outcome
        self._names = names
        self._arguments = dispatcher.arguments
        self._arguments.begin_stage(outcome.arguments)
        self._ignore_cache = dispatcher.options.skips_cache(stage.name)

    @property
    def _config(self) -> ContainerDefaults:
        return self._outcome.config.config

    async def run(self) -> None:
        todo = self._triggers() + self._stage.instructions
        steps = sum(isinstance(each, (instructions.Run, Add, Copy, instructions.Workdir)) for each in todo)
        base = self._outcome.head
        named = isinstance(base, Base) and not base.name
        self._names.count(steps + named)
        if isinstance(base, Base) and named:
            base.name = self._names.next(f"FROM {base.reference}")
        for instruction in todo:
            try:
                await self._carry_out(instruction)
            except DockerfileError:
                raise
            except KnarrError as error:
                raise located(error, instruction.location) from error
        self._outcome.arguments = self._arguments.of_stage()

    def _triggers(self) -> list[Instruction]:
        triggers, self._config.on_build = self._config.on_build, []
        return [reading.read_line(text, self._stage.base.location) for text in triggers]

    def _variables(self) -> dict[str, str]:
        return {**self._arguments.in_scope(), **changes.variables(self._config.env)}

    def _expand(self, word: str) -> str:
        return expansion.expand(word, self._variables(), self._dispatcher.escape)

    async def _carry_out(self, instruction: Instruction) -> None:
        expanded = changes.expanded(instruction, self._variables(), self._dispatcher.escape)
        if isinstance(expanded, instructions.Run):
            await self._run(expanded)
        elif isinstance(expanded, (Copy, Add)):
            await self._transfer(expanded)
        elif isinstance(expanded, instructions.Workdir):
            self._workdir(expanded)
        elif isinstance(expanded, Arg):
            self._argument(expanded)
        else:
            if isinstance(expanded, instructions.Maintainer):
                self._outcome.config.author = expanded.author
            if isinstance(expanded, instructions.Entrypoint) and not self._sets_command():
                self._config.cmd = []
            changes.perform(self._config, expanded)
            self._note(naming.history(expanded, self._config))

    def _sets_command(self) -> bool:
        """Whether a CMD of this stage comes before: the base image's belongs to the base image's entry point."""
        return any(layer.entry.created_by.startswith("CMD ") for layer in self._outcome.layers)

    def _note(self, created_by: str, operation: Operation | None = None) -> None:
        entry = HistoryEntry(created_by=created_by, comment=COMMENT, empty_layer=operation is None)
        self._outcome.layers.append(Layer(entry, operation))

    def _add(self, operation: Operation, created_by: str) -> None:
        operation.ignore_cache = self._ignore_cache
        self._outcome.head = operation
        self._note(created_by, operation)

    def _argument(self, instruction: Arg) -> None:
        self._arguments.add(instruction)
        values = self._arguments.in_scope()
        texts = [f"{name}={values[name]}" if name in values else name for name, _ in instruction.names]
        self._note(f"ARG {' '.join(texts)}")

    def _workdir(self, instruction: instructions.Workdir) -> None:
        if self._outcome.config.os == windows.NAME:
            path = windows.enter(self._config, instruction.path)
        else:
            changes.perform(self._config, instruction)
            path = self._config.working_dir
        operation = MakeDirectory(
            name=self._names.next(f"WORKDIR {instruction.path}"),
            location=instruction.location,
            parent=self._outcome.head,
            path=path,
            user=self._config.user,
        )
        self._add(operation, f"WORKDIR {self._config.working_dir}")

    async def _transfer(self, instruction: Copy | Add) -> None:
        values = self._variables()
        documents = [
            msgspec.structs.replace(
                each,
                content=expansion.expand_document(each.text, values, self._dispatcher.escape)
                if each.expand
                else each.text,
                chomp=False,
                expand=False,
            )
            for each in instruction.documents
        ]
        shown = naming.shown(instruction)
        sources = [each if naming.is_remote(each) else _kept_inside(each) for each in instruction.sources]
        instruction = msgspec.structs.replace(instruction, documents=documents, sources=sources)
        source: Operation | None = None
        local = [each for each in instruction.sources if not (isinstance(instruction, Add) and naming.is_remote(each))]
        if isinstance(instruction, Copy) and instruction.from_stage:
            origin = await self._dispatcher.outcome(instruction.from_stage, self._stage)
            source = None if origin is None else origin.head
            if origin is not None and origin.config.os == windows.NAME:
                instruction = windows.taken(instruction)
        elif local:
            source = self._dispatcher.context.use(local)
        if self._outcome.config.os == windows.NAME:
            instruction = windows.placed(instruction, self._config.working_dir)
        operation = Transfer(
            name=self._names.next(shown),
            location=instruction.location,
            parent=self._outcome.head,
            instruction=instruction,
            source=source,
            directory=self._config.working_dir or "/",
        )
        self._add(operation, f"{shown} # buildkit")

    async def _run(self, instruction: instructions.Run) -> None:
        options = self._dispatcher.options
        arguments, files = programs.arguments(instruction, self._config)
        in_scope = self._arguments.in_scope()
        given = {name: value for name, value in in_scope.items() if name not in PREDEFINED}
        own = changes.variables(self._config.env)
        environment = [*self._config.env, *(f"{name}={value}" for name, value in given.items() if name not in own)]
        operation = Run(
            name=self._names.next(naming.shown_run(instruction)),
            location=instruction.location,
            parent=self._outcome.head,
            arguments=arguments,
            environment=environment,
            proxies=self._arguments.proxies() | {name: value for name, value in in_scope.items() if name in PREDEFINED},
            directory=self._config.working_dir or "/",
            user=self._config.user,
            network=instruction.network if instruction.network != "default" else options.network,
            insecure=instruction.security == "insecure",
            mounts=[await self._mount(each) for each in instruction.mounts],
            scripts=files,
            platform=self._outcome.platform,
            cache_namespace=options.build_args.get("BUILDKIT_CACHE_MOUNT_NS", ""),
            shown=" ".join(arguments),
        )
        self._add(operation, naming.run_history(arguments, given))

    async def _mount(self, mount: RunMount) -> MountedInput:
        mount = mount.expanded(self._expand)
        if mount.kind not in ("bind", "cache"):
            return MountedInput(mount=mount)
        if mount.from_stage:
            return MountedInput(mount=mount, source=await self._dispatcher.source(mount.from_stage, self._stage))
        if mount.kind == "cache":
            return MountedInput(mount=mount)
        return MountedInput(mount=mount, source=self._dispatcher.context.use([mount.source]))


def _kept_inside(source: str) -> str:
    """A source that would lead above the root of its tree stays at the root, as in any file system."""
    return posixpath.normpath(f"/{source}").lstrip("/") or "." if ".." in source.split("/") else source
