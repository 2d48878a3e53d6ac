from __future__ import annotations

from pathlib import Path

import pytest

from knarr.engine import mounts
from knarr.engine.config import (
    BindOptions,
    ContainerConfig,
    HostConfig,
    Mount,
    MountPoint,
    TmpfsOptions,
    VolumeOptions,
    to_wire,
)
from knarr.errors import InvalidParameter, KnarrError, NotFound


def points(config: ContainerConfig | None = None, **host: object) -> list[MountPoint]:
    return mounts.points(config or ContainerConfig(), HostConfig(**host), lambda reference: [])


def test_a_bind_with_a_mode() -> None:
    [point] = points(binds=["/etc//x/:/a/../b:ro,z,rslave"])
    assert to_wire(point) == {
        "Type": "bind",
        "Source": "/etc/x",
        "Destination": "/b",
        "Mode": "ro,z,rslave",
        "RW": False,
        "Propagation": "rslave",
    }


@pytest.mark.parametrize("owner", ["5", "5:6", "5.6", "me"])
def test_a_bind_with_an_owner(owner: str) -> None:
    [point] = points(binds=[f"/a:/b:ro,owner={owner}"])
    assert (point.rw, point.spec.owner, point.mode) == (False, owner, f"ro,owner={owner}")


def test_a_bind_that_belongs_to_who_runs() -> None:
    [point] = points(binds=["/a:/b:idmap"])
    assert point.spec.idmap


