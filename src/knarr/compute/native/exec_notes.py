"""What a shim remembers of execs for a later knarrd: what was noted of them, and what has become of them."""

from __future__ import annotations

from collections import deque

from knarr.compute.native.messages import KnownExec

_REMEMBERED = 64


class ExecNotes:
    """Those that run, and the last ones that have ended."""

    def __init__(self) -> None:
        self._running: dict[str, KnownExec] = {}
        self._past: deque[KnownExec] = deque(maxlen=_REMEMBERED)

    def begin(self, exec_id: str, pid: int, note: bytes) -> None:
        """One runs. Without a note it is nobody's to be found again."""
        if note:
            self._running[exec_id] = KnownExec(exec_id, pid, note)

    def end(self, exec_id: str, code: int, at: int, *, told: bool) -> None:
        """One has ended; `told`: a knarrd knows."""
        if known := self._running.pop(exec_id, None):
            known.code, known.at, known.told = code, at, told
            self._past.append(known)

    def all(self) -> list[KnownExec]:
        """Everything that is remembered."""
        return [*self._past, *self._running.values()]

    def all_told(self) -> None:
        """A knarrd has heard everything."""
        for known in self._past:
            known.told = True
