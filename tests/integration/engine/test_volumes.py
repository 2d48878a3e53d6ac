"""Volumes on a real file system: made, filled, mounted, shared, removed."""

from __future__ import annotations

import asyncio
import functools
import os
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import ParamSpec

import pytest

from knarr.database import Database
from knarr.engine import mounts
from knarr.engine.config import (
    ContainerConfig,
    DriverConfig,
    HostConfig,
    Mount,
    MountPoint,
    VolumeCreate,
    VolumeOptions,
)
from knarr.engine.events import EventBus
from knarr.engine.sizes import Sizes
from knarr.engine.volumes import Volumes
from knarr.errors import Conflict, InvalidParameter, KnarrError, NotFound

P = ParamSpec("P")


def in_loop(test: Callable[P, Coroutine[None, None, None]]) -> Callable[P, None]:
    """Run a test in an event loop of its own."""

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        asyncio.run(test(*args, **kwargs))

    return run


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(tmp_path / "state.db")


@pytest.fixture
def volumes(tmp_path: Path, database: Database) -> Volumes:
    return Volumes(tmp_path / "volumes", database, EventBus(), Sizes(database))


@pytest.fixture
def image(tmp_path: Path) -> Callable[[], int]:
    """An opener of a root file system with something in it."""
    root = tmp_path / "root"
    (root / "data/sub").mkdir(parents=True)
    (root / "data/sub/file").write_text("content")
    os.chown(root / "data/sub/file", 5, 6)
    os.chown(root / "data", 7, 8)
    (root / "data").chmod(0o1770)
    os.setxattr(root / "data/sub/file", "user.note", b"kept")
    (root / "outside").symlink_to("/etc")
    (root / "file").touch()
    return lambda: os.open(root, os.O_PATH)


def points(*binds: str, mounted: list[Mount] | None = None, image: list[str] | None = None) -> list[MountPoint]:
    config = ContainerConfig(volumes={path: {} for path in image or []})
    return mounts.points(config, HostConfig(binds=list(binds), mounts=mounted), lambda reference: [])


def with_options(name: str, path: str, **options: str) -> list[MountPoint]:
    given = VolumeOptions(driver_config=DriverConfig(options=options))
    return points(mounted=[Mount(type="volume", source=name, target=path, volume_options=given)])


@in_loop
async def test_a_volume_is_what_was_asked_for(volumes: Volumes, tmp_path: Path) -> None:
    made = await volumes.create(VolumeCreate(name="data", labels={"a": "b"}))
    assert made == volumes.inspect("data")
    assert (made["Name"], made["Driver"], made["Labels"], made["Options"]) == ("data", "local", {"a": "b"}, {})
    assert made["Mountpoint"] == str(tmp_path / "volumes/data/_data")
    assert (tmp_path / "volumes/data/_data").stat().st_mode & 0o777 == 0o755
    assert await volumes.create(VolumeCreate(name="data")) == made


@in_loop
async def test_without_a_name_it_is_anonymous(volumes: Volumes) -> None:
    made = await volumes.create(VolumeCreate())
    assert len(made["Name"]) == 64
    assert made["Labels"] == {"com.docker.volume.anonymous": ""}


@pytest.mark.parametrize(
    ("body", "words"),
    [
        (VolumeCreate(name="a b"), "includes invalid characters for a local volume name"),
        (
            VolumeCreate(name="ab", driver="foo"),
            'create ab: error looking up volume plugin foo: plugin "foo" not found',
        ),
        (VolumeCreate(name="ab", driver_opts={"foo": "x"}), 'create ab: invalid option: "foo"'),
        (VolumeCreate(name="ab", driver_opts={"type": "nfs"}), 'create ab: missing required option: "device"'),
    ],
)
@in_loop
async def test_impossible_volumes(volumes: Volumes, body: VolumeCreate, words: str) -> None:
    with pytest.raises((InvalidParameter, NotFound)) as caught:
        await volumes.create(body)
    assert words in str(caught.value)
    assert volumes.list()["Volumes"] == []


@in_loop
async def test_they_are_there_after_a_restart(volumes: Volumes, tmp_path: Path, database: Database) -> None:
    await volumes.create(VolumeCreate(name="data", labels={"a": "b"}))
    await volumes.prepare("c1", points("data:/x"), lambda: os.open("/", os.O_PATH))
    again = Volumes(tmp_path / "volumes", database, EventBus(), Sizes(database))
    assert again.inspect("data") == volumes.inspect("data")
    with pytest.raises(Conflict, match=r"remove data: volume is in use - \[c1\]"):
        await again.remove("data")
    await again.retain(set())
    await again.remove("data")
    assert os.listdir(tmp_path / "volumes") == []


@in_loop
async def test_a_creation_that_was_cut_short_leaves_nothing(volumes: Volumes, tmp_path: Path) -> None:
    for made in ("a", "b/_data"):
        (tmp_path / "volumes" / made).mkdir(parents=True)
    await volumes.retain(set())
    assert os.listdir(tmp_path / "volumes") == []


