"""The tar format: 512-byte headers, PAX records, GNU extensions and sparse maps, as pure functions on bytes.

Sources: POSIX pax(1), "ustar Interchange Format" and "pax Extended Header"; the GNU tar manual, "Tar Internals".
Everything that does not parse raises ArchiveError.
"""

from __future__ import annotations

import base64
import binascii
import re
import stat
import struct
import zlib
from collections.abc import Iterator
from functools import lru_cache
from urllib.parse import unquote_to_bytes

from knarr.errors import InvalidParameter

BLOCK = 512
ZEROS = bytes(BLOCK)

REGULAR = b"0"
HARD_LINK = b"1"
SYMLINK = b"2"
CHARACTER = b"3"
BLOCK_DEVICE = b"4"
DIRECTORY = b"5"
FIFO = b"6"
PAX = b"x"
PAX_GLOBAL = b"g"
GNU_LONG_NAME = b"L"
GNU_LONG_LINK = b"K"
GNU_SPARSE = b"S"

KIND_OF_FILE = {
    stat.S_IFREG: REGULAR,
    stat.S_IFDIR: DIRECTORY,
    stat.S_IFLNK: SYMLINK,
    stat.S_IFCHR: CHARACTER,
    stat.S_IFBLK: BLOCK_DEVICE,
    stat.S_IFIFO: FIFO,
}
"""By the file type of st_mode. A socket has none."""

MAX_PATH = 4096
MAX_NAME = 255
_MAX_SIZE = 1 << 60
_MAX_ID = (1 << 32) - 2
_TIME_RANGE = 1 << 33  # seconds either side of the epoch that every file system here can store as nanoseconds
_HEADER = struct.Struct("100s24s12s12s8sc100s8s64x8s8s155s12x")
_DECIMAL = re.compile(rb"[0-9]{1,19}")
_TIME = re.compile(rb"(-?)([0-9]{1,20})(?:\.([0-9]*))?")


class ArchiveError(InvalidParameter):
    """A layer archive that is damaged, cut short, over a limit, or up to no good."""


class Entry:
    """One member of an archive. `size` is what the file will have; the data in the archive is `stored` bytes long."""

    __slots__ = (
        "atime_ns",
        "gid",
        "kind",
        "link",
        "major",
        "minor",
        "mode",
        "mtime_ns",
        "name",
        "size",
        "sparse",
        "stored",
        "uid",
        "xattrs",
    )

    def __init__(self, name: bytes, kind: bytes = REGULAR, mode: int = 0o644) -> None:
        self.name = name
        self.kind = kind
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.stored = 0
        self.mtime_ns = 0
        self.atime_ns: int | None = None
        self.link = b""
        self.major = 0
        self.minor = 0
        self.xattrs: dict[str, bytes] = {}
        self.sparse: list[tuple[int, int]] | None = None  # (offset, length) of the parts that are stored


def text(field: bytes) -> bytes:
    """A header's text field: up to the first NUL."""
    end = field.find(b"\0")
    return field if end < 0 else field[:end]


def number(field: bytes) -> int:
    """A header's number: octal digits, or base-256 (first byte 0x80, negative 0xff) as GNU tar and star write it."""
    plain = field.rstrip(b"\0 ")
    if plain.isdigit():  # nearly always
        return _octal(plain)
    if field[0] in (0x80, 0xFF):
        value = int.from_bytes(field[1:], "big")
        return value - (1 << 8 * (len(field) - 1)) if field[0] == 0xFF else value
    digits = field.split(b"\0", 1)[0].strip()
    if not digits:
        return 0
    return _octal(digits)


def _octal(digits: bytes) -> int:
    try:
        if digits.isdigit():  # int() would take signs and underscores
            return int(digits, 8)
    except ValueError:
        pass
    raise ArchiveError("archive/tar: invalid tar header: not a number")


@lru_cache(maxsize=4096)  # mostly the same few
def _mode_and_ids(fields: bytes) -> tuple[int, int, int]:
    return number(fields[:8]) & 0o7777, id_of(number(fields[8:16])), id_of(number(fields[16:]))


@lru_cache(maxsize=4096)
def _time(field: bytes) -> int:
    return time_of_seconds(number(field))


def size_of(value: int) -> int:
    """A length or offset, checked. Negative ones and those that no file can have are refused."""
    if not 0 <= value < _MAX_SIZE:
        raise ArchiveError(f"archive/tar: invalid size {value}")
    return value


