"""Builds over BuildKit's protocol, by a client of the tests' own."""

from __future__ import annotations

import asyncio
import json
import re
import shutil
import subprocess
import tarfile
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from buildkit_client import Build, BuildClient, Received
from grpclib.client import UnaryStreamMethod
from harness import Daemon
from rootful import LOOPBACK

from knarr.buildkit.proto import control_pb2 as control


def test_an_image_that_runs(build: Any, context: Path, docker: Any) -> None:
    (context / "a").write_text("from the context\n")
    done = build(
        "FROM busybox\nRUN echo built > /f\nCOPY a /x/\nWORKDIR /w\nENV A=1\nCMD cat /f /x/a; pwd\n",
        attributes={"name": "bk-run:1"},
    )
    assert docker("run", "--rm", "bk-run:1") == "built\nfrom the context\n/w"
    assert done.image == docker("image", "inspect", "--format", "{{.Id}}", "bk-run:1")
    assert [name for name in done.names if "internal" not in name] == [
        "[1/4] FROM docker.io/library/busybox:latest",
        "[2/4] RUN echo built > /f",
        "[3/4] COPY a /x/",
        "[4/4] WORKDIR /w",
        "exporting to image",
    ]
    history = docker("history", "--no-trunc", "--format", "{{.CreatedBy}}|{{.Comment}}", "bk-run:1").splitlines()
    assert history[1] == "ENV A=1|buildkit.dockerfile.v0"
    assert history[4] == "RUN /bin/sh -c echo built > /f # buildkit|buildkit.dockerfile.v0"


def test_only_changes_are_sent(do: Any, tmp_path: Path) -> None:
    for name in ("same", "changes", "goes"):
        (tmp_path / name).write_text(name)

    async def work(client: BuildClient) -> list[list[str]]:
        sent = []
        for edit in (lambda: None, lambda: (tmp_path / "changes").write_text("other"), (tmp_path / "goes").unlink):
            edit()
            await client.build(tmp_path, filename="the-dockerfile")
            sent.append(sorted(set(client.files.sent) - {"the-dockerfile"}))
        return sent

    (tmp_path / "the-dockerfile").write_text("FROM busybox\nCOPY same changes goe* /c/\n")
    assert do(work) == [["changes", "goes", "same"], ["changes"], []]


def test_what_has_gone_is_not_copied(build: Any, context: Path) -> None:
    (context / "old").mkdir()
    (context / "old/file").write_text("1")
    build("FROM scratch\nCOPY . /\n")
    (context / "old/file").unlink()
    (context / "old").rmdir()
    (context / "old").write_text("now a file")
    received = Received(tree=True)
    build("FROM scratch\nCOPY . /\n", exporter="local", received=received)
    assert received.files.keys() == {"Dockerfile", "old"}


def test_steps_come_from_the_cache(build: Any, context: Path) -> None:
    text = "FROM busybox\nCOPY a /a\nRUN date +%N > /stamp\n"
    (context / "a").write_text("1")
    first = build(text)
    again = build(text)
    assert again.image == first.image
    assert again.cached == ["[1/3] FROM docker.io/library/busybox:latest", "[2/3] COPY a /a", first.names[-2]]
    (context / "a").write_text("2")
    assert build(text).image != first.image
    assert build(text, **{"no-cache": ""}).cached == ["[1/3] FROM docker.io/library/busybox:latest"]


def test_a_failing_step_shows_its_lines(build: Any) -> None:
    done = build("FROM busybox\nRUN echo before; \\\n  exit 37\n")
    assert done.error.message == (
        'process "/bin/sh -c echo before;   exit 37" did not complete successfully: exit code: 37'
    )
    assert done.log == "before\n"
    source = json.loads(next(detail.value for detail in done.error.details if "Source" in detail.type_url))
    assert source["ranges"] == [{"start": {"line": 2}, "end": {"line": 3}}]
    assert source["info"]["filename"] == "Dockerfile"


@pytest.mark.parametrize("source", ["nope", "../up/../nope", "--from=busybox /nope", "nop[e]"])
def test_a_missing_file(build: Any, context: Path, source: str) -> None:
    if "[" in source:
        (context / "nope").symlink_to("nowhere")
    words = r'failed to compute cache key: failed to calculate checksum of ref \S+: "/nope": not found'
    assert re.fullmatch(words, build(f"FROM busybox\nCOPY {source} /x\n").error.message)


