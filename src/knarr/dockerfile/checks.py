"""Checking a Dockerfile: what is likely to be a mistake, or bad style (`docker build --check`; rules in `rules`)."""

from __future__ import annotations

import posixpath
import re
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from difflib import get_close_matches

from msgspec import Struct, field
from msgspec.structs import replace

from knarr.dockerfile import expansion, instructions, rules
from knarr.dockerfile.document import Dockerfile, Stage
from knarr.dockerfile.instructions import Add, Arg, Copy, Env, Expose, From, Instruction, Label
from knarr.dockerfile.locations import Location
from knarr.dockerfile.rules import Finding, Rule, Settings
from knarr.dockerfile.statements import Statement
from knarr.errors import InvalidParameter

_RESERVED = ("scratch", "context")
_ONLY_LAST = {
    instructions.Cmd: "CMD",
    instructions.Entrypoint: "ENTRYPOINT",
    instructions.Healthcheck: "HEALTHCHECK",
}
_SECRET = re.compile(
    r"(?:_|^)(?:apikey|auth|credentials?|key|password|pword|passwd|secret|token)(?:_|$)", re.IGNORECASE
)
_NO_SECRET = re.compile(r"(?:_|^)(?:public|file|version)(?:_|$)", re.IGNORECASE)
_PROXY = re.compile(r"(?:https?|ftp|no|all)_proxy", re.IGNORECASE)
_PLATFORM_VARIABLE = ("$TARGETPLATFORM", "${TARGETPLATFORM}")


class BaseSettings(Struct, frozen=True):
    """What an image brings along: its variables, and whether texts are handed to a shell that it has chosen."""

    variables: Mapping[str, str]
    has_shell: bool = False


class Surroundings(Struct):
    """What a Dockerfile is checked with.

    `given` are the build's arguments, `predefined` those of the platforms; `base` has the settings of a stage's
    base image, None if they are not known; `ignored` tells of a path of the context whether it is left out; `valid`
    whether a text can be an image's name.
    """

    given: Mapping[str, str | None]
    predefined: Mapping[str, str]
    valid: Callable[[str], bool]
    base: Callable[[Stage], BaseSettings | None] = lambda stage: BaseSettings({})
    ignored: Callable[[str], bool] = lambda path: False


def check(
    dockerfile: Dockerfile, stages: Iterable[Stage], settings: Settings, surroundings: Surroundings
) -> list[Finding]:
    """What `stages` and the file as a whole do not keep, by lines. Raises InvalidParameter (variables)."""
    found = [*_of_statements(dockerfile.statements), *_of_names(dockerfile)]
    found += _of_bases(dockerfile, surroundings)
    found += _of_descriptions(dockerfile)
    walk = _Walk(dockerfile, surroundings)
    for stage in stages:
        found += walk.findings(stage)
    unique = {(each.rule.name, each.detail, each.location): each for each in found if settings.applies(each.rule)}
    return sorted(unique.values(), key=lambda each: (each.location.first, each.rule.name))


# The file as a text


def _of_statements(statements: list[Statement]) -> Iterator[Finding]:
    keywords = [statement.original.split(None, 1)[0] for statement in statements]
    lower = sum(word.islower() for word in keywords)
    upper = sum(word.isupper() for word in keywords)
    for statement, word in zip(statements, keywords, strict=True):
        if statement.gap:
            last = statement.location.first + statement.lines - 1
            yield Finding(rules.NO_EMPTY_CONTINUATION, "Empty continuation line", Location(last, last))
        if not (word.islower() if lower > upper else word.isupper()):
            majority = "lowercase" if lower > upper else "uppercase"
            detail = f"Command '{word}' should match the case of the command majority ({majority})"
            yield Finding(rules.CONSISTENT_INSTRUCTION_CASING, detail, statement.location)


