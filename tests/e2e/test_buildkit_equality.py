"""What BuildKit's cache gives is, byte for byte, what a build without it gives: whatever has been edited before."""

from __future__ import annotations

import io
import itertools
import os
import re
import shutil
import tarfile
import tempfile
from pathlib import Path
from typing import Any

import pytest
from buildkit_client import Build, BuildClient
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Struct

EPOCH = 1_500_000_000  # older than all files: what is copied is not told apart by its times
LOOK = 'find . | sort | while read f; do stat -c \'%n %a %F\' "$f"; cat "$f"; readlink "$f"; done'


@pytest.mark.parametrize(
    "step",
    [
        "COPY link /y/",
        "COPY link/x /y",
        "COPY two/x /y",
        "COPY g/* /y/",
        "RUN --mount=type=bind,source=link,target=/m cp /m/x /y",
        "RUN --mount=type=bind,source=g/f,target=/m cp /m /y",
    ],
)
def test_what_links_of_the_context_lead_to_counts(build: Any, context: Path, step: str) -> None:
    for name in ("d", "g"):
        (context / name).mkdir()
    for name, target in {"link": "d", "two": "link", "g/f": "../d/x"}.items():
        (context / name).symlink_to(target)
    images = []
    for content in ("1", "2"):
        (context / "d" / "x").write_text(content)
        images.append(build(f"FROM busybox\n{step}\n").image)
    assert images[0] != images[1]


# Random projects: files, and a Dockerfile of some stages

PATHS = ("a", "b", "d", "d/a", "d/e", "d/e/f", "g", "g/a", "[a]")


class File(Struct, frozen=True):
    """A file with content, a link or (neither of them) a directory. `time` is for equal files that are told apart."""

    content: str | None = None
    target: str = ""
    mode: int = 0o644
    time: int = 0


Tree = dict[str, File]
_modes = st.sampled_from((0o644, 0o755, 0o600, 0o4755))
_times = st.integers(0, 3)
_plain = st.builds(File, content=st.sampled_from(("1", "2", "x" * 5000, "")), mode=_modes, time=_times)
_links = st.builds(File, target=st.sampled_from(("a", "d", "../a", "/d/a", "e", "g", "missing")), time=_times)
_directories = st.builds(File, mode=st.sampled_from((0o755, 0o700, 0o1777)), time=_times)
_files = st.one_of(_plain, _plain, _links, _directories)
_START: Tree = {path: File(path) for path in ("a", "d/a", "d/e/f", "g/a")}  # so that most steps find something
_trees = st.dictionaries(st.sampled_from(PATHS), _files).map(lambda tree: _START | tree)


@st.composite
def _edited(draw: st.DrawFn, tree: Tree) -> Tree:
    """A tree after some files were written, made something else, touched, renamed or removed."""
    tree = dict(tree)
    for _ in range(draw(st.integers(0, 3))):
        path, other = draw(st.sampled_from(PATHS)), draw(st.sampled_from(PATHS))
        match draw(st.sampled_from(("write", "remove", "rename", "touch", "chmod"))):
            case "write":
                tree[path] = draw(_files)
            case "remove":
                tree.pop(path, None)
            case "rename" if path in tree:
                tree[other] = tree.pop(path)
            case "touch" if path in tree:
                tree[path] = File(tree[path].content, tree[path].target, tree[path].mode, draw(_times))
            case "chmod" if path in tree:
                tree[path] = File(tree[path].content, tree[path].target, draw(_modes) | 0o400, tree[path].time)
    return tree


_sources = st.sampled_from(("a", "a*", "*", ".", "d", "d/", "d/*", "d/e", "*/a", "g/a", "[a]", "d/e/f", "./d/./e"))
_targets = st.sampled_from(("/x", "/x/", "/x/y/", "rel", "/d/e", "/etc/", "/l/"))
_flags = st.lists(
    st.sampled_from(
        ("--link", "--chmod=0711", "--chown=1:2", "--chown=daemon", "--exclude=a", "--exclude=**/e", "--parents")
    ),
    max_size=3,
    unique_by=lambda flag: flag.partition("=")[0],
).map(" ".join)
_commands = st.sampled_from(
    (
        "echo $A$B > /f",
        "rm -rf /x",
        "mkdir -p /x/y && chmod 700 /x",
        "ln -sfn /d /l; mkdir -p /d",
        "chmod 1777 . ; touch here",
        "mv /x /z",
        "cp -a /etc/passwd /p; chown 5:6 /p",
        "rm -rf /d && mkdir -p /d && touch /d/new",
        f"({LOOK}) > /tmp/look",
    )
)