def test_a_pattern_that_nothing_fits(build: Any, context: Path) -> None:
    (context / "a").touch()
    assert build("FROM busybox\nCOPY ../a none* /there/\nRUN test $(ls /there) = a\n").error is None


@pytest.mark.parametrize(
    ("dockerfile", "words"),
    [
        ("FROM busybox\nRUN --device=d true\n", "RUN --device is not supported"),
        ("FROM busybox\nBOGUS x\n", "unknown instruction: BOGUS"),
        ("FROM host\nRUN true\n", "the built-in image host has no layers"),
        ("FROM busybox\nRUN --security=insecure true\n", "security.insecure is not allowed"),
        ("FROM busybox\nRUN --mount=type=secret,id=k,required true\n", "secret k: not found"),
        ("# syntax=example.com/other:1\nFROM busybox\n", "example.com/other:1"),
    ],
)
def test_what_is_refused(build: Any, dockerfile: str, words: str) -> None:
    assert words in build(dockerfile).error.message


def test_stages_are_built_side_by_side(build: Any) -> None:
    """Each of the two steps waits for the other, in a pipe that both have mounted."""
    mount = "--mount=type=cache,id=rendezvous,target=/c"
    done = build(
        f"FROM busybox AS pipe\nRUN {mount} mkfifo /c/p && touch /made\n"
        f"FROM pipe AS one\nRUN {mount} echo hello > /c/p && touch /one\n"
        f"FROM pipe AS two\nRUN {mount} cat /c/p > /two\n"
        "FROM scratch\nCOPY --from=one /one /\nCOPY --from=two /two /\n",
    )
    assert done.error is None


def test_stages_that_nobody_needs_are_not_built(build: Any) -> None:
    done = build("FROM busybox AS unused\nRUN exit 1\nFROM busybox\nRUN true\n")
    assert done.error is None
    assert not any("exit 1" in name for name in done.names)


def test_cancelled_steps_are_stopped(do: Any, engine_host: Daemon, tmp_path: Path) -> None:
    async def work(client: BuildClient) -> None:
        began = asyncio.Event()
        seen: list[Build] = []

        def watch(build: Build, message: control.StatusResponse) -> None:
            seen.append(build)
            if b"began" in b"".join(log.msg for log in message.logs):
                began.set()

        task = asyncio.ensure_future(
            client.build(tmp_path, "FROM busybox\nRUN echo began; exec sleep 987654\n", watch=watch)
        )
        await began.wait()
        task.cancel()
        await asyncio.wait([task])
        await ended(client, seen[0].ref)

    do(work)
    assert "sleep 987654" not in " ".join(command_lines())


def test_a_step_that_several_builds_want_is_run_once(engine_host: Daemon, tmp_path: Path) -> None:
    text = "FROM busybox\nRUN date +%N > /once; sleep 0.2; echo run\n"

    async def one(name: str) -> Build:
        (tmp_path / name).mkdir()
        async with BuildClient.connected(engine_host.socket_path) as client:
            return await client.build(tmp_path / name, text)

    async def work() -> list[Build]:
        return await asyncio.gather(*(one(name) for name in "abcd"))

    done = asyncio.run(work())
    assert len({each.image for each in done}) == 1
    assert sorted(each.log for each in done) == ["", "", "", "run\n"]


def test_a_step_goes_on_for_others_when_one_is_cancelled(engine_host: Daemon, tmp_path: Path) -> None:
    cache = "--mount=type=cache,id=two-clients,target=/c"
    text = f"FROM busybox\nRUN {cache} echo began; test -e /c/seen && exit; touch /c/seen; exec sleep 987655\n"

    async def work() -> Build:
        began, waits = asyncio.Event(), asyncio.Event()

        def first(build: Build, message: control.StatusResponse) -> None:
            if any(b"began" in log.msg for log in message.logs):
                began.set()

        def second(build: Build, message: control.StatusResponse) -> None:
            if any("RUN" in vertex.name for vertex in message.vertexes):
                waits.set()

        (tmp_path / "one").mkdir()
        (tmp_path / "two").mkdir()
        async with (
            BuildClient.connected(engine_host.socket_path) as one,
            BuildClient.connected(engine_host.socket_path) as two,
        ):
            cancelled = asyncio.ensure_future(one.build(tmp_path / "one", text, watch=first))
            await began.wait()
            other = asyncio.ensure_future(two.build(tmp_path / "two", text, watch=second))
            await waits.wait()
            cancelled.cancel()
            await asyncio.wait([cancelled])
            return await other

    assert asyncio.run(work()).error is None
    assert "sleep 987655" not in " ".join(command_lines())


