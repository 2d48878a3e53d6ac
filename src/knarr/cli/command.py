"""What a command is: its usage, its flags and the function that does it, and what that function is given."""

from __future__ import annotations

import sys

from knarr.cli.errors import CommandError
from knarr.cli.flags import switch

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from knarr.cli.flags import Flag, Options
    from knarr.cli.session import Session

HELP = switch("help", "Show this help")


class Command:
    """One command.

    `arguments` is the least and the greatest number of arguments (None: no limit). With `interspersed` flags may follow
    arguments; without it the first argument ends them. `examples` are (what it does, arguments of the program) pairs.
    """

    __slots__ = ("arguments", "examples", "flags", "interspersed", "run", "usage")

    def __init__(
        self,
        usage: str,
        run: Callable[[Invocation], int],
        *,
        flags: Sequence[Flag] = (),
        arguments: tuple[int, int | None] = (0, 0),
        interspersed: bool = True,
        examples: Sequence[tuple[str, str]] = (),
    ) -> None:
        self.usage = usage
        self.run = run
        self.flags = (*flags, HELP)
        self.arguments = arguments
        self.interspersed = interspersed
        self.examples = examples


class Invocation:
    """One call of a command: `path` is how it was called ("knarr container ls")."""

    __slots__ = ("options", "path", "session")

    def __init__(self, path: str, options: Options, session: Session) -> None:
        self.path = path
        self.options = options
        self.session = session

    @property
    def arguments(self) -> list[str]:
        return self.options.arguments

    def each(self, references: Sequence[str], action: Callable[[str], object]) -> int:
        """Do `action` to each object and print its name; go on after an error, then exit with status 1."""
        from knarr.client.errors import EngineError

        failed = False
        for reference in references:
            try:
                action(reference)
            except EngineError as error:
                complain(error)
                failed = True
            else:
                print(reference, flush=True)
        if failed:
            raise CommandError(status=1)
        return 0


def complain(error: Exception) -> None:
    """Print an engine's error as all commands do."""
    sys.stdout.flush()
    print(f"Error response from daemon: {error}", file=sys.stderr, flush=True)


def check_arguments(command: Command, path: str, count: int) -> None:
    """Raises CommandError when there are too few or too many."""
    least, most = command.arguments
    if least <= count and (most is None or count <= most):
        return
    if most == 0:
        wrong = "accepts no arguments"
    elif least == most:
        wrong = f"requires {least} argument{'s' if least != 1 else ''}"
    elif count < least:
        wrong = f"requires at least {least} argument{'s' if least != 1 else ''}"
    else:
        wrong = f"requires at most {most} argument{'s' if most != 1 else ''}"
    lead = "See" if "at least" in wrong else "Run"
    program = path.partition(" ")[0]
    usage = f"Usage:  {path} {command.usage}".rstrip()
    raise CommandError(f"{program}: '{path}' {wrong}\n\n{usage}\n\n{lead} '{path} --help' for more information")
