"""What comes out of a container or an exec."""

from __future__ import annotations

from typing import NamedTuple

from knarr.client.decoders import STDERR
from knarr.errors import KnarrError


class Output(NamedTuple):
    """A piece of output; `stream` is "stdout" or "stderr". A terminal's output is all stdout."""

    stream: str
    data: bytes

    @classmethod
    def of(cls, item: tuple[int, bytes]) -> Output:
        """From what the client's decoders give."""
        return cls("stderr" if item[0] == STDERR else "stdout", item[1])


class Completed(NamedTuple):
    """A program that has ended: its exit status (128 + n after signal n) and all that it has written."""

    exit_code: int
    stdout: bytes
    stderr: bytes

    @classmethod
    def of(cls, exit_code: int, output: list[tuple[int, bytes]]) -> Completed:
        stdout = b"".join(data for stream, data in output if stream != STDERR)
        stderr = b"".join(data for stream, data in output if stream == STDERR)
        return cls(exit_code, stdout, stderr)

    def check(self) -> Completed:
        """Itself. Raises ProgramFailed unless the exit status is 0."""
        if self.exit_code:
            raise ProgramFailed(self)
        return self


class ProgramFailed(KnarrError):
    """The program in the container ended with another status than 0; `completed` has its output."""

    def __init__(self, completed: Completed) -> None:
        last = completed.stderr.decode("utf-8", "replace").strip().rpartition("\n")[2]
        super().__init__(f"exit status {completed.exit_code}" + (f": {last}" if last else ""))
        self.completed = completed