def command_lines() -> Iterator[str]:
    """Those of all processes."""
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        with suppress(OSError):
            yield path.read_bytes().replace(b"\0", b" ").decode(errors="replace")


async def ended(client: BuildClient, ref: str) -> None:
    """Wait until the engine has done with a build."""
    path = "/moby.buildkit.v1.Control/ListenBuildHistory"
    method = UnaryStreamMethod(client.channel, path, control.BuildHistoryRequest, control.BuildHistoryEvent)
    async with method.open() as stream:
        await stream.send_message(control.BuildHistoryRequest(Ref=ref), end=True)
        async for event in stream:
            if event.type == control.COMPLETE:
                await stream.cancel()
                return


def test_secrets_stay_secret(build: Any, docker: Any, engine_host: Daemon) -> None:
    secret = b"correct-horse-battery"
    done = build(
        "FROM busybox\n"
        "RUN --mount=type=secret,id=k test $(wc -c < /run/secrets/k) = 21 && stat -c %a /run/secrets/k\n"
        "RUN --mount=type=secret,id=k,env=K test ${#K} = 21 && test ! -e /run/secrets\n",
        client=lambda one: one.secrets.update(k=secret),
        attributes={"name": "bk-secret:1"},
    )
    assert (done.error, done.log) == (None, "400\n")
    assert secret not in engine_host.docker("save", "bk-secret:1").stdout
    places = [path for path in engine_host.directory.rglob("*") if path.is_file() and path.name != "s"]
    assert not any(secret in path.read_bytes() for path in places)


def test_mounts_of_steps(build: Any, context: Path) -> None:
    (context / "f").write_text("mounted\n")
    done = build(
        "FROM busybox AS other\nRUN echo other > /o\n"
        "FROM busybox\n"
        "RUN --mount=type=bind,target=/ctx cat /ctx/f\n"
        "RUN --mount=type=bind,from=other,source=/o,target=/o cat /o\n"
        "RUN --mount=type=bind,from=other,target=/rw,rw touch /rw/new && ls /rw/new\n"
        "RUN --mount=type=tmpfs,target=/t,size=1m grep -c ' /t ' /proc/mounts\n"
        "RUN --network=none ls /sys/class/net\n"
        "RUN test ! -e /ctx && test ! -e /t && test ! -e /rw\n"
    )
    assert done.error is None
    assert sorted(done.log.split()) == sorted(["mounted", "other", "/rw/new", "1", "lo"])


@LOOPBACK
def test_files_of_an_archive_are_mounted(build: Any, web: tuple[str, Path], tmp_path: Path) -> None:
    """What links lead to decides, as in a context of the client's."""
    address, directory = web
    steps = [f"RUN --mount=source={name},target=/m cat /m\n" for name in ("file", "link")]
    steps += [f"RUN --mount=source={name},target=/m cat /m/file\n" for name in ("in", "way")]
    (tmp_path / "Dockerfile").write_text("".join(["FROM busybox\n", *steps]))
    (tmp_path / "Missing").write_text("FROM busybox\nRUN --mount=source=no,target=/m true\n")
    (tmp_path / "in").mkdir()
    (tmp_path / "link").symlink_to("file")
    (tmp_path / "way").symlink_to("in")
    for content in ("one", "two"):
        (tmp_path / "in/file").write_text(content)
        (tmp_path / "file").write_text(content)
        with tarfile.open(directory / "a.tar", "w") as archive:
            archive.add(tmp_path, ".")
        done = build("", context=f"{address}/a.tar")
        assert (done.error, done.log) == (None, content * 4)
    missing = build("", context=f"{address}/a.tar", filename="Missing")
    assert missing.error.message.endswith('"/no": not found')


