"""The classic builder: the stages of a Dockerfile one after the other, instruction by instruction, as dockerd does it.

Every instruction gives an image; its lines of output are those that people and tools have been reading for years.
"""

from __future__ import annotations

import os
import secrets
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from typing import Any

import msgspec

from knarr.build import histories, programs, run_mounts, state, windows
from knarr.build.context import Context
from knarr.build.copying import Copy, Ownership
from knarr.build.interface import Images, Report, Runner, RunStep, StepMount
from knarr.build.options import BuildOptions
from knarr.build.output import Output
from knarr.build.results import Results, Step
from knarr.build.run_mounts import CacheDirectories
from knarr.build.state import State
from knarr.build.threads import finished, in_thread
from knarr.build.transferring import Transferring
from knarr.build.variables import PREDEFINED, Arguments, of_platforms
from knarr.build.workdir import make_directory
from knarr.dockerfile import document, expansion, instructions, reading
from knarr.dockerfile.document import Stage
from knarr.dockerfile.instructions import Instruction
from knarr.errors import CommandFailed, InvalidParameter, KnarrError
from knarr.images import changes, platforms
from knarr.images.image import short
from knarr.storage.layers import LayerStore


class ClassicBuild:
    """One build, to be run once."""

    def __init__(
        self,
        options: BuildOptions,
        context: Context,
        *,
        layers: LayerStore,
        images: Images,
        results: Results,
        runner: Runner,
        caches: CacheDirectories,
        report: Report,
    ) -> None:
        """Raises InvalidParameter for a Dockerfile that makes no sense."""
        self._options = options
        self._context = context
        self._layers = layers
        self._images = images
        self._results = results
        self._runner = runner
        self._caches = caches
        self._report = report
        self._transferring = Transferring(layers, runner, self._tree, context.path)
        self._platform = options.platform or platforms.of_host()
        self._arguments = Arguments(options.arguments, of_platforms(self._platform, platforms.of_host()))
        self._file = document.parse(context.dockerfile)
        self._escape = self._file.directives.escape
        for argument in self._file.arguments:
            self._arguments.add_global(argument, self._escape)
        self._file = self._file.with_bases(self._expander(self._arguments.for_from))
        self._stages = self._file.wanted(self._file.target(options.target))
        self._done: dict[int, State] = {}
        self._current: Stage = self._stages[-1]
        self._step = 0
        self._steps = len(self._file.arguments) + sum(1 + len(stage.instructions) for stage in self._stages)
        self._steps += bool(options.labels)
        self._labels = _labels(options.labels, self._current) if options.labels else None

    async def run(self) -> State:
        """Build the stages that are needed. Raises CommandFailed, InvalidParameter, NotFound, KnarrError."""
        async with AsyncExitStack() as held:
            for argument in self._file.arguments:
                self._announce(argument)
            for stage in self._stages:
                self._done[stage.index] = await self._build(stage, held)
        if unused := self._arguments.unused():
            self._say(f"[Warning] One or more build-args [{' '.join(unused)}] were not consumed\n")
        return self._done[self._current.index]

    async def _build(self, stage: Stage, held: AsyncExitStack) -> State:
        self._current = stage
        self._arguments.begin_stage()
        self._announce(stage.base)
        now, triggers = await self._begin(stage)
        self._hold(now, held)
        if now.id:
            self._say(f" ---> {short(now.id)}\n")
        if triggers:
            self._say(f"# Executing {len(triggers)} build trigger{'s' if len(triggers) > 1 else ''}\n")
        for trigger in triggers:
            now = await self._perform(reading.read_line(trigger, stage.base.location), now)
            self._hold(now, held)
        last = [self._labels] if self._labels is not None and stage is self._stages[-1] else []
        for instruction in [*stage.instructions, *last]:
            self._announce(instruction)
            now = await self._perform(instruction, now)
            self._hold(now, held)
        return now

    def _hold(self, made: State, held: AsyncExitStack) -> None:
        """Keep a result's layers until the build is over, whatever is removed meanwhile."""
        held.enter_context(self._layers.in_use(made.chain))

    async def _begin(self, stage: Stage) -> tuple[State, list[str]]:
        """The state that a stage starts from, and the triggers that come with it."""
        base = stage.base
        earlier = self._file.stage(base.image, stage.index) if not base.image.isdigit() else None
        if earlier is not None:
            done = self._done[earlier.index]
            triggers = done.defaults.on_build
            return msgspec.structs.replace(done, config=_without_triggers(done)), triggers
        if base.image == "scratch":
            return state.scratch(platforms.parse(base.platform) if base.platform else self._platform), []
        wanted = base.platform or str(self._options.platform or "")
        image = await self._images.find(base.image, wanted, self._report)
        return state.of_image(image), image.config.config.on_build

    # -- instructions

    async def _perform(self, instruction: Instruction, now: State) -> State:
        work = self._WORK.get(type(instruction), ClassicBuild._change)
        try:
            made: State = await work(self, instruction, now)
        except OSError as error:  # the disk, or names that no file system takes
            where = f"{error.filename!r}: " if error.filename else ""
            raise KnarrError(f"{instruction.original.split()[0]} failed: {where}{error.strerror}") from error
        self._say(f" ---> {short(made.id)}\n")
        return made

    async def _change(self, instruction: Instruction, now: State) -> State:
        """An instruction that changes the configuration and no file."""
        done = instruction
        if instruction is not self._labels:
            done = changes.expanded(instruction, self._variables(now), self._escape)
        defaults = changes.copy(now.defaults)
        author = None
        if isinstance(done, instructions.Arg):
            self._arguments.add(done)
        elif isinstance(done, instructions.Maintainer):
            author = done.author
        else:
            changes.perform(defaults, done)
        return await self._make(
            Step(before=now, created_by=histories.of_change(done, defaults), defaults=defaults, author=author)
        )

    async def _workdir(self, instruction: instructions.Workdir, now: State) -> State:
        done = changes.expanded(instruction, self._variables(now), self._escape)
        assert isinstance(done, instructions.Workdir)
        defaults = changes.copy(now.defaults)
        if now.config.os == windows.NAME:
            path = windows.enter(defaults, done.path)
        else:
            changes.perform(defaults, done)
            path = defaults.working_dir
        step = Step(before=now, created_by=histories.of_change(done, defaults), defaults=defaults)
        return await self._make(step, lambda: make_directory(self._layers, now.chain, path))

    async def _transfer(self, instruction: instructions.Copy | instructions.Add, now: State) -> State:
        variables = self._variables(now)
        done = instructions.expanded(instruction, self._expander(variables))
        keyword = "COPY" if isinstance(instruction, instructions.Copy) else "ADD"
        async with AsyncExitStack() as stack:

            def expand(text: str) -> str:
                return expansion.expand_document(text, variables, self._escape)

            transfer = await self._transferring.prepare(await self._placed(done, now), now, expand, stack)
            what = f"{transfer.kind}:{await in_thread(transfer.digest)}"
            created_by = histories.of_files(keyword, now.defaults, what, done.destination, done.chown, done.chmod)
            step = Step(before=now, created_by=created_by, defaults=now.defaults)
            return await self._make(step, lambda: self._layers.make(now.chain, transfer, transfer.names()))

    async def _placed(
        self, instruction: instructions.Copy | instructions.Add, now: State
    ) -> instructions.Copy | instructions.Add:
        """By where layers have the files, which in images for Windows is not where containers do."""
        if isinstance(instruction, instructions.Copy) and instruction.from_stage:
            source = await self._named(instruction.from_stage)
            instruction = windows.taken(instruction) if source.config.os == windows.NAME else instruction
        return windows.placed(instruction, now.defaults.working_dir) if now.config.os == windows.NAME else instruction

    async def _make(self, step: Step, make_layer: Callable[[], Any] = lambda: None) -> State:
        found = await in_thread(self._results.find, step)
        if found is not None:
            self._say(" ---> Using cache\n")
            return found
        return await in_thread(self._results.add, step, make_layer)

    async def _run(self, instruction: instructions.Run, now: State) -> State:
        windows.check_run(now.config.os)
        args, files = programs.arguments(instruction, now.defaults)
        variables = self._variables(now)
        own = changes.variables(now.defaults.env)
        given = {name: value for name, value in self._arguments.in_scope().items() if name not in own}
        shown = {name: value for name, value in given.items() if name not in PREDEFINED}
        mounts = [mount.expanded(self._expander(variables)) for mount in instruction.mounts]
        async with AsyncExitStack() as stack:
            encoded = msgspec.json.encode([args, shown, files, instruction.network, instruction.security, mounts])
            inputs = (encoded.decode(), *[await self._tree_id(mount.from_stage) for mount in mounts])
            created_by = histories.of_command(args, shown)
            step = Step(before=now, created_by=created_by, defaults=now.defaults, inputs=inputs)
            found = await in_thread(self._results.find, step)
            if found is not None:
                self._say(" ---> Using cache\n")
                return found
            points = await run_mounts.enter(mounts, now.defaults.working_dir, self._caches, self._tree, stack)
            points += [self._script(path, text) for path, text in files.items()]
            environment = [f"{name}={value}" for name, value in (given | self._arguments.proxies()).items()]
            return await self._execute(
                step,
                RunStep(
                    id=new_id(),
                    args=args,
                    env=[*now.defaults.env, *environment],
                    user=now.defaults.user,
                    working_dir=now.defaults.working_dir,
                    labels=now.defaults.labels,
                    network=instruction.network,
                    insecure=instruction.security == "insecure",
                    mounts=points,
                ),
            )

    async def _execute(self, step: Step, run: RunStep) -> State:
        layers, name = self._layers, run.id[:12]
        places = [os.fsencode(mount.target.lstrip("/")) for mount in run.mounts]
        await in_thread(lambda: layers.create_root(run.id, step.before.chain, volatile=True))
        try:
            self._say(f" ---> Running in {name}\n")
            with Output(self._report) as output:
                code = await self._runner.run(run, output.write)
            if code:
                command = " ".join(run.args)
                raise CommandFailed(f"The command '{command}' returned a non-zero code: {code}", code)
            made = await in_thread(self._results.add, step, lambda: layers.commit_root(run.id, places))
        finally:
            await finished(in_thread(layers.remove_root, run.id))
        self._say(f"Removing intermediate container {name}\n")
        return made

    def _script(self, path: str, text: str) -> StepMount:
        file = self._context.path / f"script-{secrets.token_hex(4)}"
        file.write_text(text)
        file.chmod(0o755)
        return StepMount(target=path, source=str(file), readonly=True)

    # -- trees that instructions take files from

    async def _tree(self, name: str, stack: AsyncExitStack) -> int:
        """The root of a stage, an image, or the context for ""; open as long as `stack`. Raises NotFound."""
        if not name:
            return self._context.root_fd
        return stack.enter_context(self._layers.view((await self._named(name)).chain))

    async def _named(self, name: str) -> State:
        earlier = self._file.stage(name, self._current.index)
        if earlier is not None:
            return self._done[earlier.index]
        if name.isdigit():
            raise InvalidParameter(f"invalid from flag value {name}: there is no such stage before this one")
        return state.of_image(await self._images.find(name, "", self._report))

    async def _tree_id(self, name: str) -> str:
        """What a tree's content is known by."""
        if name:
            return (await self._named(name)).id
        everything = Copy(Ownership((0, 0)))

        def digest() -> str:
            everything.add_tree(self._context.root_fd, "", b"")
            return everything.digest()

        return await in_thread(digest)

    # -- variables and words

    def _variables(self, now: State) -> dict[str, str]:
        return self._arguments.in_scope() | changes.variables(now.defaults.env)

    def _expander(self, variables: dict[str, str]) -> Callable[[str], str]:
        return lambda word: expansion.expand(word, variables, self._escape)

    def _announce(self, instruction: Instruction) -> None:
        self._step += 1
        self._say(f"Step {self._step}/{self._steps} : {instruction.original.strip()}")
        self._say("\n")

    def _say(self, text: str) -> None:
        self._report({"stream": text})

    _WORK: dict[type[Instruction], Callable[..., Awaitable[State]]] = {  # noqa: RUF012
        instructions.Add: _transfer,
        instructions.Copy: _transfer,
        instructions.Run: _run,
        instructions.Workdir: _workdir,
    }


def _labels(labels: dict[str, str], stage: Stage) -> instructions.Label:
    """The labels that the client wants on the image, as a last instruction, whose texts are as they are."""
    pairs = sorted(labels.items())
    text = "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
    return instructions.Label(original=text, location=stage.base.location, pairs=pairs)


def _without_triggers(done: State) -> Any:
    defaults = changes.copy(done.defaults)
    defaults.on_build = []
    return msgspec.structs.replace(done.config, config=defaults)


def new_id() -> str:
    """An id for a step. As for containers: its short form is never a number, which a host name may not be."""
    while (id := secrets.token_hex(32))[:12].isdecimal():
        pass
    return id
