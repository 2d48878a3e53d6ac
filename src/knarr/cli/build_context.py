"""What `knarr build` sends: a directory as an archive, without what its .dockerignore leaves out, and a Dockerfile.

A Dockerfile from somewhere else goes along under a name that nobody has, and is to be ignored in the image.
"""

from __future__ import annotations

import io
import os
import secrets
import sys
import tarfile

from knarr import ignore
from knarr.cli import archives
from knarr.cli.errors import CommandError
from knarr.ignore import Patterns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_DOCKERFILE = "Dockerfile"
_IGNORE = ".dockerignore"
_MAGIC = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ", b"\x28\xb5\x2f\xfd")
_PIECE = 1 << 18


class BuildContext:
    """`pieces` are to be sent, `dockerfile` is the Dockerfile's name in them; `sent` counts bytes."""

    def __init__(self, pieces: Iterator[bytes], dockerfile: str) -> None:
        self._pieces = pieces
        self.dockerfile = dockerfile
        self.sent = 0

    @property
    def pieces(self) -> Iterator[bytes]:
        for piece in self._pieces:
            self.sent += len(piece)
            yield piece


def of_standard_input(dockerfile: str) -> BuildContext:
    """An archive, compressed or not, or a Dockerfile alone. Raises CommandError."""
    if dockerfile == "-":
        raise CommandError("invalid argument: can't use stdin for both build context and dockerfile")
    source = sys.stdin.buffer
    start = source.read(1024)
    if start.startswith(_MAGIC) or start[257:262] == b"ustar":
        return BuildContext(_after(start), dockerfile)
    text = start + source.read()
    return BuildContext(_only(_DOCKERFILE, text), _DOCKERFILE)


def _after(start: bytes) -> Iterator[bytes]:
    yield start
    while piece := sys.stdin.buffer.read(_PIECE):
        yield piece


def _only(name: str, content: bytes) -> Iterator[bytes]:
    yield _member(name, content)
    yield bytes(2 * tarfile.BLOCKSIZE)


def of_directory(directory: str, dockerfile: str) -> BuildContext:
    """A directory; `dockerfile` is "" for the usual one, a path from here, or "-" for standard input.

    Raises CommandError, OSError.
    """
    if not os.path.isdir(directory):
        what = "unable to prepare context: path"
        raise CommandError(
            f'{what} "{directory}" not found' if not os.path.exists(directory) else _no_context(directory)
        )
    if dockerfile == "-":
        return _with_foreign(directory, sys.stdin.buffer.read(), "")
    path = dockerfile or _usual(directory)
    top, real = os.path.realpath(directory), os.path.realpath(path)
    if not os.path.exists(real):
        raise CommandError(
            "unable to prepare context: unable to evaluate symlinks in Dockerfile path: "
            f"lstat {os.path.abspath(path)}: no such file or directory"
        )
    if os.path.commonpath([top, real]) != top:
        with open(real, "rb") as file:
            return _with_foreign(directory, file.read(), path)
    name = os.path.relpath(real, top)
    patterns = _patterns(directory, path)
    return BuildContext(_pack(directory, Patterns([*patterns, f"!{name}", f"!{_IGNORE}"]), {}), name)


def _no_context(path: str) -> str:
    return f"unable to prepare context: context must be a directory: {os.path.abspath(path)}"


def _usual(directory: str) -> str:
    path = os.path.join(directory, _DOCKERFILE)
    lower = os.path.join(directory, _DOCKERFILE.lower())
    return lower if not os.path.exists(path) and os.path.exists(lower) else path


def _patterns(directory: str, dockerfile: str) -> list[str]:
    """Those of the Dockerfile's own file, NAME.dockerignore beside it, else of the directory's .dockerignore."""
    for path in (f"{dockerfile}{_IGNORE}", os.path.join(directory, _IGNORE)):
        try:
            with open(path, encoding="utf-8", errors="replace") as file:
                return ignore.read(file.read())
        except FileNotFoundError:
            continue
    return []


def _with_foreign(directory: str, text: bytes, path: str) -> BuildContext:
    name = f".dockerfile.{secrets.token_hex(10)}"
    patterns = _patterns(directory, path or os.path.join(directory, _DOCKERFILE))
    own = os.path.join(directory, _IGNORE)
    lines = [*patterns, *([] if os.path.exists(own) else [_IGNORE]), name]
    added = {name: text, _IGNORE: "".join(f"{line}\n" for line in lines).encode("utf-8", "replace")}
    return BuildContext(_pack(directory, Patterns(patterns), added), name)


def _pack(directory: str, patterns: Patterns, added: dict[str, bytes]) -> Iterator[bytes]:
    """The archive, everything in it root's."""
    headers = tarfile.TarFile(fileobj=io.BytesIO(), mode="w")  # knows which files are one with several names
    for name in _names(directory, patterns):
        if name not in added:
            yield from archives.member(headers, os.path.join(directory, name), name, owner=0)
    for name, content in added.items():
        yield _member(name, content)
    yield bytes(2 * tarfile.BLOCKSIZE)


def _names(directory: str, patterns: Patterns, below: str = "") -> Iterator[str]:
    for child in sorted(os.listdir(os.path.join(directory, below))):
        name = f"{below}/{child}" if below else child
        path = os.path.join(directory, name)
        inside = os.path.isdir(path) and not os.path.islink(path)
        excluded = patterns.excludes(name)
        if not excluded:
            yield name
        if inside and not (excluded and not patterns.may_except_below(name)):
            yield from _names(directory, patterns, name)


def _member(name: str, content: bytes) -> bytes:
    info = tarfile.TarInfo(name)
    info.size, info.mode = len(content), 0o600
    return info.tobuf(tarfile.PAX_FORMAT) + content + bytes(-len(content) % tarfile.BLOCKSIZE)