def id_of(value: int) -> int:
    """A user or group id, checked."""
    if not 0 <= value <= _MAX_ID:
        raise ArchiveError(f"archive/tar: invalid user or group id {value}")
    return value


def check_sum(block: bytes, field: bytes) -> None:
    """Compare a header with its own checksum `field`: the sum of its bytes, the field's taken as blanks."""
    stored = number(field)
    # In C, and right unless the sum is large: Adler-32's low half is 1 + the sum of the bytes, modulo 65521.
    if (1 + stored + sum(field) - 8 * 0x20 - zlib.adler32(block)) & 0xFFFF == 0:
        return
    plain = block[:148] + block[156:]
    signed = sum(byte - 256 if byte > 127 else byte for byte in plain)
    if stored - 8 * 0x20 not in (sum(plain), signed):  # some old writers summed signed characters
        raise ArchiveError("archive/tar: invalid tar header: wrong checksum")


def parse_header(block: bytes) -> Entry:
    """The entry that a header block describes, before PAX records and GNU long names are laid over it."""
    name, mode_and_ids, size, mtime, checksum, kind, link, magic, major, minor, prefix = _HEADER.unpack(block)
    check_sum(block, checksum)
    mode, uid, gid = _mode_and_ids(mode_and_ids)
    entry = Entry(text(name), REGULAR if kind in (b"\0", b"7") else kind, mode)
    entry.uid = uid
    entry.gid = gid
    entry.size = entry.stored = size_of(number(size))
    entry.mtime_ns = _time(mtime)
    if link[0]:
        entry.link = text(link)
    if magic[:5] != b"ustar":  # the format of Unix V7 ends here
        return entry
    if kind in (CHARACTER, BLOCK_DEVICE):
        entry.major, entry.minor = size_of(number(major)), size_of(number(minor))
    if magic[5] == 0 and prefix[0]:
        before = text(prefix[:131] if block[508:512] == b"tar\0" else prefix)  # star keeps times behind
        entry.name = before + b"/" + entry.name
    return entry


def time_of_seconds(seconds: int) -> int:
    """Nanoseconds since the epoch; times that no file system can store become the epoch, as dockerd has it."""
    return seconds * 1_000_000_000 if -_TIME_RANGE < seconds < _TIME_RANGE else 0


def time_of_text(value: bytes) -> int:
    """The nanoseconds of a PAX time: decimal seconds with any number of fractional digits, rounded down."""
    match = _TIME.fullmatch(value)
    if match is None:
        raise ArchiveError("archive/tar: invalid PAX time")
    sign, seconds, fraction = match.groups()
    whole = int(seconds)
    if whole >= _TIME_RANGE:
        return 0
    total = whole * 1_000_000_000 + int(((fraction or b"") + b"000000000")[:9])
    return -total if sign else total


def decimal(value: bytes) -> int:
    """A PAX number: decimal digits only (Python's int() would take signs, blanks and underscores)."""
    if _DECIMAL.fullmatch(value) is None:
        raise ArchiveError("archive/tar: invalid PAX number")
    return int(value)


def pax_records(data: bytes) -> Iterator[tuple[bytes, bytes]]:
    """The `length key=value` records of an extended header, in order."""
    position = 0
    while position < len(data):
        blank = data.find(b" ", position, position + 21)
        if blank < 0:
            if not data[position:].strip(b"\0"):  # NUL padding that some writers count in
                return
            raise ArchiveError("archive/tar: invalid PAX record")
        end = position + decimal(data[position:blank])
        equals = data.find(b"=", blank, end)
        if end > len(data) or equals < blank + 2 or data[end - 1 : end] != b"\n":
            raise ArchiveError("archive/tar: invalid PAX record")
        yield data[blank + 1 : equals], data[equals + 1 : end - 1]
        position = end


def format_pax_record(key: bytes, value: bytes) -> bytes:
    """One record; its length counts its own digits."""
    rest = b" " + key + b"=" + value + b"\n"
    length = len(rest) + len(str(len(rest)))
    if len(str(length)) + len(rest) != length:
        length = len(rest) + len(str(length))
    return str(length).encode() + rest


