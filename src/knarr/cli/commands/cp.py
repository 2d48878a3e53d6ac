"""knarr cp"""

from __future__ import annotations

import os
import posixpath
import stat
import sys

from knarr.cli import uploads
from knarr.cli.command import Command, Invocation
from knarr.cli.errors import CommandError
from knarr.cli.flags import switch
from knarr.cli.meter import metered
from knarr.cli.units import decimal_size
from knarr.client import files
from knarr.client.errors import EngineError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from knarr.client.types import PathStat

_FLAGS = (
    switch("a archive", "Keep owners; into a container, give all to the user that it runs as"),
    switch("L follow-link", "Copy what a link leads to in place of the link"),
    switch("q quiet", "Do not tell how much was copied"),
)
_GO_DIRECTORY = 1 << 31
_GO_LINK = 1 << 27


def _run(invocation: Invocation) -> int:
    source, target = invocation.arguments
    source_container, source_path = _split(source)
    target_container, target_path = _split(target)
    if source_container and target_container:
        raise CommandError("copying between containers is not supported")
    if source_container:
        return _Copy(invocation).out(source_container, source_path, target_path)
    if target_container:
        return _Copy(invocation).into(source_path, target_container, target_path)
    raise CommandError("must specify at least one container source")


def _split(argument: str) -> tuple[str, str]:
    """Container and path; no container for what is a path with a colon in it."""
    if argument.startswith(("/", ".")) or ":" not in argument:
        return "", argument
    container, _, path = argument.partition(":")
    return container, path


class _Copy:
    def __init__(self, invocation: Invocation) -> None:
        self._engine = invocation.session.engine
        self._follow = invocation.options.on("follow-link")
        self._as_user = invocation.options.on("archive")
        self._quiet = invocation.options.on("quiet")

    # Out of a container

    def out(self, container: str, source: str, target: str) -> int:
        name = _last(source)
        if self._follow:
            source = self._leads_to(container, source)
        with self._engine.stream(files.read(container, source)) as pieces:
            if target == "-":
                if sys.stdout.isatty():
                    raise CommandError("cowardly refusing to copy to a terminal. Redirect standard output")
                for piece in pieces:
                    sys.stdout.buffer.write(piece)
                sys.stdout.flush()
                return 0
            is_directory = bool(self._stat(container, source)["mode"] & _GO_DIRECTORY)
            shown = pieces if self._quiet else metered(pieces, "Copying from container -")
            self._unpack(shown, _last(source), name, is_directory, target)
        return 0

    def _leads_to(self, container: str, path: str) -> str:
        found = self._stat(container, path)
        return found["linkTarget"] if found["mode"] & _GO_LINK else path

    def _stat(self, container: str, path: str) -> PathStat:
        try:
            return self._engine.call(files.stat(container, path))
        except EngineError:  # has no words, as the answer to HEAD has no body
            with self._engine.stream(files.read(container, path)):
                raise

    def _unpack(self, pieces: Iterable[bytes], old: str, name: str, is_directory: bool, target: str) -> None:
        from knarr.cli.archives import Pieces, unpack

        directory, new = target, name
        if not os.path.isdir(target):
            if os.path.exists(target) and is_directory:
                raise CommandError("cannot copy directory")
            if target.endswith("/") and not is_directory:
                raise CommandError("no such directory")
            directory, new = os.path.split(os.path.realpath(target) if os.path.exists(target) else target.rstrip("/"))
            if not os.path.isdir(directory or "."):
                raise CommandError(f"invalid output path: directory {os.path.abspath(directory)!r} does not exist")
        source = Pieces(pieces)
        unpack(source, directory or ".", old, new)  # type: ignore[arg-type]  # a raw file is enough for tarfile
        self._tell(source.count, os.path.abspath(target))

    # Into a container

    def into(self, source: str, container: str, target: str) -> int:
        target, exists, is_directory = self._look_up(container, target)
        if source == "-":
            if not is_directory:
                raise CommandError(f'destination "{container}:{target}" must be a directory')
            self._send(container, target, uploads.pieces(sys.stdin.buffer))
            return 0
        path = os.path.realpath(source) if self._follow and not source.endswith("/") else source
        mode = os.lstat(path).st_mode
        if exists and is_directory:
            directory, name = target, "." if _last(source) == "." else os.path.basename(os.path.abspath(source))
        else:
            if exists and stat.S_ISDIR(mode):
                raise CommandError("cannot copy directory")
            if target.endswith("/") and not stat.S_ISDIR(mode):
                raise CommandError("no such directory")
            directory, name = posixpath.split(posixpath.normpath("/" + target.lstrip("/")))
        self._copy(path, name, container, directory, target)
        return 0

    def _look_up(self, container: str, path: str) -> tuple[str, bool, bool]:
        """Where a path leads to, whether anything is there, and whether it is a directory."""
        try:
            found = self._engine.call(files.stat(container, path))
            if found["mode"] & _GO_LINK:
                path = found["linkTarget"]
                found = self._engine.call(files.stat(container, path))
        except EngineError:  # perhaps it is to be made: what is wrong is told when the files come
            return path, False, False
        return path, True, bool(found["mode"] & _GO_DIRECTORY)

    def _copy(self, path: str, name: str, container: str, directory: str, target: str) -> None:
        from knarr.cli.archives import pack

        sent = _Counted(pack(path, name))
        shown = iter(sent) if self._quiet else metered(sent, "Copying to container -")
        self._send(container, directory, shown)
        self._tell(sent.count, f"{container}:{target}")

    def _send(self, container: str, directory: str, pieces: Iterator[bytes]) -> None:
        self._engine.call(files.write(container, directory, pieces, keep_kinds=True, as_user=self._as_user))

    def _tell(self, count: int, where: str) -> None:
        if not self._quiet:
            print(f"Successfully copied {decimal_size(count, 3)} to {where}", file=sys.stderr)


class _Counted:
    """Hands pieces on and adds their sizes up."""

    def __init__(self, pieces: Iterator[bytes]) -> None:
        self._pieces = pieces
        self.count = 0

    def __iter__(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.count += len(piece)
            yield piece


def _last(path: str) -> str:
    """The last part of a path; "." for the content of a directory."""
    if path.endswith("/.") or path == ".":
        return "."
    return posixpath.basename(path.rstrip("/")) or "/"


COMMAND = Command(
    "[OPTIONS] CONTAINER:SRC_PATH DEST_PATH|-\n\tknarr cp [OPTIONS] SRC_PATH|- CONTAINER:DEST_PATH",
    _run,
    flags=_FLAGS,
    arguments=(2, 2),
    examples=[
        ("A file into a container", "cp nginx.conf web:/etc/nginx/nginx.conf"),
        ("What is in a directory, out of one", "cp web:/var/log/. logs"),
        ("An archive from standard input", "cp - web:/srv < site.tar"),
    ],
)
