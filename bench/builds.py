#!/usr/bin/env python3
"""How long engines take for `docker build` with BuildKit. With several engines they take turns, so that drift hits all.

    .venv/bin/python bench/builds.py --image IMAGE ADDRESS [ADDRESS…]

ADDRESS is where an engine of Docker's API listens (unix:///path), IMAGE one that all of them have and that contains a
shell. `docker` has to be on PATH, with its buildx plugin; measured is the whole command, its own time included. Printed
are medians in milliseconds, with several engines also how the first compares with each other one (below 1.00: the
first is faster). Images are left untagged: `docker image prune` and `docker builder prune` remove what remains.
"""

from __future__ import annotations

import argparse
import os
import random
import statistics
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path

FILES, DIRECTORIES = 5000, 50
STEPS = 12


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("addresses", nargs="+", metavar="ADDRESS")
    parser.add_argument("--image", default="busybox")
    parser.add_argument("--turns", type=int, default=5)
    parser.add_argument("--only", default="", help="measure only what has this in its name")
    arguments = parser.parse_args()
    print(f"{'':30}" + "".join(f"{address.rpartition('/')[2][-14:]:>15}" for address in arguments.addresses))
    for name, measure in MEASURES.items():
        if arguments.only in name:
            with tempfile.TemporaryDirectory(prefix="knarr-bench-") as scratch:
                runs = [
                    measure(Builder(address, arguments.image, Path(scratch, str(number))))
                    for number, address in enumerate(arguments.addresses)
                ]
                for run in runs:
                    next(run)
                turns = [[next(run) for run in runs] for _ in range(arguments.turns)]
            print(row(name, [statistics.median(column) for column in zip(*turns, strict=True)]), flush=True)


def row(name: str, figures: list[float]) -> str:
    """A line of the table."""
    shown = "".join(f"{figure:15.0f}" for figure in figures)
    return f"{name:30}{shown}" + "".join(f"{figures[0] / other:8.2f}" for other in figures[1:])


class Builder:
    """One engine, and contexts of its own in `directory`."""

    def __init__(self, address: str, image: str, directory: Path) -> None:
        self.base = f"FROM {image}"
        self.directory = self._scratch = directory
        self._environment = {**os.environ, "DOCKER_HOST": address, "DOCKER_BUILDKIT": "1"}
        directory.mkdir()

    def build(self, *lines: str) -> float:
        """Milliseconds that a build of these lines takes."""
        (self.directory / "Dockerfile").write_text("\n".join([*lines, ""]))
        return self.docker("build", "--progress=plain", str(self.directory))

    def docker(self, *arguments: str) -> float:
        """Milliseconds that a command of docker's takes."""
        begin = time.perf_counter()
        done = subprocess.run(
            ["docker", *arguments], env=self._environment, capture_output=True, text=True, check=False
        )
        if done.returncode:
            raise SystemExit(done.stderr)
        return (time.perf_counter() - begin) * 1e3

    def fill(self) -> None:
        """Begin another context: 5,000 files, 15 MB of random bytes."""
        self.directory = self._scratch / salt()
        for number in range(FILES):
            self.write(number)

    def write(self, number: int) -> None:
        """New content for one file."""
        path = self.directory / "files" / str(number % DIRECTORIES) / f"{number}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(random.randbytes(random.randrange(6000)))


Measure = Callable[[Builder], Iterator[float]]


def salt() -> str:
    """What no other build has."""
    return os.urandom(8).hex()


def client(builder: Builder) -> Iterator[float]:
    """What docker and its plugin take to start, which is in all other figures."""
    while True:
        yield builder.docker("buildx", "version")


def smallest(builder: Builder) -> Iterator[float]:
    """The time that is not the steps'."""
    while True:
        yield builder.build(builder.base, "LABEL a=b")


def steps(builder: Builder, changed: int) -> Iterator[float]:
    """Steps are made again from the `changed` one on."""
    lines = [f"RUN echo {step} > /{step}" for step in range(STEPS)]
    builder.build(builder.base, *lines)
    while True:
        lines[changed] = f"RUN echo {salt()} > /{changed}"
        yield builder.build(builder.base, *lines)


def stages(builder: Builder, changed: bool) -> Iterator[float]:
    """Three stages that give files to a fourth one; all are new, or one of them has `changed`."""
    salts = [salt(), salt(), salt()]
    while True:
        salts = [salts[0], salt(), salts[2]] if changed else [salt(), salt(), salt()]
        lines = []
        for name, seed in zip("abc", salts, strict=True):
            lines += [f"{builder.base} AS {name}", f"RUN echo {seed} > /{name}", f"RUN mkdir /out && cp /{name} /out"]
        copies = [f"COPY --from={name} /out/{name} /srv/{name}" for name in "abc"]
        yield builder.build(*lines, builder.base, *copies, "RUN cat /srv/a /srv/b /srv/c > /all")


def first_files(builder: Builder) -> Iterator[float]:
    """All files are new."""
    while True:
        builder.fill()
        yield builder.build(builder.base, "COPY files /files", "RUN ls /files > /list")


def known_files(builder: Builder, before: bool = False, after: bool = False, files: int = 0) -> Iterator[float]:
    """A line `before` or `after` COPY is new, or some of the files."""
    builder.fill()
    while True:
        for number in range(files):
            builder.write(number)
        early, late = salt() if before else "", salt() if after else ""
        lines = [f"RUN echo {early} > /early", "COPY files /files", f"RUN ls /files > /list; echo {late} > /late"]
        yield builder.build(builder.base, *lines)


MEASURES: dict[str, Measure] = {
    "the client's start": client,
    "nothing to do": smallest,
    "12 steps": partial(steps, changed=0),
    "12 steps, the last changed": partial(steps, changed=STEPS - 1),
    "4 stages": partial(stages, changed=False),
    "4 stages, one changed": partial(stages, changed=True),
    "5,000 files, all new": first_files,
    "5,000 files, none changed": known_files,
    "5,000 files, one changed": partial(known_files, files=1),
    "5,000 files, a line after": partial(known_files, after=True),
    "5,000 files, a line before": partial(known_files, before=True),
}

if __name__ == "__main__":
    main()
