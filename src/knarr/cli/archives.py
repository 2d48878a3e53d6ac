"""Tar archives of local files, made and unpacked while they are copied to and from containers."""

from __future__ import annotations

import io
import os
import posixpath
import stat
import tarfile

from knarr.cli.errors import CommandError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator
    from typing import IO

_PIECE = 1 << 18


def pack(path: str, name: str) -> Iterator[bytes]:
    """A file, or a directory with all below it, as an archive whose names begin with `name`. Raises OSError.

    Links stay links, `path` itself too; sockets are left out.
    """
    headers = tarfile.TarFile(fileobj=io.BytesIO(), mode="w")  # knows which files are one with several names
    for file, shown in _walk(path, name):
        yield from member(headers, file, shown)
    yield bytes(2 * tarfile.BLOCKSIZE)


def member(headers: tarfile.TarFile, file: str, name: str, *, owner: int | None = None) -> Iterator[bytes]:
    """One file's part of an archive, nothing for a socket; `owner` in place of its user and group."""
    info = headers.gettarinfo(file, name)
    if info is None:
        return
    if owner is not None:
        info.uid = info.gid = owner
        info.uname = info.gname = ""
    if info.isfile():
        yield from _content(file, info)
    else:
        yield info.tobuf(tarfile.PAX_FORMAT)


def _walk(path: str, name: str) -> Iterator[tuple[str, str]]:
    yield path, name
    if os.path.isdir(path) and (path.endswith("/") or not os.path.islink(path)):
        for child in sorted(os.listdir(path)):
            yield from _walk(os.path.join(path, child), f"{name}/{child}")


def _content(path: str, info: tarfile.TarInfo) -> Iterator[bytes]:
    """Exactly as much as the header says, whatever becomes of the file meanwhile."""
    with open(path, "rb", buffering=0) as file:
        yield info.tobuf(tarfile.PAX_FORMAT)
        left = info.size
        while left:
            piece = file.read(min(left, _PIECE)) or bytes(min(left, _PIECE))
            left -= len(piece)
            yield piece
    yield bytes(-info.size % tarfile.BLOCKSIZE)


class Pieces(io.RawIOBase):
    """Pieces of a stream as a file to read from; `count` bytes have been read."""

    def __init__(self, pieces: Iterable[bytes]) -> None:
        self._pieces = iter(pieces)
        self._left = b""
        self.count = 0

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1, /) -> bytes:
        while len(self._left) < size and (piece := next(self._pieces, None)) is not None:
            self._left += piece
        data, self._left = self._left[:size], self._left[size:]
        self.count += len(data)
        return data


def unpack(source: IO[bytes], directory: str, old: str, new: str) -> None:
    """Put an archive's files into a directory, the name `old` at the beginning of theirs replaced by `new`.

    "." and "/" stand for no name. Owners are not taken over. Nothing is written outside of the directory, whatever
    links the archive has. Raises CommandError, OSError.
    """
    directories: list[tuple[str, tarfile.TarInfo]] = []
    with tarfile.open(fileobj=source, mode="r|") as archive:
        for member in archive:
            name = _renamed(member.name, old, new)
            path = _place(directory, name)
            if not member.isdir():
                _make_room(path, name)
                link = _place(directory, _renamed(member.linkname, old, new)) if member.islnk() else ""
                _extract(archive, member, path, link)
            elif name:
                _make_directory(path, name)
                directories.append((path, member))
    for path, member in reversed(directories):  # at the end: one may forbid to write into it
        _set_attributes(path, member)


def _renamed(name: str, old: str, new: str) -> str:
    name = posixpath.normpath(f"/{name}").lstrip("/")
    if old not in (".", "/"):
        if name != old and not name.startswith(f"{old}/"):
            return name
        name = name[len(old) + 1 :]
    return name if new in (".", "/") else f"{new}/{name}".rstrip("/")


def _place(directory: str, name: str) -> str:
    """The path of a member. Raises CommandError if it would be outside of the directory, also by way of a link."""
    head, _, last = os.path.normpath(f"/{name}").rpartition("/")
    top = os.path.realpath(directory)
    parent = os.path.realpath(f"{top}/{head}")
    if os.path.commonpath([top, parent]) != top:
        raise CommandError(f"invalid archive: {name} is outside of {directory}")
    os.makedirs(parent, exist_ok=True)
    return os.path.join(parent, last) if last else parent


def _extract(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str, link: str) -> None:
    """What is no directory. `link` is the file that a hard link is for."""
    if member.issym():
        os.symlink(member.linkname, path)
    elif member.islnk():
        os.link(link, path, follow_symlinks=False)
    else:
        if member.isfile():
            _write(archive, member, path)
        elif member.isfifo():
            os.mkfifo(path)
        else:
            kind = stat.S_IFCHR if member.ischr() else stat.S_IFBLK
            os.mknod(path, kind | 0o600, os.makedev(member.devmajor, member.devminor))
        _set_attributes(path, member)


def _set_attributes(path: str, member: tarfile.TarInfo) -> None:
    os.chmod(path, member.mode & 0o7777)
    os.utime(path, (member.mtime, member.mtime))


def _make_directory(path: str, name: str) -> None:
    if os.path.islink(path) or (os.path.lexists(path) and not os.path.isdir(path)):
        raise CommandError(f'cannot overwrite non-directory "{path}" with directory "{name}"')
    os.makedirs(path, exist_ok=True)


def _make_room(path: str, name: str) -> None:
    if os.path.isdir(path) and not os.path.islink(path):
        raise CommandError(f'cannot overwrite directory "{path}" with non-directory "{name}"')
    if os.path.lexists(path):
        os.unlink(path)


def _write(archive: tarfile.TarFile, member: tarfile.TarInfo, path: str) -> None:
    content = archive.extractfile(member)
    assert content is not None
    with open(path, "xb") as file:
        while piece := content.read(_PIECE):
            file.write(piece)