@st.composite
def _step(draw: st.DrawFn, stages: list[str]) -> str:
    origin = draw(st.sampled_from(["", "", "", "named", *stages]))
    place = f" --from={origin}" if origin else ""
    match draw(st.sampled_from(("copy", "copy", "copy", "add", "run", "mount", "more", "set"))):
        case "copy":
            return f"COPY {draw(_flags)}{place} {draw(_sources)} {draw(_targets)}"
        case "add":
            return f"ADD {draw(st.sampled_from(('t.tar', 'a*', '--chmod=600 d', '--link t.tar')))} {draw(_targets)}"
        case "run":
            return f"RUN {draw(_commands)} || true"
        case "mount":
            source = draw(st.sampled_from(("", ",source=a", ",source=d", ",source=d/e", ",source=g", ",rw")))
            mount = f"--mount=type=bind,target=/m{source}" + (f",from={origin}" if origin else "")
            # an image as a whole is too much to look at
            return f"RUN {mount} cd /m 2>/dev/null && ls -d * > /seen; cd /m/d && {LOOK} > /out; cat /m > /c; true"
        case "more":
            kind = draw(st.sampled_from(("tmpfs,target=/x", "cache,target=/x", "secret,id=s", "ssh")))
            return f"RUN --mount=type={kind} echo 1 > /x/t; ls -d /x > /there; cat /run/secrets/s > /dev/null; true"
        case _:
            setting = draw(st.sampled_from(("ENV A=", "ARG B=", "ENV B=$A", "WORKDIR /w", "WORKDIR r", "USER ")))
            return setting + draw(st.sampled_from("12"))


@st.composite
def _stage(draw: st.DrawFn, earlier: list[str]) -> list[str]:
    base = draw(st.sampled_from(["busybox", "busybox", *earlier]))
    return [f"FROM {base} AS s{len(earlier)}", *draw(st.lists(_step(earlier), min_size=1, max_size=4))]


@st.composite
def _projects(draw: st.DrawFn) -> list[tuple[str, Tree, Tree]]:
    """States of a project, one after the other: its Dockerfile, its files, those of the other context."""
    stages: list[list[str]] = []
    for number in range(draw(st.integers(1, 3))):
        stages.append(draw(_stage([f"s{each}" for each in range(number)])))
    tree, named = draw(_trees), draw(_trees)
    states = []
    for _ in range(2):
        states.append(("\n".join(itertools.chain(*stages)) + "\n", tree, named))
        tree, named = draw(_edited(tree)), draw(_edited(named))
        for stage in stages:
            if draw(st.integers(0, 3)) == 0:
                stage[1:] = [step for step in stage[1:] if draw(st.booleans())]
    return states


def lay_out(place: Path, tree: Tree) -> None:
    """Make a directory look like this. What would be below something that is no directory is left out."""
    for entry in list(place.iterdir()):
        shutil.rmtree(entry) if entry.is_dir() and not entry.is_symlink() else entry.unlink()
    (place / "t.tar").write_bytes(_archive(tree))
    for path, file in sorted(tree.items()):
        full = place / path
        if any(parent.is_symlink() or parent.is_file() for parent in (full.parent, full.parent.parent)):
            continue
        full.parent.mkdir(parents=True, exist_ok=True)
        if file.target:
            full.symlink_to(file.target)
        elif file.content is not None:
            full.write_text(file.content)
        else:
            full.mkdir(exist_ok=True)
        if not file.target:
            full.chmod(file.mode | (0o500 if file.content is None else 0o400))
    for path in sorted(place.rglob("*"), reverse=True):
        file = tree.get(str(path.relative_to(place)), File(time=len(tree)))
        # A client tells new content by size and time: what differs in it has another time.
        moment = EPOCH + 1000 + file.time + 10 * (len(file.content or "") + ord((file.content or "0")[0]))
        os.utime(path, (moment, moment), follow_symlinks=False)


def _archive(tree: Tree) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in ("in", "also"):
            info = tarfile.TarInfo(name)
            info.size, info.mtime = len(tree), EPOCH
            archive.addfile(info, io.BytesIO(b"." * len(tree)))
    return buffer.getvalue()


class Project:
    """The directories of a project. Builds without the cache are from copies, so that all is sent anew."""

    def __init__(self, place: Path) -> None:
        self._place = place
        for name in ("context", "named"):
            (place / name).mkdir()

    async def build(self, client: BuildClient, state: tuple[str, Tree, Tree], *, cached: bool) -> Build:
        text, tree, named = state
        place = self._place
        lay_out(place / "context", tree)
        lay_out(place / "named", named)
        if not cached:
            place = Path(tempfile.mkdtemp(dir=self._place))
            for name in ("context", "named"):
                shutil.copytree(self._place / name, place / name, symlinks=True)
        client.directories["named"] = place / "named"
        client.secrets["s"] = b"hidden"
        options = {"build-arg:SOURCE_DATE_EPOCH": str(EPOCH), "context:named": "local:named"}
        if not cached:
            options["no-cache"] = ""
        return await client.build(place / "context", text, **options)


def failure(build: Build) -> str:
    """Why it has failed, without what tells one context from another."""
    return re.sub("knarr::[0-9a-f]+", "", str(build.error and build.error.message))


@settings(max_examples=8 if settings.default.derandomize else 1000, suppress_health_check=list(HealthCheck))
@given(_projects())
def test_cached_and_uncached_results_are_the_same(do: Any, docker: Any, states: list[tuple[str, Tree, Tree]]) -> None:
    async def work(client: BuildClient) -> None:
        with tempfile.TemporaryDirectory() as place:
            project = Project(Path(place))
            for state in states:
                cached = await project.build(client, state, cached=True)
            fresh = await project.build(client, state, cached=False)
            again = await project.build(client, state, cached=True)
            if fresh.error is not None:
                assert failure(cached) == failure(fresh)
                return
            assert cached.image == fresh.image == again.image, state
            run = {name for name in again.names if " RUN " in name}
            assert run <= set(again.cached)

    try:
        do(work)
    finally:  # an example does not depend on the ones before it, and many do not fill the disk
        docker("image", "prune", "--force")
        docker("builder", "prune", "--all", "--force")
