"""Files in and out of containers, running or not; what has changed in them; images made of them."""

from __future__ import annotations

import asyncio
import io
import os
import re
import tarfile
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest
from engine_bench import EngineBench, unframed

from knarr.engine.config import ContainerConfig, CreateBody, HostConfig
from knarr.errors import Conflict, Forbidden, InvalidParameter, NotFound


def tar(**files: bytes) -> io.BytesIO:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size, info.uid, info.gid = len(data), 5, 6
            archive.addfile(info, io.BytesIO(data))
    buffer.seek(0)
    return buffer


def put(bench: EngineBench, id: str, path: str, archive: io.BytesIO, **options: Any) -> None:
    bench.run(bench.engine.archives.write(id, path, archive, **options))


async def _collect(pieces: Any) -> bytes:
    return b"".join([piece async for piece in pieces])


def get(bench: EngineBench, id: str, path: str) -> dict[str, bytes | None]:
    """The files of what is at a path, by name; None for what has no content."""

    async def read() -> bytes:
        return await _collect((await bench.engine.archives.read(id, path))[1])

    return files_of(bench.run(read()))


def files_of(data: bytes) -> dict[str, bytes | None]:
    with tarfile.open(fileobj=io.BytesIO(data)) as archive:
        return {
            member.name: file.read() if member.isfile() and (file := archive.extractfile(member)) else None
            for member in archive
        }


def export(bench: EngineBench, id: str) -> dict[str, bytes | None]:
    async def read() -> bytes:
        return await _collect(await bench.engine.archives.export(id))

    return files_of(bench.run(read()))


@pytest.fixture(params=["created", "running"])
def container(request: pytest.FixtureRequest, bench: EngineBench) -> str:
    """A container with a named volume at /vol, another one read-only at /ro, and its command asleep if it runs."""
    binds = [f"archives-{request.param}:/vol", f"archives-{request.param}:/ro:ro"]
    id = bench.create("sleep", "1000", host=HostConfig(network_mode="none", binds=binds))
    if request.param == "running":
        bench.run(bench.engine.containers.start(id))
    return id


def test_in_and_out(bench: EngineBench, container: str) -> None:
    put(bench, container, "/tmp", tar(a=b"1", b=b"2"))
    assert get(bench, container, "/tmp") == {"tmp": None, "tmp/a": b"1", "tmp/b": b"2"}
    assert get(bench, container, "/tmp/a") == {"a": b"1"}
    found = bench.run(bench.engine.archives.stat(container, "/tmp/a"))
    assert (found.name, found.size, found.mode, found.link_target) == ("a", 1, 0o644, "")


def test_into_volumes_and_out(bench: EngineBench, container: str) -> None:
    put(bench, container, "/vol", tar(v=b"1"))
    assert get(bench, container, "/ro/v") == {"v": b"1"}
    point = next(point for point in bench.inspect(container)["Mounts"] if point["Destination"] == "/vol")
    assert os.listdir(point["Source"]) == ["v"]
    with pytest.raises(Forbidden, match="mounted volume is marked read-only"):
        put(bench, container, "/ro", tar(v=b"1"))


@pytest.mark.parametrize(
    ("path", "error"),
    [("/none", NotFound), ("/etc/passwd", InvalidParameter), ("/none/x", NotFound), ("", InvalidParameter)],
)
def test_no_places_to_put_things(path: str, error: type[Exception], bench: EngineBench, container: str) -> None:
    with pytest.raises(error):
        put(bench, container, path, tar(a=b"1"))
    if path != "/etc/passwd":
        with pytest.raises(error):
            get(bench, container, path)


def test_a_read_only_root(bench: EngineBench) -> None:
    host = HostConfig(network_mode="none", readonly_rootfs=True, binds=["archives-ro:/vol"], tmpfs={"/tmp": ""})
    id = bench.create("sleep", "1000", host=host)
    for _ in ("created", "running"):
        with pytest.raises(Forbidden, match="container rootfs is marked read-only"):
            put(bench, id, "/root", tar(a=b"1"))
        put(bench, id, "/vol", tar(a=b"1"))
        if not bench.state(id)["Running"]:
            bench.run(bench.engine.containers.start(id))
    put(bench, id, "/tmp", tar(a=b"1"))
    assert unframed(bench.exec(id, "cat", "/tmp/a")[0]) == (b"1", b"")


