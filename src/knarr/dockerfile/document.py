"""A whole Dockerfile: the arguments before the first FROM, its stages, and which of them need which."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import cached_property

from knarr.dockerfile import instructions, reading, statements
from knarr.dockerfile.directives import Directives
from knarr.dockerfile.instructions import Arg, Copy, From, Instruction, Run
from knarr.dockerfile.locations import DockerfileError
from knarr.dockerfile.statements import Statement
from knarr.errors import InvalidParameter


class Stage:
    """`base` is its FROM, and `instructions` what follows that."""

    def __init__(self, index: int, base: From, instructions: list[Instruction]) -> None:
        self.index = index
        self.base = base
        self.instructions = instructions

    @property
    def name(self) -> str:
        """Its name, or its number as a text."""
        return self.base.name or str(self.index)

    def sources(self) -> Iterator[str]:
        """What its instructions name as a place to take files from: stages or images."""
        for instruction in self.instructions:
            if isinstance(instruction, Copy) and instruction.from_stage:
                yield instruction.from_stage
            elif isinstance(instruction, Run):
                yield from (mount.from_stage for mount in instruction.mounts if mount.from_stage)


class Dockerfile:
    """What a Dockerfile's text says, checked as far as that is possible without building anything."""

    def __init__(
        self,
        directives: Directives,
        arguments: list[Arg],
        stages: list[Stage],
        text: str,
        statements: list[Statement],
    ) -> None:
        self.statements = statements
        self.directives = directives
        self.arguments = arguments
        self.stages = stages
        self.text = text

    def with_bases(self, expand: Callable[[str], str]) -> Dockerfile:
        """The same with the variables in all FROMs replaced. Raises InvalidParameter, and what `expand` raises."""
        stages = []
        for stage in self.stages:
            base = instructions.expanded(stage.base, expand)
            if not base.image:
                raise InvalidParameter(f"base name ({stage.base.image}) should not be blank")
            stages.append(Stage(stage.index, base, stage.instructions))
        return Dockerfile(self.directives, self.arguments, stages, self.text, self.statements)

    @cached_property
    def _by_name(self) -> dict[str, list[Stage]]:
        found: dict[str, list[Stage]] = {}
        for stage in self.stages:
            if stage.base.name:
                found.setdefault(stage.base.name, []).append(stage)
        return found

    def stage(self, name: str, before: int | None = None) -> Stage | None:
        """The stage of a name or a number; with `before` only among those in front of that one.

        Of several with one name it is the last.
        """
        stages = self.stages[:before]
        found = self._named(name, before)
        if found is not None:
            return found
        if name.isascii() and name.isdigit() and len(name) < 6 and int(name) < len(stages):
            return stages[int(name)]
        return None

    def _named(self, name: str, before: int | None = None) -> Stage | None:
        candidates = self._by_name.get(name.lower(), [])
        return next((each for each in reversed(candidates) if before is None or each.index < before), None)

    def target(self, name: str) -> Stage:
        """The stage to be built: the last one unless `name` says otherwise. Raises InvalidParameter."""
        found = self.stage(name) if name else self.stages[-1]
        if found is None:
            raise InvalidParameter(f"failed to reach build target {name} in Dockerfile")
        return found

    def needs(self, stage: Stage) -> set[int]:
        """The numbers of the stages that one takes files from, or stands on."""
        named = [self._named(stage.base.image, stage.index)]
        named += [self.stage(name, stage.index) for name in stage.sources()]
        return {found.index for found in named if found is not None and found.index < stage.index}

    def wanted(self, target: Stage) -> list[Stage]:
        """The stages that `target` needs, in the order in which they can be built, itself last."""
        wanted = {target.index}
        for stage in reversed(self.stages[: target.index + 1]):
            if stage.index in wanted:
                wanted |= self.needs(stage)
        return [self.stages[index] for index in sorted(wanted)]


def parse(text: str, *, unique_names: bool = True) -> Dockerfile:
    """Read a Dockerfile; stages may have the same name unless `unique_names`.

    Raises DockerfileError, InvalidParameter if it has no instructions.
    """
    directives, found = statements.read(text)
    if not found:
        raise InvalidParameter("file with no instructions")
    arguments: list[Arg] = []
    stages: list[Stage] = []
    for statement in found:
        instruction = reading.read(statement, directives.escape)
        if isinstance(instruction, From):
            if unique_names:
                _check_name(instruction, stages)
            stages.append(Stage(len(stages), instruction, []))
        elif stages:
            stages[-1].instructions.append(instruction)
        elif isinstance(instruction, Arg):
            arguments.append(instruction)
        else:
            raise DockerfileError("no build stage in current context", instruction.location)
    if not stages:
        raise DockerfileError("no build stage in current context", found[-1].location)
    return Dockerfile(directives, arguments, stages, text, found)


def _check_name(base: From, stages: list[Stage]) -> None:
    if base.name and any(stage.base.name == base.name for stage in stages):
        raise DockerfileError(f'duplicate name "{base.name}", stage name already used', base.location)