@LOOPBACK
@pytest.mark.skipif(shutil.which("git") is None, reason="needs git")
def test_named_contexts_from_elsewhere(build: Any, web: tuple[str, Path], tmp_path: Path) -> None:
    address, directory = web
    place = tmp_path / "tree"
    (place / "part").mkdir(parents=True)
    (place / "part/file").write_text("of the repository")
    git = ["git", "-C", str(place), "-c", "user.name=n", "-c", "user.email=e"]
    for command in (["init", "-q", "-b", "main"], ["add", "."], ["commit", "-q", "-m", "m"], ["update-server-info"]):
        subprocess.run([*git, *command], check=True)
    shutil.copytree(place / ".git", directory / "named.git")
    text = "FROM busybox\nCOPY --from=other file /f\nRUN --mount=from=other,target=/m cat /f /m/file\n"
    done = build(text, **{"context:other": f"{address}/named.git#main:part"})
    assert (done.error, done.log) == (None, "of the repository" * 2)
    assert f"[context other] {address}/named.git#main:part" in done.names
    (directory / "file").write_text("of the web")
    done = build(text, **{"context:other": f"{address}/file"})
    assert (done.error, done.log) == (None, "of the web" * 2)
    failed = build(text, **{"context:other": "sftp://x/file"})
    assert failed.error.message == "unsupported context source sftp for other"


def test_a_cache_outlives_its_step(build: Any) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,id=bk-kept,target=/c echo x >> /c/x; wc -l < /c/x\n"
    assert build(text).log == "1\n"
    assert build(text, **{"no-cache": ""}).log == "2\n"


def test_caches_by_namespace(build: Any) -> None:
    text = "FROM busybox\nRUN --mount=type=cache,id=bk-ns,target=/c echo x >> /c/x; wc -l < /c/x\n"
    assert [build(text, **{"build-arg:BUILDKIT_CACHE_MOUNT_NS": name}).log for name in ("a", "b")] == ["1\n"] * 2


def test_a_cache_begins_as_a_copy(build: Any) -> None:
    step = "RUN --mount=type=cache,id=bk-from,from=seed,source=/d,target=/c cat /c/f; echo more >> /c/f\n"
    text = f"FROM busybox AS seed\nRUN mkdir /d && echo seed > /d/f\nFROM busybox\n{step}"
    first = build(text)
    assert (first.error, first.log) == (None, "seed\n")
    assert build(text, **{"no-cache": "1"}).log == "seed\nmore\n"


def test_a_context_that_is_written_to(build: Any, context: Path) -> None:
    (context / "f").write_text("as it was\n")
    text = "FROM busybox\nRUN --mount=target=/x,rw echo written > /x/f && touch /x/g && ls /x\n"
    assert build(text).log.split() == ["Dockerfile", "f", "g"]
    received = Received(tree=True)
    build("FROM scratch\nCOPY . /\n", exporter="local", received=received)
    assert received.files["f"] == b"as it was\n"
    assert "g" not in received.files


def test_here_documents(build: Any) -> None:
    received = Received(tree=True)
    done = build(
        "FROM busybox AS one\nARG WHO=world\nRUN <<E\necho one > /a\nE\nRUN <<'E' \n#!/bin/sh\necho two > /b\nE\n"
        "COPY <<F /c\nhello $WHO\nF\nFROM scratch\nCOPY --from=one /a /b /c /\n",
        exporter="local",
        received=received,
    )
    assert done.error is None
    assert received.files == {"a": b"one\n", "b": b"two\n", "c": b"hello world\n"}


def test_a_linked_copy_does_not_need_its_base(build: Any, context: Path) -> None:
    (context / "f").write_text("1")
    build("FROM busybox\nRUN echo 1 > /x\nCOPY --link f /d/f\n")
    done = build("FROM busybox\nRUN echo 2 > /x\nCOPY --link f /d/f\n")
    assert "[3/3] COPY --link f /d/f" in done.cached


def test_named_contexts(build: Any, tmp_path: Path) -> None:
    extra = tmp_path / "extra"
    extra.mkdir()
    (extra / "f").write_text("extra")
    received = Received(tree=True)
    done = build(
        "FROM base\nCOPY --from=more f /f\nFROM scratch\nCOPY --from=0 /f /f\n",
        client=lambda one: one.directories.update(more=extra),
        exporter="local",
        received=received,
        **{"context:more": "local:more", "context:base": "docker-image://busybox"},
    )
    assert (done.error, received.files) == (None, {"f": b"extra"})


