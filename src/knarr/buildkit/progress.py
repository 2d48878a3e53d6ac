"""What a build tells while it goes: its vertices (the steps that a client shows), their output, how far they are."""

from __future__ import annotations

import asyncio
import hashlib
import time
from collections.abc import AsyncGenerator, Callable, Iterable

from google.protobuf.timestamp_pb2 import Timestamp

from knarr.buildkit.proto import control_pb2 as pb

STDOUT, STDERR = 1, 2
_PIECE = 1 << 20  # bytes of output in one message: clients take 16 MiB


def digest(*parts: object) -> str:
    """A vertex's digest: clients tell vertices apart by it, and show those of one digest once."""
    return "sha256:" + hashlib.sha256("\0".join(map(str, parts)).encode()).hexdigest()


def now() -> Timestamp:
    """This moment."""
    return timestamp(time.time_ns())


def timestamp(nanoseconds: int) -> Timestamp:
    """A time in nanoseconds since 1970."""
    return Timestamp(seconds=nanoseconds // 10**9, nanos=nanoseconds % 10**9)


class Progress:
    """What one build has told up to now, for whoever asks, whenever. Used in the event loop only."""

    def __init__(self) -> None:
        self._told: list[pb.StatusResponse] = []
        self._more = asyncio.Event()
        self._ended = False
        self.vertices: dict[str, Vertex] = {}
        self.warnings = 0

    def vertex(self, digest: str, name: str, inputs: Iterable[str] = ()) -> Vertex:
        """The vertex of a digest, told of now if it is new."""
        found = self.vertices.get(digest)
        if found is None:
            found = self.vertices[digest] = Vertex(self.tell, digest, name, inputs)
        return found

    def tell(self, message: pb.StatusResponse) -> None:
        """Add to what is told."""
        self._told.append(message)
        self._more.set()

    def warn(self, warning: pb.VertexWarning) -> None:
        """Tell of what is not well, but no failure."""
        self.warnings += 1
        self.tell(pb.StatusResponse(warnings=[warning]))

    def end(self) -> None:
        """Nothing more will be told."""
        self._ended = True
        self._more.set()

    def all(self) -> pb.StatusResponse:
        """Everything up to now as one message."""
        return _together(self._told)

    async def follow(self) -> AsyncGenerator[pb.StatusResponse, None]:
        """Everything from the beginning, then what comes, until the end."""
        position = 0
        while True:
            if position < len(self._told):
                pieces = self._told[position : position + 64]
                position += len(pieces)
                yield _together(pieces)
            elif self._ended:
                return
            else:
                self._more.clear()
                await self._more.wait()


def _together(messages: list[pb.StatusResponse]) -> pb.StatusResponse:
    if len(messages) == 1:
        return messages[0]
    result = pb.StatusResponse()
    for message in messages:
        result.MergeFrom(message)
    return result


class Vertex:
    """One step as clients show it."""

    def __init__(
        self, tell: Callable[[pb.StatusResponse], None], digest: str, name: str, inputs: Iterable[str]
    ) -> None:
        self._tell = tell
        self.digest = digest
        self._message = pb.Vertex(digest=digest, name=name, inputs=list(inputs))
        self._statuses: dict[str, pb.VertexStatus] = {}
        self._show()

    @property
    def name(self) -> str:
        """As it is shown."""
        return self._message.name

    @property
    def cached(self) -> bool:
        """Whether it was there from before."""
        return self._message.cached

    @property
    def completed(self) -> bool:
        """Whether it has ended, well or not."""
        return self._message.HasField("completed")

    def start(self) -> None:
        """It is being worked on."""
        if not self._message.HasField("started"):
            self._message.started.CopyFrom(now())
            self._show()

    def complete(self, *, cached: bool = False, error: str = "") -> None:
        """It is done, or with `error` it has failed."""
        if self.completed:
            return
        self.start()
        self._message.cached = cached
        self._message.error = error
        self._message.completed.CopyFrom(now())
        for status in self._statuses.values():
            if not status.HasField("completed"):
                self._show_status(status, completed=not error)
        self._show()

    def log(self, data: bytes, stream: int = STDOUT) -> None:
        """Output of the step."""
        for start in range(0, len(data), _PIECE):
            piece = data[start : start + _PIECE]
            log = pb.VertexLog(vertex=self.digest, timestamp=now(), stream=stream, msg=piece)
            self._tell(pb.StatusResponse(logs=[log]))

    def status(self, id: str, current: int = 0, total: int = 0, *, completed: bool = False) -> None:
        """How far a part of the step is, in bytes; `id` is what is shown of it."""
        status = self._statuses.get(id)
        if status is None:
            status = self._statuses[id] = pb.VertexStatus(ID=id, vertex=self.digest, started=now())
        status.current = current
        status.total = total
        self._show_status(status, completed=completed)

    def _show_status(self, status: pb.VertexStatus, *, completed: bool) -> None:
        status.timestamp.CopyFrom(now())
        if completed:
            status.completed.CopyFrom(now())
        copy = pb.VertexStatus()
        copy.CopyFrom(status)
        self._tell(pb.StatusResponse(statuses=[copy]))

    def _show(self) -> None:
        copy = pb.Vertex()
        copy.CopyFrom(self._message)
        self._tell(pb.StatusResponse(vertexes=[copy]))
