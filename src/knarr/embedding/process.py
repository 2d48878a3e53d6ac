"""The private knarrd behind an Engine: a process below a temporary directory, which both go with the program."""

from __future__ import annotations

import os
import shutil
import tempfile

from knarr.client.launching import launch

_SOCKET = "knarr.sock"


class PrivateEngine:
    """Started by making it, ended by `close`. Raises LaunchFailed when it does not come up.

    Its standard input is a pipe whose other end is ours alone: if this program dies, even by SIGKILL, the engine ends
    its containers, removes its directory and goes.
    """

    def __init__(self) -> None:
        self._directory = tempfile.mkdtemp(prefix="knarr-")
        theirs, self._lifeline = os.pipe()
        try:
            log = os.path.join(self._directory, "log")
            self._pid = launch(["--ephemeral", self._directory], log=log, directory=self._directory, stdin=theirs)
        except BaseException:
            os.close(self._lifeline)
            shutil.rmtree(self._directory, ignore_errors=True)  # it has died before anything was mounted there
            raise
        finally:
            os.close(theirs)

    @property
    def address(self) -> str:
        return f"unix://{self._directory}/{_SOCKET}"

    def close(self) -> None:
        """End it with all its containers; returns when nothing is left."""
        os.close(self._lifeline)
        os.waitpid(self._pid, 0)