def test_an_archive_of_files(build: Any, context: Path) -> None:
    (context / "d").mkdir()
    (context / "d/f").write_text("data")
    received = Received(tree=False)
    assert build("FROM scratch\nCOPY . /out\n", exporter="tar", received=received).error is None
    assert received.archive().extractfile("out/d/f").read() == b"data"


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_archive_of_an_image(build: Any, engine_host: Daemon, kind: str) -> None:
    received = Received(tree=False)
    done = build(
        f"FROM busybox\nRUN echo {kind} > /f\nCMD cat /f\n",
        exporter=kind,
        attributes={"name": f"bk-{kind}:1"},
        received=received,
    )
    assert done.image not in engine_host.text("images", "--all", "--quiet", "--no-trunc")
    assert "oci-layout" in received.archive().getnames()
    engine_host.docker("load", input=received.data)
    assert engine_host.text("run", "--rm", f"bk-{kind}:1") == kind


def test_the_name_of_the_host(build: Any) -> None:
    text = "FROM busybox\nRUN hostname\n"
    assert build(text).log == "buildkitsandbox\n"
    assert build(text, **{"build-arg:BUILDKIT_SANDBOX_HOSTNAME": "mine"}).log == "mine\n"


def test_settings_of_a_build(build: Any) -> None:
    done = build(
        "ARG BASE=nothing\nFROM $BASE\nARG X=default\nRUN echo $X; grep bhost /etc/hosts; ulimit -n\n",
        **{
            "build-arg:BASE": "busybox",
            "build-arg:X": "given",
            "label:l": "v",
            "add-hosts": "bhost=10.1.2.3",
            "ulimit": "nofile=99:99",
        },
    )
    assert done.log.split() == ["given", "10.1.2.3", "bhost", "99"]


def test_the_host_network_has_to_be_allowed(build: Any) -> None:
    text = "FROM busybox\nRUN --network=host true\n"
    assert "network.host is not allowed" in build(text).error.message
    assert build(text, entitlements=("network.host",)).error is None


# Caches outside of the engine

STAGES = "FROM busybox AS one\nRUN date +%N > /one\nFROM busybox\nRUN date +%N > /two\nCOPY --from=one /one /\n"


def imported(kind: str, **attributes: str) -> dict[str, str]:
    return {"cache-imports": json.dumps([{"Type": kind, "Attrs": attributes}])}


def test_a_cache_of_the_client(engine_host: Daemon, tmp_path: Path) -> None:
    async def work() -> None:
        async with BuildClient.connected(engine_host.socket_path) as client:
            out = (("local", {"dest": "d", "mode": "max"}),)
            first = await client.build(tmp_path, STAGES, caches=out)
            manifest = json.loads(first.response["cache.manifest"])["digest"]
            await prune(client)
            again = await client.build(tmp_path, "", **imported("local", src="d", digest=manifest))
            assert again.image == first.image
            assert "[stage-1 3/3] COPY --from=one /one /" in again.cached

    asyncio.run(work())


@LOOPBACK
@pytest.mark.parametrize("mode", ["min", "max"])
def test_a_cache_in_a_registry(do: Any, tmp_path: Path, registry: str, mode: str) -> None:
    async def work(client: BuildClient) -> None:
        out = {"ref": f"{registry}/cache:1", "mode": mode}
        first = await client.build(tmp_path, STAGES, caches=(("registry", out),))
        await prune(client)
        again = await client.build(tmp_path, "", **imported("registry", ref=f"{registry}/cache:1"))
        assert "[stage-1 3/3] COPY --from=one /one /" in again.cached
        assert "[stage-1 2/3] RUN date +%N > /two" in again.cached
        assert again.image == first.image

    do(work)


@LOOPBACK
@pytest.mark.parametrize("more", [{}, {"attest:provenance": "mode=min", "platform": "linux/amd64,linux/386"}])
def test_a_cache_in_an_image(do: Any, tmp_path: Path, registry: str, more: dict[str, str]) -> None:
    """By itself, and in an index of two platforms."""
    base = "FROM --platform=$BUILDPLATFORM busybox"
    text = f"{base}\nARG TARGETARCH\nRUN date +%N > /one\nRUN date +%N > /two\n"

    async def work(client: BuildClient) -> None:
        pushed = {"name": f"{registry}/image:1", "push": "true"}
        first = await client.build(tmp_path, text, attributes=pushed, caches=(("inline", {}),), **more)
        assert first.error is None
        await prune(client)
        again = await client.build(tmp_path, "", **imported("registry", ref=f"{registry}/image:1"), **more)
        assert sum("RUN date" in name for name in again.cached) == sum("RUN date" in name for name in first.names)

    do(work)


