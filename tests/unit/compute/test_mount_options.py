"""Mount options of the runtime spec."""

from __future__ import annotations

import pytest

from knarr.compute.native.mount_options import known, plan_mount
from knarr.compute.native.operations import BindMount, MountFilesystem, Remount
from knarr.compute.spec import IdMapping, Linux, Mount
from knarr.errors import InvalidParameter
from knarr.kernel import mounts


def filesystem(*options: str) -> MountFilesystem:
    (operation,) = plan_mount(Mount("/x", "tmpfs", "tmpfs", list(options)))
    assert isinstance(operation, MountFilesystem)
    return operation


def bind(*options: str) -> BindMount:
    (operation,) = plan_mount(Mount("/x", "bind", "/y", list(options)))
    assert isinstance(operation, BindMount)
    return operation


def test_attributes_and_data_of_a_filesystem() -> None:
    operation = filesystem("nosuid", "noexec", "exec", "size=1k", "sync")
    assert operation.attributes == mounts.MOUNT_ATTR_NOSUID
    assert operation.options == [("size", "1k"), ("sync", None)]


def test_a_bind_is_private_unless_told() -> None:
    assert (bind("rbind").propagation, bind("rbind").recursive_propagation) == (mounts.MS_PRIVATE, True)
    assert (bind("bind", "slave").propagation, bind("bind", "slave").recursive_propagation) == (mounts.MS_SLAVE, False)
    assert (bind("rbind", "rshared").propagation, bind("rbind", "rshared").recursive) == (mounts.MS_SHARED, True)


def test_recursive_attributes() -> None:
    assert bind("rbind", "ro").recursive_attributes is False
    assert bind("rbind", "rro").recursive_attributes is True
    assert bind("rbind", "rro").set == mounts.MOUNT_ATTR_RDONLY


def test_the_last_word_counts() -> None:
    assert (bind("ro", "rw").set, bind("ro", "rw").clear) == (0, mounts.MOUNT_ATTR_RDONLY)


def test_access_times_clear_what_they_replace() -> None:
    assert bind("noatime").clear & mounts.MOUNT_ATTR__ATIME == mounts.MOUNT_ATTR__ATIME


@pytest.mark.parametrize(
    "mount",
    [
        Mount("relative", "tmpfs", "tmpfs"),
        Mount("/x", None, "y"),
        Mount("/x", "bind", None),
        Mount("/x", "bind", "/y", ["tmpcopyup"]),
    ],
)
def test_wrong_mounts_are_refused(mount: Mount) -> None:
    with pytest.raises(InvalidParameter):
        plan_mount(mount)


def test_an_id_mapped_bind() -> None:
    mapping = [IdMapping(0, 1000, 1), IdMapping(5, 6, 7)]
    (operation,) = plan_mount(Mount("/x", "bind", "/y", ["rbind", "ridmap"], mapping, mapping))
    assert isinstance(operation, BindMount)
    assert (operation.uid_map, operation.recursive_map) == ("0 1000 1\n5 6 7\n", True)


def test_a_bind_can_be_mapped_like_its_system() -> None:
    linux = Linux(uid_mappings=[IdMapping(0, 1000, 1)], gid_mappings=[IdMapping(0, 2000, 1)])
    (operation,) = plan_mount(Mount("/x", "bind", "/y", ["bind", "idmap"]), linux)
    assert isinstance(operation, BindMount)
    assert (operation.uid_map, operation.gid_map) == ("0 1000 1\n", "0 2000 1\n")
    (operation,) = plan_mount(Mount("/x", "bind", "/y", ["bind"]), linux)
    assert isinstance(operation, BindMount) and not operation.uid_map


def test_an_id_mapped_bind_needs_mappings() -> None:
    with pytest.raises(InvalidParameter, match="uidMappings"):
        plan_mount(Mount("/x", "bind", "/y", ["bind", "idmap"]))


def test_a_remount_changes_the_mount_alone_if_it_is_a_bind() -> None:
    assert plan_mount(Mount("/x", "tmpfs", "y", ["remount", "ro", "size=1k"])) == [
        Remount("/x", mounts.MOUNT_ATTR_RDONLY, options=[("size", "1k")])
    ]
    assert plan_mount(Mount("/x", None, "y", ["bind", "remount", "rw", "size=1k"])) == [
        Remount("/x", clear=mounts.MOUNT_ATTR_RDONLY)
    ]


def test_what_is_known_is_not_passed_on_to_the_file_system() -> None:
    of_file_systems, of_binds = {"sync", "dirsync", "lazytime", "mand"}, {"bind", "rbind", "idmap", "ridmap"}
    for option in {*known()} - of_file_systems - of_binds:
        (operation,) = plan_mount(Mount("/x", "tmpfs", "x", [option]))
        assert getattr(operation, "options", None) == [], option
