"""How steps are called: in a client's progress, and in an image's history, where BuildKit's words are looked for."""

from __future__ import annotations

import math
import re

from knarr.dockerfile import instructions
from knarr.dockerfile.instructions import Add, Copy, Instruction
from knarr.images.config import ContainerDefaults
from knarr.images.platforms import Platform

_REMOTE = re.compile(r"https?://|git://|git@|ssh://", re.IGNORECASE)


class StepNames:
    """Names of one stage's steps: `[stage 2/5] RUN …`."""

    def __init__(self, stage: str, with_platform: bool, platform: Platform) -> None:
        words = [str(platform)] if with_platform else []
        self._stage = "".join(f"{word} " for word in [*words, *([stage] if stage else [])])
        self._total = 0
        self._number = 0

    def count(self, total: int) -> None:
        """So many there will be."""
        self._total = total

    def next(self, text: str) -> str:
        """The name of the next one."""
        self._number += 1
        width = int(1 + math.log10(max(self._total, 1)))
        return f"[{self._stage}{self._number:>{width}}/{self._total}] {text}"


def is_remote(source: str) -> bool:
    """Whether ADD fetches it from somewhere."""
    return _REMOTE.match(source) is not None


def shown(instruction: Copy | Add) -> str:
    """COPY and ADD with their variables replaced."""
    keyword = "COPY" if isinstance(instruction, Copy) else "ADD"
    flags = []
    if isinstance(instruction, Copy) and instruction.from_stage:
        flags.append(f"--from={instruction.from_stage}")
    flags += [f"--{name}={value}" for name in ("chown", "chmod") if (value := getattr(instruction, name))]
    flags += ["--link"] if instruction.link else []
    flags += [f"--exclude={pattern}" for pattern in instruction.excludes]
    documents = [f"<<{document.name}" for document in instruction.documents]
    return " ".join([keyword, *flags, *documents, *instruction.sources, instruction.destination])


def shown_run(instruction: instructions.Run) -> str:
    """RUN as it is written, with the beginning of a here-document."""
    text = re.sub(r"^\S+", "RUN", instruction.original.rstrip())
    for document in instruction.heredocs:
        first = document.content.split("\n", 1)[0]
        text += f" ({first}{'...' if document.content.count(chr(10)) > 1 else ''})"
    return text


def run_history(arguments: list[str], build_arguments: dict[str, str]) -> str:
    """The history's line for a RUN."""
    given = [f"{name}={value}" for name, value in sorted(build_arguments.items())]
    counted = [f"|{len(given)}", *given] if given else []
    return f"RUN {' '.join([*counted, *arguments])} # buildkit"


def history(instruction: Instruction, config: ContainerDefaults) -> str:
    """The history's line for an instruction that changes settings only."""
    match instruction:
        case instructions.Env(pairs=pairs):
            return "ENV " + " ".join(f"{name}={value}" for name, value in pairs)
        case instructions.Label(pairs=pairs):
            return "LABEL " + " ".join(f"{name}={value}" for name, value in pairs)
        case instructions.Cmd():
            return "CMD " + _words(config.cmd)
        case instructions.Entrypoint():
            return "ENTRYPOINT " + _words(config.entrypoint)
        case instructions.User(user=user):
            return f"USER {user}"
        case instructions.Volume(paths=paths):
            return f"VOLUME [{' '.join(paths)}]"
        case instructions.Expose(ports=ports):
            return f"EXPOSE {' '.join(ports)}"
        case _:
            return instruction.original


def _words(words: list[str]) -> str:
    quoted = (word.replace("\\", "\\\\").replace('"', '\\"') for word in words)
    return "[" + " ".join(f'"{word}"' for word in quoted) + "]"