def _of_names(dockerfile: Dockerfile) -> Iterator[Finding]:
    seen: set[str] = set()
    for stage in dockerfile.stages:
        if not stage.base.name:
            continue
        words = stage.base.original.split()
        keyword, kind, name = words[0], words[-2], words[-1]
        here = stage.base.location
        if name != name.lower():
            yield Finding(rules.STAGE_NAME_CASING, f"Stage name '{name}' should be lowercase", here)
        if (keyword.islower() and not kind.islower()) or (keyword.isupper() and not kind.isupper()):
            yield Finding(rules.FROM_AS_CASING, f"'{kind}' and '{keyword}' keywords' casing do not match", here)
        if name.lower() in _RESERVED:
            detail = f'Stage name should not use the same name as reserved stage "{name.lower()}"'
            yield Finding(rules.RESERVED_STAGE_NAME, detail, here)
        if stage.base.name in seen:
            detail = f'Duplicate stage name "{name}", stage names should be unique'
            yield Finding(rules.DUPLICATE_STAGE_NAME, detail, here)
        seen.add(stage.base.name)


def _of_descriptions(dockerfile: Dockerfile) -> Iterator[Finding]:
    lines = dockerfile.text.split("\n")
    arguments = [each for stage in dockerfile.stages for each in stage.instructions if isinstance(each, Arg)]
    wanted: list[tuple[str, list[str], Location]] = [
        ("FROM", [stage.base.name], stage.base.location) for stage in dockerfile.stages if stage.base.name
    ]
    wanted += [("ARG", [name for name, _ in each.names], each.location) for each in dockerfile.arguments + arguments]
    for keyword, names, location in wanted:
        comment = comments_above(lines, location)
        if comment and comment[-1].split(" ")[0] not in names:
            example = names[0] if len(names) == 1 else "<arg_key>"
            detail = f"Comment for {keyword} should follow the format: `# {example} <description>`"
            yield Finding(rules.INVALID_DEFINITION_DESCRIPTION, detail, location)


def comments_above(lines: list[str], location: Location) -> list[str]:
    """The comments right above an instruction; an empty one ends them, and so does a parser directive."""
    found: list[str] = []
    number = location.first - 1
    while number and lines[number - 1].lstrip().startswith("#"):
        text = lines[number - 1].lstrip().removeprefix("#").strip()
        if not text or (number == 1 and re.match(r"(?:syntax|escape|check)\s*=", text, re.IGNORECASE)):
            break
        found.insert(0, text)
        number -= 1
    return found


# FROM


def _of_bases(dockerfile: Dockerfile, surroundings: Surroundings) -> Iterator[Finding]:
    escape = dockerfile.directives.escape
    declared = dict(surroundings.predefined)
    defaults = dict(surroundings.predefined)
    for argument in dockerfile.arguments:
        for name, default in argument.names:
            value = expansion.expand(default, defaults, escape) if default is not None else defaults.get(name, "")
            declared[name] = defaults[name] = value
    for stage in dockerfile.stages:
        base = stage.base
        for word in (base.image, base.platform):
            for name in expansion.missing(word, declared, escape):
                detail = f"FROM argument '{name}' is not declared{_suggested(name, declared)}"
                yield Finding(rules.UNDEFINED_ARG_IN_FROM, detail, base.location)
        if "$" in base.image and not _names_an_image(base, defaults, escape, surroundings):
            detail = f"Default value for ARG {base.image} results in empty or invalid base image name"
            yield Finding(rules.INVALID_DEFAULT_ARG_IN_FROM, detail, base.location)
        yield from _of_platform(base)


def _names_an_image(base: From, defaults: Mapping[str, str], escape: str, surroundings: Surroundings) -> bool:
    try:
        return surroundings.valid(expansion.expand(base.image, defaults, escape))
    except InvalidParameter:
        return False