def test_a_cache_that_is_not_there_is_no_failure(build: Any) -> None:
    done = build("FROM busybox\nRUN true\n", **imported("local", src="nowhere", digest="sha256:" + "0" * 64))
    assert done.error is None
    assert any(vertex.error for vertex in done.status.vertexes)


@pytest.mark.parametrize(
    ("name", "value", "supported"),
    [
        ("compression", "gzip", True),
        ("compression", "zstd", False),
        ("compression-level", "9", False),
        ("force-compression", "true", False),
        ("image-manifest", "true", True),
        ("image-manifest", "false", False),
        ("oci-mediatypes", "0", False),
        ("registry.insecure", "false", True),
    ],
)
def test_the_form_of_a_cache(build: Any, name: str, value: str, supported: bool) -> None:
    done = build("FROM busybox\nRUN true\n", caches=(("local", {"dest": "d", name: value}),))
    words = "" if done.error is None else done.error.message
    assert words == ("" if supported else f"cache exporter local does not support {name}={value}")


async def prune(client: BuildClient) -> None:
    path = "/moby.buildkit.v1.Control/Prune"
    method = UnaryStreamMethod(client.channel, path, control.PruneRequest, control.UsageRecord)
    assert await method(control.PruneRequest(all=True))


def test_nothing_is_loaded_before_it_is_needed(new_daemon: Any) -> None:
    daemon: Daemon = new_daemon()
    daemon.start()
    maps = Path(f"/proc/{daemon.process.pid}/maps").read_text()
    assert "google/_upb" not in maps


@pytest.fixture(scope="module", autouse=True)
def _no_leftovers(engine_host: Daemon) -> Iterator[None]:
    """Builds leave neither mounts nor directories of their own behind."""
    yield
    assert list((engine_host.run_root / "build").glob("*")) == []
    assert str(engine_host.run_root / "build") not in Path("/proc/self/mounts").read_text()


@pytest.mark.parametrize("policy", [None, {"maxUsedSpace": "3m", "all": True, "filter": ["unused-for=0s"]}])
def test_the_cache_is_bounded(new_daemon: Any, busybox_archive: bytes, tmp_path: Path, policy: Any) -> None:
    file = tmp_path / "daemon.json"
    file.write_text(json.dumps({"builder": {"gc": {"policy": [policy]}}}))
    daemon: Daemon = new_daemon(*(["--config-file", str(file)] if policy else ["--build-cache-limit", "3m"]))
    daemon.start()
    daemon.docker("import", "-", "busybox", input=busybox_archive)

    async def work() -> None:
        async with BuildClient.connected(daemon.socket_path) as client:
            for number in range(3):
                text = f"FROM busybox\nRUN head -c 2m /dev/zero > /{number}\n"
                done = await client.build(tmp_path, text, attributes={"name": "kept:1"})
                assert done.error is None
            path = "/moby.buildkit.v1.Control"
            usage = await client.unary(path[1:], "DiskUsage", control.DiskUsageRequest(), control.DiskUsageResponse)
            assert 0 < sum(record.Size for record in usage.record) <= 3 << 20

    asyncio.run(work())


@LOOPBACK
def test_a_stage_whose_files_are_known_is_not_built_again(do: Any, tmp_path: Path, registry: str) -> None:
    """An image brings only its own steps along: that is enough for those that took files from elsewhere."""

    async def work(client: BuildClient) -> None:
        pushed = {"name": f"{registry}/staged:1", "push": "true"}
        await client.build(tmp_path, STAGES)
        first = await client.build(tmp_path, STAGES, attributes=pushed, caches=(("inline", {}),))
        await prune(client)
        again = await client.build(tmp_path, STAGES, **imported("registry", ref=f"{registry}/staged:1"))
        started = {vertex.name for vertex in again.status.vertexes if vertex.HasField("started")}
        assert first.error is None
        assert "[stage-1 3/3] COPY --from=one /one /" in again.cached
        assert "[one 2/2] RUN date +%N > /one" not in started

    do(work)
