"""What security modules are told, on hosts with and without them."""

from __future__ import annotations

from pathlib import Path

import pytest

from knarr.compute.native import confinement
from knarr.compute.native.operations import AnyOperation, MaskPath, MountFilesystem
from knarr.compute.spec import Process
from knarr.errors import InvalidParameter
from knarr.kernel import apparmor

LABEL = "system_u:system_r:container_t:s0:c1,c2"


@pytest.fixture
def sys(tmp_path: Path) -> str:
    """The sysfs of a host with AppArmor and SELinux."""
    for name, content in (
        ("module/apparmor/parameters/enabled", "Y\n"),
        ("kernel/security/apparmor/profiles", "docker-default (enforce)\n/usr/bin/man (nested) (complain)\n"),
        ("fs/selinux/enforce", "1"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(content)
    return str(tmp_path)


def test_profiles_of_the_kernel(sys: str) -> None:
    assert apparmor.enabled(sys)
    assert apparmor.profiles(sys) == {"docker-default", "/usr/bin/man (nested)"}


@pytest.mark.parametrize("missing", ["module/apparmor/parameters/enabled", "kernel/security/apparmor/profiles"])
def test_without_its_files_apparmor_is_off(sys: str, missing: str) -> None:
    path = Path(sys, missing)
    path.unlink()
    path.parent.rmdir()
    assert not apparmor.enabled(sys)


def test_apparmor_can_be_switched_off(sys: str) -> None:
    Path(sys, "module/apparmor/parameters/enabled").write_text("N\n")
    assert not apparmor.enabled(sys)


@pytest.mark.parametrize("own", [True, False])
def test_where_apparmor_reads(tmp_path: Path, own: bool) -> None:
    directory = tmp_path / "self/attr/apparmor" if own else tmp_path / "self/attr"
    directory.mkdir(parents=True)
    (directory / "current").write_text("/usr/bin/knarrd (enforce)\n")
    assert apparmor.attributes(str(tmp_path)) == ("attr/apparmor" if own else "attr")
    assert apparmor.own_profile(str(tmp_path)) == "/usr/bin/knarrd"


def test_a_profile_is_for_the_program_and_for_process_1(sys: str) -> None:
    process = Process(args=["x"], apparmor_profile="mine")
    directory = apparmor.attributes()
    assert confinement.for_program(process, sys) == [(f"{directory}/exec", "exec mine")]
    assert confinement.for_init(process, sys) == [(f"{directory}/current", "changeprofile mine")]


def test_a_label_is_for_the_program_and_its_keys(sys: str) -> None:
    process = Process(args=["x"], selinux_label=LABEL)
    assert confinement.for_program(process, sys) == [("attr/keycreate", LABEL), ("attr/exec", LABEL)]
    assert confinement.for_init(process, sys) == []


def test_what_the_host_has_not_got_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InvalidParameter, match="apparmor: config provided but apparmor not supported"):
        confinement.for_program(Process(args=["x"], apparmor_profile="mine"), str(tmp_path))
    with pytest.raises(InvalidParameter, match="selinux label is specified in config, but selinux is disabled"):
        confinement.for_program(Process(args=["x"], selinux_label=LABEL), str(tmp_path))


def test_nothing_is_confined_where_there_is_no_apparmor(tmp_path: Path) -> None:
    assert confinement.for_program(Process(args=["x"], apparmor_profile="unconfined"), str(tmp_path)) == []


def test_new_file_systems_have_the_mount_label(sys: str, tmp_path: Path) -> None:
    def operations() -> list[AnyOperation]:
        return [
            MountFilesystem("proc", "/proc"),
            MountFilesystem("tmpfs", "/dev", options=[("mode", "755")]),
            MountFilesystem("mqueue", "/dev/mqueue"),
            MaskPath("/proc/acpi"),
        ]

    labelled = operations()
    confinement.label_mounts(labelled, LABEL, sys)
    assert labelled == [
        MountFilesystem("proc", "/proc"),
        MountFilesystem("tmpfs", "/dev", options=[("mode", "755"), ("context", LABEL)]),
        MountFilesystem("mqueue", "/dev/mqueue", root_label=LABEL),
        MaskPath("/proc/acpi", LABEL),
    ]
    plain = operations()
    confinement.label_mounts(plain, LABEL, str(tmp_path / "nowhere"))
    assert plain == operations()