@in_loop
async def test_a_removal_cut_short_is_finished(volumes: Volumes, tmp_path: Path) -> None:
    top = Path((await volumes.create(VolumeCreate(name="data")))["Mountpoint"])
    (top / "file").touch()
    top.parent.rename(tmp_path / "volumes/.removed-1234")  # what is done first
    await volumes.retain(set())
    assert volumes.list()["Volumes"] == []
    assert os.listdir(tmp_path / "volumes") == []


@in_loop
async def test_what_was_made_for_a_container_that_never_was_goes(
    volumes: Volumes, tmp_path: Path, database: Database
) -> None:
    await volumes.prepare("c1", points("/x", "named:/y"), lambda: os.open("/", os.O_PATH))
    await volumes.prepare("c2", points("/x"), lambda: os.open("/", os.O_PATH))
    (tmp_path / "volumes/begun/_data").mkdir(parents=True)
    again = Volumes(tmp_path / "volumes", database, EventBus(), Sizes(database))
    await again.retain({"c2"})
    left = [volume["Name"] for volume in again.list()["Volumes"]]
    assert len(left) == 2 and "named" in left
    assert sorted(os.listdir(tmp_path / "volumes")) == sorted(left)


@in_loop
async def test_an_unknown_directory_with_something_in_it_stays(volumes: Volumes, tmp_path: Path) -> None:
    (tmp_path / "volumes/somebodys/_data/precious").mkdir(parents=True)
    await volumes.retain(set())
    assert (tmp_path / "volumes/somebodys/_data/precious").is_dir()


@in_loop
async def test_lists_are_filtered(volumes: Volumes) -> None:
    await volumes.create(VolumeCreate(name="one", labels={"a": "1"}))
    await volumes.create(VolumeCreate(name="two"))
    await volumes.prepare("c1", points("two:/x:nocopy"), lambda: -1)

    def names(filters: str) -> list[str]:
        return [volume["Name"] for volume in volumes.list(filters)["Volumes"]]

    assert names("") == ["one", "two"]
    assert names('{"name": ["wo"]}') == ["two"]
    assert names('{"label": ["a=1"]}') == ["one"]
    assert names('{"dangling": ["true"]}') == ["one"]
    assert names('{"dangling": ["false"]}') == ["two"]
    assert names('{"driver": ["other"]}') == []
    with pytest.raises(InvalidParameter, match="invalid filter 'foo'"):
        volumes.list('{"foo": ["x"]}')


@in_loop
async def test_removing(volumes: Volumes) -> None:
    with pytest.raises(NotFound, match="get nope: no such volume"):
        await volumes.remove("nope")
    await volumes.remove("nope", force=True)
    await volumes.create(VolumeCreate(name="data"))
    await volumes.remove("data")
    with pytest.raises(NotFound):
        volumes.inspect("data")


@in_loop
async def test_pruning_takes_the_anonymous_unless_told(volumes: Volumes) -> None:
    named = await volumes.create(VolumeCreate(name="named"))
    anonymous = await volumes.create(VolumeCreate())
    Path(anonymous["Mountpoint"], "file").write_bytes(b"x" * 100)
    assert await volumes.prune() == {"VolumesDeleted": [anonymous["Name"]], "SpaceReclaimed": 100}
    assert (await volumes.prune('{"all": ["1"], "label!": ["x"]}'))["VolumesDeleted"] == [named["Name"]]
    assert await volumes.prune() == {"VolumesDeleted": [], "SpaceReclaimed": 0}


@in_loop
async def test_a_new_volume_gets_what_the_image_has(volumes: Volumes, image: Callable[[], int]) -> None:
    wanted = points("data:/data")
    await volumes.prepare("c1", wanted, image)
    top = Path(wanted[0].source)
    found = top / "sub/file"
    assert found.read_text() == "content"
    assert (found.stat().st_uid, found.stat().st_gid, os.getxattr(found, "user.note")) == (5, 6, b"kept")
    assert (top.stat().st_uid, top.stat().st_gid, top.stat().st_mode & 0o7777) == (7, 8, 0o1770)


@in_loop
async def test_a_volume_with_content_keeps_it(volumes: Volumes, image: Callable[[], int]) -> None:
    top = Path((await volumes.create(VolumeCreate(name="data")))["Mountpoint"])
    (top / "mine").touch()
    await volumes.prepare("c1", points("data:/data"), image)
    assert os.listdir(top) == ["mine"]


@in_loop
async def test_nocopy_and_nothing_to_copy(volumes: Volumes, image: Callable[[], int]) -> None:
    await volumes.prepare("c1", wanted := points("one:/data:nocopy", "two:/missing"), image)
    assert [os.listdir(point.source) for point in wanted] == [[], []]


@in_loop
async def test_links_in_the_image_stay_in_the_image(volumes: Volumes, image: Callable[[], int]) -> None:
    await volumes.prepare("c1", wanted := points("one:/outside"), image)
    assert os.listdir(wanted[0].source) == []