@pytest.mark.parametrize("mode", ["owner=", "idmap,owner=5", "owner=5,owner=6"])
def test_owners_that_make_no_sense(mode: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid mode"):
        points(binds=[f"/a:/b:{mode}"])


def test_only_directories_of_the_host_and_volumes_have_owners() -> None:
    with pytest.raises(InvalidParameter, match="field Owner must not be specified"):
        points(mounts=[Mount(type="tmpfs", target="/t", owner="5")])


def test_a_named_volume() -> None:
    [point] = points(binds=["data:/d"])
    assert (point.type, point.name, point.driver, point.mode, point.rw) == ("volume", "data", "local", "z", True)
    [point] = points(binds=["data:/d:ro,nocopy"])
    assert (point.mode, point.rw, point.spec.volume_options) == (
        "ro,nocopy",
        False,
        VolumeOptions(no_copy=True, driver_config=point.spec.volume_options.driver_config),  # type: ignore[union-attr]
    )


def test_anonymous_volumes_get_a_name_of_64_digits() -> None:
    found = points(ContainerConfig(volumes={"/v": {}}), binds=["/w"], mounts=[Mount(type="volume", target="/m")])
    assert [point.destination for point in found] == ["/w", "/m", "/v"]
    assert all(len(point.name) == 64 and not point.spec.source for point in found)
    assert [point.mode for point in found] == ["", "z", ""]


def test_what_the_user_mounts_hides_the_images_volume() -> None:
    config = ContainerConfig(volumes={"/v/": {}, "/t": {}})
    found = points(config, binds=["data:/v"], tmpfs={"/t": ""})
    assert [(point.destination, point.name) for point in found] == [("/v", "data")]


@pytest.mark.parametrize(
    "host",
    [
        {"binds": ["/etc:/x", "/usr:/x/"]},
        {"binds": ["/etc:/x"], "mounts": [Mount(type="tmpfs", target="/x")]},
        {"binds": ["/etc:/x"], "tmpfs": {"/x": ""}},
    ],
)
def test_duplicates(host: dict[str, object]) -> None:
    with pytest.raises(InvalidParameter, match="Duplicate mount point: /x"):
        points(**host)


@pytest.mark.parametrize(
    ("bind", "words"),
    [
        ("", "invalid volume specification: ''"),
        (":/x", "invalid volume specification: ':/x'"),
        ("/a:ro", "invalid volume specification: '/a:ro'"),
        ("/a:/b:c:d", "invalid volume specification: '/a:/b:c:d'"),
        ("/a:/b:foo", "invalid mode: foo"),
        ("/a:/b:ro,rw", "invalid mode: ro,rw"),
        ("/a:/b:z,Z", "invalid mode: z,Z"),
        ("/a:/b:rprivate,rslave", "invalid mode: rprivate,rslave"),
        ("/a:rel", "mount config for type \"bind\": invalid mount path: 'rel' mount path must be absolute"),
        ("/a:/", "invalid specification: destination can't be '/'"),
        ("/a:/x/..", "invalid specification: destination can't be '/'"),
        ("x:/y:rshared", 'mount config for type "volume": field BindOptions must not be specified'),
    ],
)
def test_wrong_binds(bind: str, words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        points(binds=[bind])
    assert words in str(caught.value)


@pytest.mark.parametrize(
    ("mount", "words"),
    [
        (Mount(type="foo", target="/x"), 'invalid mount config for type "foo": mount type unknown'),
        (Mount(type="bind", target="/x", source="/no/pe"), "bind source path does not exist: /no/pe"),
        (Mount(type="bind", target="/x"), "field Source must not be empty"),
        (Mount(type="bind", target="/x", source="rel"), "invalid mount path: 'rel' mount path must be absolute"),
        (Mount(type="bind", source="/etc"), "field Target must not be empty"),
        (
            Mount(type="bind", target="/x", source="/etc", bind_options=BindOptions(propagation="x")),
            "invalid propagation mode: x",
        ),
        (
            Mount(type="bind", target="/x", source="/etc", volume_options=VolumeOptions()),
            "field VolumeOptions must not be specified",
        ),
        (Mount(type="tmpfs", target="/x", source="/y"), "field Source must not be specified"),
        (Mount(type="volume", target="/x", read_only=True), "must not set ReadOnly mode when using anonymous volumes"),
        (
            Mount(type="volume", target="/x", source="v", volume_options=VolumeOptions(subpath="../y")),
            "subpath must be a relative path within the volume",
        ),
        (
            Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(options=[["foo", "bar"]])),
            'invalid tmpfs option ["foo" "bar"]',
        ),
    ],
)
def test_wrong_mounts(mount: Mount, words: str) -> None:
    with pytest.raises(InvalidParameter) as caught:
        points(mounts=[mount])
    assert words in str(caught.value)


def test_a_missing_source_may_be_made_on_request() -> None:
    mount = Mount(type="bind", target="/x", source="/no/pe", bind_options=BindOptions(create_mountpoint=True))
    assert points(mounts=[mount])[0].source == "/no/pe"


def test_volumes_from_another_container() -> None:
    others = {"a": points(binds=["v:/v", "/etc:/e:rslave"]), "b": points(binds=["w:/v"])}
    found = mounts.points(ContainerConfig(), HostConfig(volumes_from=["a:ro", "b"]), others.__getitem__)
    assert [(point.destination, point.name, point.rw, point.mode) for point in found] == [
        ("/v", "w", True, ""),
        ("/e", "", False, ""),
    ]
    with pytest.raises(InvalidParameter, match="invalid mode: foo"):
        mounts.points(ContainerConfig(), HostConfig(volumes_from=["a:foo"]), others.__getitem__)


def test_volumes_from_nobody() -> None:
    def find(reference: str) -> list[MountPoint]:
        raise NotFound(f"No such container: {reference}")

    with pytest.raises(InvalidParameter, match="No such container: nope"):
        mounts.points(ContainerConfig(), HostConfig(volumes_from=["nope"]), find)


@pytest.mark.parametrize("name", ["a b", "rel/path", "/abs", "!bad", ".hidden"])
def test_volume_names(name: str) -> None:
    with pytest.raises(InvalidParameter, match="If you intended to pass a host directory, use absolute path"):
        mounts.check_volume_name(name)


def test_sources_of_binds_are_made(tmp_path: Path) -> None:
    mounts.make_sources(points(binds=[f"{tmp_path}/new/dir:/x"]))
    assert (tmp_path / "new/dir").is_dir()
    (tmp_path / "file").touch()
    mounts.make_sources(points(binds=[f"{tmp_path}/file:/x"]))
    with pytest.raises(KnarrError, match="error while creating mount source path"):
        mounts.make_sources(points(binds=[f"{tmp_path}/file/below:/x"]))


def test_runtime_mounts() -> None:
    flat = BindOptions(non_recursive=True)
    found = points(
        binds=["/etc:/e:ro", "v:/v"],
        mounts=[
            Mount(type="bind", target="/n", source="/usr", read_only=True, bind_options=flat),
            Mount(type="tmpfs", target="/t", tmpfs_options=TmpfsOptions(size_bytes=1 << 20, mode=0o700)),
        ],
    )
    made = mounts.runtime_mounts(found, {"/v": "/s"})
    assert [(each.destination, each.type, each.source, each.options) for each in made] == [
        ("/e", "bind", "/etc", ["rbind", "rro", "rprivate"]),
        ("/v", "bind", "/s", ["rbind", "rprivate"]),
        ("/n", "bind", "/usr", ["bind", "ro", "rprivate"]),
        ("/t", "tmpfs", "tmpfs", ["noexec", "nosuid", "nodev", "rprivate", "mode=700", "size=1m"]),
    ]


def test_records_keep_what_clients_do_not_see() -> None:
    [point] = points(binds=["v:/v:nocopy"])
    assert "spec" not in {key.lower() for key in to_wire(point)}
    assert point.spec.volume_options is not None
    assert point.spec.volume_options.no_copy


def test_an_image_is_read_only() -> None:
    [point] = points(mounts=[Mount(type="image", source="busybox", target="/i")])
    assert (point.type, point.source, point.destination, point.rw) == ("image", "busybox", "/i", False)
    [mount] = mounts.runtime_mounts([point], {"/i": "/where/it/is"})
    assert (mount.source, mount.options) == ("/where/it/is", ["rbind", "rro", "rprivate"])


def test_there_is_nothing_to_copy_to_a_directory_of_the_hosts() -> None:
    words = 'invalid mount config for type "bind": field VolumeOptions must not be specified'
    with pytest.raises(InvalidParameter, match=words):
        points(binds=["/a:/b:nocopy"])
