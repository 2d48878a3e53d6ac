"""What ends a command early, and with which exit status."""

from __future__ import annotations

ENGINE_FAILED = 125
CANNOT_EXECUTE = 126
NOT_FOUND = 127


class FlagError(Exception):
    """The command line has a flag that is unknown or has a wrong value: status 125, and the usage line is shown."""


class CommandError(Exception):
    """The command failed: its text, if any, goes to standard error, and `status` is the exit status.

    With `hint` the text is led in by the program's name, and the way to the command's help follows it.
    """

    def __init__(self, message: str = "", status: int = 1, *, hint: bool = False) -> None:
        super().__init__(message)
        self.status = status
        self.hint = hint