def test_owners(bench: EngineBench) -> None:
    id = bench.create("sleep", "1000", user="nobody")
    put(bench, id, "/tmp", tar(kept=b""))
    put(bench, id, "/tmp", tar(given=b""), as_user=True)
    bench.run(bench.engine.containers.start(id))
    assert unframed(bench.exec(id, "stat", "-c", "%u:%g", "/tmp/kept", "/tmp/given")[0])[0] == b"5:6\n65534:65534\n"


def test_links_lead_to_where_they_lead_in_the_container(bench: EngineBench, container: str) -> None:
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w") as members:
        for name, target in (
            ("up", "../../../../tmp"),
            ("abs", "/etc/passwd"),
            ("loop", "loop"),
            ("gone", "/no/where"),
        ):
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            members.addfile(info)
    archive.seek(0)
    put(bench, container, "/root", archive)
    stat = bench.engine.archives.stat
    assert bench.run(stat(container, "/root/up")).link_target == "/tmp"
    assert bench.run(stat(container, "/root/gone")).link_target == "/no/where"
    put(bench, container, "/root/up", tar(here=b"1"))
    assert get(bench, container, "/tmp/here") == {"here": b"1"}
    assert list(get(bench, container, "/root/abs")) == ["abs"]
    with pytest.raises(InvalidParameter, match="too many links"):
        bench.run(stat(container, "/root/loop"))


