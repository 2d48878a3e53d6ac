"""How long knarr's layer store takes to unpack an archive, against GNU tar with the same one, in turns.

Each turn writes into a fresh directory of a fresh ext4 on a loop device: one that many files were deleted from places
new inodes worse, which would be measured too. Shown are the medians of wall time and of processor time over all
threads; knarr also hashes what it reads, which tar does not. Run as root.
"""

from __future__ import annotations

import argparse
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from knarr.database import Database
from knarr.storage.layers import LayerStore


@contextmanager
def fresh_file_system(size: int) -> Iterator[Path]:
    """The mount point of an empty ext4 of `size` bytes in a sparse file; gone afterwards."""
    with tempfile.TemporaryDirectory(prefix="knarr-bench-") as directory:
        image, place = Path(directory, "image"), Path(directory, "mount")
        image.touch()
        os.truncate(image, size)
        subprocess.run(["mkfs.ext4", "-q", "-F", "-E", "lazy_itable_init=0,lazy_journal_init=0", image], check=True)
        place.mkdir()
        subprocess.run(["mount", "-o", "loop", image, place], check=True)
        try:
            yield place
        finally:
            subprocess.run(["umount", place], check=True)


def with_tar(archive: Path, place: Path) -> None:
    """In a child: what GNU tar does when root lets it restore owners, modes and attributes."""
    target = place / "tar"
    target.mkdir()
    os.execvp("tar", ["tar", "--numeric-owner", "--xattrs", "-C", str(target), "-xf", str(archive)])


def with_knarr(archive: Path, place: Path) -> None:
    """In a child: a layer store on the overlay driver applies the archive as the first layer of an image."""
    layers = LayerStore(place, Database(place / "state.db"), "overlay2")
    with archive.open("rb", buffering=0) as stream:
        layers.apply(None, stream)
    layers.close()


def timed(work: Callable[[Path, Path], None], archive: Path) -> tuple[float, float]:
    """Seconds of wall and of processor time that a child takes for `work`."""
    with fresh_file_system(archive.stat().st_size * 2 + (1 << 30)) as place:
        os.sync()
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        started = time.monotonic()
        child = os.fork()
        if not child:
            try:
                work(archive, place)
                os._exit(0)
            finally:
                os._exit(1)
        _, status = os.waitpid(child, 0)
        wall = time.monotonic() - started
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
    if status:
        sys.exit(f"{work.__name__} failed")
    return wall, after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    """Measure each archive and print a line for it."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("archives", type=Path, nargs="+", help="uncompressed tar archives")
    parser.add_argument("--turns", type=int, default=7)
    arguments = parser.parse_args()
    for archive in arguments.archives:
        archive.read_bytes()  # into the page cache
        turns = [(timed(with_tar, archive), timed(with_knarr, archive)) for _ in range(arguments.turns)]
        print(archive)
        for index, kind in enumerate(("wall", "processor")):
            tar = statistics.median(turn[0][index] for turn in turns)
            knarr = statistics.median(turn[1][index] for turn in turns)
            ratio = statistics.median(turn[1][index] / turn[0][index] for turn in turns)
            print(f"  {kind:9}  tar {tar:6.3f} s  knarr {knarr:6.3f} s  median of ratios {ratio:.2f}")


if __name__ == "__main__":
    main()