def _of_platform(base: From) -> Iterator[Finding]:
    if base.platform in _PLATFORM_VARIABLE:
        detail = f"Setting platform to predefined {base.platform} in FROM is redundant as this is the default behavior"
        yield Finding(rules.REDUNDANT_TARGET_PLATFORM, detail, base.location)
    if base.platform and "$" not in base.platform:
        parts = [part.lower() for part in base.platform.split("/")]
        if not any(part and part in base.name for part in parts):
            detail = f'FROM --platform flag should not use constant value "{base.platform}"'
            yield Finding(rules.FROM_PLATFORM_FLAG_CONST_DISALLOWED, detail, base.location)


def _suggested(name: str, known: Iterable[str], sign: str = "") -> str:
    close = get_close_matches(name, list(known), n=1, cutoff=0.7)
    return f" (did you mean {sign}{close[0]}?)" if close else ""


# Stages


class _State(Struct):
    """What is known at a place in a stage."""

    variables: dict[str, str] = field(default_factory=dict)
    known: bool = True
    """Whether `variables` are all that there are."""
    declared: set[str] = field(default_factory=set)
    has_shell: bool = False
    has_directory: bool = False


class _Walk:
    """Goes through stages; what a stage stands on is gone through first."""

    def __init__(self, dockerfile: Dockerfile, surroundings: Surroundings) -> None:
        self._dockerfile = dockerfile
        self._escape = dockerfile.directives.escape
        self._surroundings = surroundings
        self._globals: dict[str, str] = dict(surroundings.predefined)
        for argument in dockerfile.arguments:
            for name, default in argument.names:
                value = surroundings.given.get(name)
                if value is None and default is not None:
                    value = expansion.expand(default, self._globals, self._escape)
                self._globals[name] = value or self._globals.get(name, "")
        self._done: dict[int, tuple[_State, list[Finding]]] = {}

    def findings(self, stage: Stage) -> list[Finding]:
        """What its instructions do not keep."""
        if stage.index not in self._done:
            self._done[stage.index] = self._check(stage)
        return self._done[stage.index][1]

    def _check(self, stage: Stage) -> tuple[_State, list[Finding]]:
        state = self._begin(stage)
        found: list[Finding] = []
        counts = Counter(type(each) for each in stage.instructions)
        for instruction in stage.instructions:
            counts[type(instruction)] -= 1
            if counts[type(instruction)] and (keyword := _ONLY_LAST.get(type(instruction))):
                detail = (
                    f"Multiple {keyword} instructions should not be used in the same stage because only the last one"
                    " will be used"
                )
                found.append(Finding(rules.MULTIPLE_INSTRUCTIONS_DISALLOWED, detail, instruction.location))
            found += (Finding(rule, detail, instruction.location) for rule, detail in self._of(instruction, state))
        return state, found

    def _begin(self, stage: Stage) -> _State:
        parent = self._dockerfile.stage(stage.base.image, stage.index) if not stage.base.image.isdigit() else None
        if parent is None:
            base = self._surroundings.base(stage)
            return _State(known=False) if base is None else _State(dict(base.variables), has_shell=base.has_shell)
        self.findings(parent)
        before = self._done[parent.index][0]
        return replace(before, variables=dict(before.variables), declared=set(before.declared))

    def _of(self, instruction: Instruction, state: _State) -> Iterator[tuple[Rule, str]]:
        yield from self._undefined(instruction, state)
        match instruction:
            case instructions.Cmd() | instructions.Entrypoint():
                keyword = _ONLY_LAST[type(instruction)]
                if instruction.command.shell and instruction.command.words and not state.has_shell:
                    what = "prevent unintended behavior related to OS signals"
                    yield rules.JSON_ARGS_RECOMMENDED, f"JSON arguments recommended for {keyword} to {what}"
            case instructions.Maintainer():
                yield rules.MAINTAINER_DEPRECATED, "Maintainer instruction is deprecated in favor of using label"
            case instructions.Shell():
                state.has_shell = True
            case instructions.Workdir():
                yield from self._directory(self._expanded(instruction.path, state), state)
            case Env() | Label():
                yield from self._pairs(instruction, state)
            case Arg():
                yield from self._argument(instruction, state)
            case Expose():
                yield from self._ports(instruction, state)
            case Copy() | Add():
                yield from self._ignored(instruction, state)

    def _expanded(self, text: str, state: _State) -> str:
        return expansion.expand(text, state.variables, self._escape)

    def _undefined(self, instruction: Instruction, state: _State) -> Iterator[tuple[Rule, str]]:
        for word in _words(instruction) if state.known else ():
            for name in expansion.missing(word, state.variables, self._escape):
                if name not in state.declared and not _PROXY.fullmatch(name):
                    known = _suggested(name, state.variables, "$")
                    yield rules.UNDEFINED_VAR, f"Usage of undefined variable '${name}'{known}"

    def _directory(self, path: str, state: _State) -> Iterator[tuple[Rule, str]]:
        if posixpath.isabs(path):
            state.has_directory = True
        elif not state.has_directory:
            shown = f'Relative workdir "{path}" can have unexpected results if the base image changes'
            yield rules.WORKDIR_RELATIVE_PATH, shown

    def _pairs(self, instruction: Env | Label, state: _State) -> Iterator[tuple[Rule, str]]:
        keyword = "ENV" if isinstance(instruction, Env) else "LABEL"
        if "=" not in instruction.original.split()[1]:
            what = f'"{keyword} key=value" should be used instead of legacy "{keyword} key value" format'
            yield rules.LEGACY_KEY_VALUE_FORMAT, what
        if isinstance(instruction, Label):
            return
        values = [(name, self._expanded(value, state)) for name, value in instruction.pairs]
        state.variables.update(values)
        for name, _ in values:
            yield from _secret(keyword, name)

    def _argument(self, instruction: Arg, state: _State) -> Iterator[tuple[Rule, str]]:
        for name, default in instruction.names:
            state.declared.add(name)
            value = self._surroundings.given.get(name)
            if value is None:
                value = self._expanded(default, state) if default is not None else self._globals.get(name)
            if value is not None:
                state.variables.setdefault(name, value)
            yield from _secret("ARG", name)

    def _ports(self, instruction: Expose, state: _State) -> Iterator[tuple[Rule, str]]:
        for word in instruction.ports:
            for port in expansion.expand_words(word, state.variables, self._escape):
                address, _, protocol = port.partition("/")
                if protocol != protocol.lower():
                    shown = f"Defined protocol '{port}' in EXPOSE instruction should be lowercase"
                    yield rules.EXPOSE_PROTO_CASING, shown
                if ":" in address:
                    what = "should not define an IP address or host-port mapping"
                    yield rules.EXPOSE_INVALID_FORMAT, f"EXPOSE instruction {what}, found '{port}'"

    def _ignored(self, instruction: Copy | Add, state: _State) -> Iterator[tuple[Rule, str]]:
        if isinstance(instruction, Copy) and instruction.from_stage:
            return
        keyword = "Copy" if isinstance(instruction, Copy) else "Add"
        for source in (self._expanded(each, state) for each in instruction.sources):
            path = posixpath.normpath(source).lstrip("/")
            if "://" not in source and self._surroundings.ignored(path):
                shown = f'Attempting to {keyword} file "{source}" that is excluded by .dockerignore'
                yield rules.COPY_IGNORED_FILE, shown


def _secret(keyword: str, name: str) -> Iterator[tuple[Rule, str]]:
    if _SECRET.search(name) and not _NO_SECRET.search(name):
        shown = f'Do not use ARG or ENV instructions for sensitive data ({keyword} "{name}")'
        yield rules.SECRETS_USED_IN_ARG_OR_ENV, shown


def _words(instruction: Instruction) -> Iterator[str]:
    """All texts of an instruction in which variables are replaced."""
    if isinstance(instruction, Expose):
        yield from instruction.ports
    waiting = [getattr(instruction, name) for name in instructions.EXPANDED.get(type(instruction), ())]
    while waiting:
        value = waiting.pop(0)
        if isinstance(value, str):
            yield value
        elif isinstance(value, (list, tuple)):
            waiting[:0] = value