def apply_pax(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """Lay PAX records over an entry. An empty value takes the header's back, so it is passed over."""
    sparse: list[tuple[bytes, bytes]] = []
    for key, value in records:
        if key.startswith(b"GNU.sparse."):
            sparse.append((key[11:], value))
        elif key.startswith((b"SCHILY.xattr.", b"LIBARCHIVE.xattr.")):
            name, content = _xattr(key, value)
            entry.xattrs[name] = content
        elif value:
            _apply_record(entry, key, value)
    if sparse:
        _apply_sparse(entry, sparse)


def _apply_record(entry: Entry, key: bytes, value: bytes) -> None:
    match key:
        case b"path":
            entry.name = _path(value)
        case b"linkpath":
            entry.link = _path(value)
        case b"size":
            entry.size = entry.stored = size_of(decimal(value))
        case b"uid":
            entry.uid = id_of(decimal(value))
        case b"gid":
            entry.gid = id_of(decimal(value))
        case b"mtime":
            entry.mtime_ns = time_of_text(value)
        case b"atime":
            entry.atime_ns = time_of_text(value)
        case b"SCHILY.devmajor":
            entry.major = decimal(value)
        case b"SCHILY.devminor":
            entry.minor = decimal(value)


def _path(value: bytes) -> bytes:
    if b"\0" in value:
        raise ArchiveError("archive/tar: invalid PAX record: NUL in a path")
    return value


def _xattr(key: bytes, value: bytes) -> tuple[str, bytes]:
    if key.startswith(b"SCHILY.xattr."):
        name = key[13:]
    else:
        name = unquote_to_bytes(key[17:])
        try:
            value = base64.b64decode(value + b"=" * (-len(value) % 4), validate=True)  # libarchive leaves padding out
        except binascii.Error:
            raise ArchiveError("archive/tar: invalid base64 in LIBARCHIVE.xattr") from None
    if not name or b"\0" in name or len(name) > 255 or len(value) > 65536:
        raise ArchiveError("archive/tar: invalid extended attribute")
    return name.decode(errors="surrogateescape"), value


def _apply_sparse(entry: Entry, records: list[tuple[bytes, bytes]]) -> None:
    """GNU sparse files in PAX form: 0.0 (a record per part), 0.1 (one `map` record); 1.0 has its map in the data."""
    offsets: list[int] = []
    parts: list[tuple[int, int]] = []
    seen = dict(records)
    for key, value in records:
        if key == b"offset":
            offsets.append(decimal(value))
        elif key == b"numbytes" and offsets:
            parts.append((offsets[-1], decimal(value)))
    if b"map" in seen:
        values = [decimal(item) for item in seen[b"map"].split(b",")] if seen[b"map"] else []
        parts = list(zip(values[::2], values[1::2], strict=False))
    if b"name" in seen:
        entry.name = _path(seen[b"name"])
    if seen.get(b"major") == b"1":
        entry.sparse = []  # filled in when the data is reached
        entry.kind = GNU_SPARSE
    elif parts or b"map" in seen or b"numblocks" in seen:
        entry.sparse = parts
    else:
        return
    entry.size = size_of(decimal(seen.get(b"realsize", seen.get(b"size", b""))))


def old_sparse_parts(block: bytes, start: int, count: int) -> list[tuple[int, int]]:
    """The (offset, length) pairs in a GNU 'S' header (from 386, 4 of them) or its extension blocks (from 0, 21)."""
    parts = []
    for position in range(start, start + 24 * count, 24):
        if not block[position]:
            break
        parts.append((number(block[position : position + 12]), number(block[position + 12 : position + 24])))
    return parts


def check_sparse(parts: list[tuple[int, int]], size: int, stored: int) -> None:
    """Refuse a sparse map whose parts overlap, go backwards, lie outside the file or do not add up to the data."""
    position = total = 0
    for offset, length in parts:
        if offset < position or length < 0 or offset + length > size:
            raise ArchiveError("archive/tar: invalid sparse map")
        position = offset + length
        total += length
    if total != stored:
        raise ArchiveError("archive/tar: invalid sparse map: its parts do not add up to the data")


def components(name: bytes) -> list[bytes]:
    """The path of a member from the archive's root, `.` and `..` taken lexically.

    Absolute names start at the root as well. A name that climbs above the root is refused, as are names no file can
    have.
    """
    if len(name) > MAX_PATH:
        raise ArchiveError("file name too long in layer archive")
    parts: list[bytes] = []
    for part in name.split(b"/"):
        if part == b"" or part == b".":
            continue
        if part == b"..":
            if not parts:
                raise ArchiveError(f"{os_text(name)!r} is outside of the layer")
            parts.pop()
        elif len(part) > MAX_NAME:
            raise ArchiveError("file name too long in layer archive")
        else:
            parts.append(part)
    return parts


def os_text(name: bytes) -> str:
    """A name from an archive for a message: printable, bounded."""
    return name[:200].decode(errors="replace")