@in_loop
async def test_a_file_in_the_volumes_place_undoes_all(
    volumes: Volumes, image: Callable[[], int], tmp_path: Path
) -> None:
    with pytest.raises(InvalidParameter, match="cannot mount volume over existing file, file exists /file"):
        await volumes.prepare("c1", points("data:/file"), image)
    assert volumes.list()["Volumes"] == []
    assert os.listdir(tmp_path / "volumes") == []


@in_loop
async def test_anonymous_volumes_go_with_their_container(volumes: Volumes, image: Callable[[], int]) -> None:
    wanted = points("named:/n", image=["/data", "/other"])
    await volumes.prepare("c1", wanted, image)
    await volumes.prepare("c2", wanted[1:2], image)
    await volumes.release("c1", wanted, remove_anonymous=True)
    left = {volume["Name"] for volume in volumes.list()["Volumes"]}
    assert left == {"named", wanted[1].name}
    await volumes.release("c2", wanted[1:2], remove_anonymous=False)
    assert wanted[1].name in {volume["Name"] for volume in volumes.list()["Volumes"]}


@in_loop
async def test_a_mounted_volume_is_there_while_somebody_runs_with_it(
    volumes: Volumes, image: Callable[[], int]
) -> None:
    wanted = with_options("ram", "/r", type="tmpfs", device="tmpfs", o="size=1m,mode=700,nosuid")
    await volumes.prepare("c1", wanted, image)
    await volumes.prepare("c2", wanted, image)
    top = Path(wanted[0].source)
    assert not top.is_mount()
    assert await volumes.acquire("c1", wanted) == {"/r": str(top)}
    await volumes.acquire("c2", wanted)
    assert top.is_mount()
    assert top.stat().st_mode & 0o777 == 0o700
    await volumes.release("c1", wanted)
    assert top.is_mount()
    await volumes.release("c2", wanted)
    assert not top.is_mount()
    await volumes.release("c1", wanted, remove_anonymous=True)
    await volumes.release("c2", wanted, remove_anonymous=True)
    await volumes.remove("ram")


@in_loop
async def test_after_a_restart_only_what_is_in_use_stays_mounted(
    volumes: Volumes, tmp_path: Path, database: Database, image: Callable[[], int]
) -> None:
    wanted = with_options("ram", "/r", type="tmpfs", device="tmpfs")
    await volumes.prepare("c1", wanted, image)
    await volumes.acquire("c1", wanted)
    again = Volumes(tmp_path / "volumes", database, EventBus(), Sizes(database))
    again.resume("c1", wanted)
    await again.retain({"c1"})
    assert Path(wanted[0].source).is_mount()
    ended = Volumes(tmp_path / "volumes", database, EventBus(), Sizes(database))
    await ended.retain({"c1"})
    assert not Path(wanted[0].source).is_mount()


@in_loop
async def test_an_impossible_mount_says_why(volumes: Volumes, image: Callable[[], int]) -> None:
    wanted = with_options("bad", "/r", type="nosuchfs", device="x")
    with pytest.raises(KnarrError, match=r"error while mounting volume .* no such device"):
        await volumes.prepare("c1", wanted, image)


@in_loop
async def test_a_subpath_is_opened_inside_the_volume(volumes: Volumes, image: Callable[[], int]) -> None:
    def at(subpath: str) -> list[MountPoint]:
        options = VolumeOptions(subpath=subpath)
        return points(mounted=[Mount(type="volume", source="data", target="/data", volume_options=options)])

    await volumes.prepare("c1", at("sub"), image)
    sources = await volumes.acquire("c1", at("sub"))
    assert os.listdir(sources["/data"]) == ["file"]
    await volumes.release("c1", at("sub"))
    assert not os.path.exists(sources["/data"])
    os.symlink("/etc", Path(volumes.inspect("data")["Mountpoint"], "link"))
    with pytest.raises(InvalidParameter, match=r"cannot access path .*/link: no such file or directory"):
        await volumes.acquire("c1", at("link"))
    with pytest.raises(InvalidParameter, match=r"cannot access path .*/none: no such file or directory"):
        await volumes.acquire("c1", at("none"))


@in_loop
async def test_usage(volumes: Volumes, image: Callable[[], int]) -> None:
    await volumes.prepare("c1", points("data:/data"), image)
    assert (await volumes.usage())[0]["UsageData"] == {"Size": 7, "RefCount": 1}


@in_loop
async def test_a_bind_on_the_same_file_system_is_undone(volumes: Volumes, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "file").write_text("the user's")
    options = {"type": "none", "o": "bind", "device": str(source)}
    point = MountPoint(type="volume", name="bound", destination="/d", spec=Mount(type="volume", source="bound"))
    await volumes.create(VolumeCreate(name="bound", driver_opts=options))
    for _ in range(2):
        await volumes.acquire("c", [point])
    await volumes.release("c", [point], remove_anonymous=False)
    assert str(tmp_path / "volumes") not in Path("/proc/self/mountinfo").read_text()
    await volumes.remove("bound")
    assert (source / "file").read_text() == "the user's"