def test_name_files_of_a_running_container_stay_mounted(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000")
    put(bench, id, "/etc", tar(hosts=b"new"))
    assert unframed(bench.exec(id, "cat", "/etc/hosts")[0])[0] == b"new"
    assert b" /etc/hosts " in bench.exec(id, "cat", "/proc/mounts")[0]


def test_no_way_through_proc(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000")
    for path in ("/proc/1/root/", "/proc/1/cwd/", "/proc/self/"):
        with pytest.raises((InvalidParameter, NotFound)):
            get(bench, id, path)


def test_events(bench: EngineBench) -> None:
    id = bench.create("true")
    put(bench, id, "/tmp", tar(a=b"1"))
    get(bench, id, "/tmp/a")
    export(bench, id)
    bench.run(bench.engine.archives.stat(id, "/tmp"))
    assert bench.actions(id) == ["create", "extract-to-dir", "archive-path", "export"]


def test_a_start_waits_for_what_is_copied_in(bench: EngineBench) -> None:
    id = bench.create("cat", "/tmp/late")
    reader, writer = os.pipe()

    async def copy() -> None:
        writing = asyncio.create_task(bench.engine.archives.write(id, "/tmp", os.fdopen(reader, "rb")))
        await asyncio.sleep(0)  # it has the container's lock now
        starting = asyncio.create_task(bench.engine.containers.start(id))
        await asyncio.to_thread(_write_all, writer, tar(late=b"in time").getvalue())
        await writing
        await starting

    bench.run(copy())
    bench.wait(id)
    assert unframed(bench.logs(id, stdout=True))[0] == b"in time\n"


def _write_all(fd: int, data: bytes) -> None:
    with os.fdopen(fd, "wb") as file:
        file.write(data)


def views() -> set[str]:
    """The mounts, by id, that are attached nowhere and of which descriptors are open: what archives are read from."""
    attached = {line.split()[0] for line in Path("/proc/self/mountinfo").read_text().splitlines()}
    found = set()
    for name in os.listdir("/proc/self/fd"):
        with suppress(OSError):  # another thread's, closed meanwhile
            if os.readlink(f"/proc/self/fd/{name}").startswith("/"):
                information = Path(f"/proc/self/fdinfo/{name}").read_text()
                found |= set(re.findall(r"^mnt_id:\t(\d+)$", information, re.MULTILINE))
    return found - attached


def test_a_reader_who_leaves_lets_go(bench: EngineBench) -> None:
    id = bench.create("true", host=HostConfig(network_mode="none", binds=["archives-left:/vol"]))

    async def leave(begin: bool) -> None:
        _, pieces = await bench.engine.archives.read(id, "/")
        if begin:
            await anext(pieces)
        await pieces.aclose()

    before = views()
    for begin in (True, False, True):
        bench.run(leave(begin))
    assert views() <= before
    bench.run(bench.engine.containers.remove(id))


def test_changes(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo 1 >/new; echo >>/etc/passwd; rm /etc/group")
    bench.wait(id)
    assert bench.engine.archives.changes(id) == [(0, "/etc"), (2, "/etc/group"), (0, "/etc/passwd"), (1, "/new")]


def test_an_export_has_the_root_without_its_mounts(bench: EngineBench, container: str) -> None:
    put(bench, container, "/", tar(added=b"1"))
    put(bench, container, "/vol", tar(v=b"1"))
    files = export(bench, container)
    assert files["added"] == b"1"
    assert "vol" in files
    assert "bin/busybox" in files
    assert "vol/v" not in files


def test_on_the_hosts_root(bench: EngineBench) -> None:
    body = CreateBody(image="host", cmd=["sleep", "1000"], host_config=HostConfig(network_mode="none"))
    id, _ = bench.run(bench.engine.containers.create(None, body))
    name = f"knarr-test-{id[:12]}"
    for _ in ("created", "running"):
        put(bench, id, "/root", tar(**{name: b"1"}))
        assert get(bench, id, f"/root/{name}") == {name: b"1"}
        assert not os.path.exists(f"/root/{name}")
        if not bench.state(id)["Running"]:
            bench.run(bench.engine.containers.start(id))
    assert (1, f"/root/{name}") in bench.engine.archives.changes(id)
    with pytest.raises(InvalidParameter, match="no image below it"):
        commit(bench, id)


# Commit


def commit(bench: EngineBench, id: str, **options: Any) -> Any:
    config = options.pop("config", ContainerConfig())
    return bench.images.get(bench.run(bench.engine.commits.commit(id, config, **options)))


def test_a_commit_is_the_image_and_one_layer(bench: EngineBench) -> None:
    id = bench.up("sh", "-c", "echo 1 >/new", env=["A=1"])
    bench.wait(id)
    image = commit(bench, id, repository="made", tag="1", author="me", comment="why")
    below = bench.images.get(image.parent)
    assert image.repo_tags == ["made:1"]
    assert (image.config.author, image.config.comment) == ("me", "why")
    assert (image.config.config.cmd, image.config.config.env) == (["sh", "-c", "echo 1 >/new"], ["A=1"])
    assert image.config.rootfs.diff_ids[:-1] == below.config.rootfs.diff_ids
    assert image.config.history[-1].created_by == "sh -c echo 1 >/new"
    assert bench.images.blob_of(image.config.rootfs.diff_ids[-1]) is not None


def test_a_commit_without_changes_adds_no_layer(bench: EngineBench) -> None:
    image = commit(bench, bench.create("true"), instructions=["ENV X=1", 'CMD ["other"]', "LABEL a=b"])
    assert image.config.rootfs.diff_ids == bench.images.get(image.parent).config.rootfs.diff_ids
    assert image.config.history[-1].empty_layer
    assert (image.config.config.env[-1], image.config.config.cmd) == ("X=1", ["other"])
    assert image.config.config.labels == {"a": "b"}


def test_a_configuration_beats_the_containers(bench: EngineBench) -> None:
    id = bench.create("true", user="7", working_dir="/tmp")
    image = commit(bench, id, config=ContainerConfig(cmd=["x"], user="8"))
    settings = image.config.config
    assert (settings.cmd, settings.user, settings.working_dir) == (["x"], "8", "/tmp")


def test_a_running_container_stands_still_meanwhile(bench: EngineBench) -> None:
    id = bench.up("sleep", "1000")
    commit(bench, id)
    commit(bench, id, pause=False)
    assert bench.actions(id)[-4:] == ["pause", "commit", "unpause", "commit"]
    assert bench.state(id)["Status"] == "running"


def test_bad_commits(bench: EngineBench) -> None:
    id = bench.create("true")
    for options in ({"instructions": ["RUN x"]}, {"repository": "BAD"}, {"repository": "a", "tag": "b c"}):
        with pytest.raises(InvalidParameter):
            commit(bench, id, **options)
    with pytest.raises(Conflict):
        commit(bench, id, repository="host")
    with pytest.raises(NotFound):
        commit(bench, "none")
