"""Groups of resctrl, in a directory that looks like it."""

from __future__ import annotations

from pathlib import Path

import pytest

from knarr.compute.spec import IntelRdt
from knarr.errors import InvalidParameter, KnarrError
from knarr.runtime import resctrl


@pytest.fixture
def root(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file system: new groups have their files at once, and go with them."""
    written: dict[str, str] = {}

    def write(path: str, text: str) -> None:
        if not Path(path).parent.is_dir():
            raise FileNotFoundError(2, "No such file or directory", path)
        written[str(Path(path).relative_to(tmp_path))] = text

    for name in ("mon_groups", "info"):
        (tmp_path / name).mkdir()
    monkeypatch.setattr(resctrl.pseudo_files, "write", write)
    monkeypatch.setattr(resctrl, "written", written, raising=False)
    return tmp_path


def written() -> dict[str, str]:
    found: dict[str, str] = resctrl.written  # type: ignore[attr-defined]
    return found


def test_where_it_is_mounted(tmp_path: Path) -> None:
    mountinfo = tmp_path / "mountinfo"
    mountinfo.write_text("24 1 0:21 / /sys rw - sysfs sysfs rw\n40 24 0:35 / /sys/fs/resctrl rw - resctrl resctrl rw\n")
    assert resctrl.find(str(mountinfo)) == "/sys/fs/resctrl"
    mountinfo.write_text("24 1 0:21 / /sys rw - sysfs sysfs rw\n")
    with pytest.raises(InvalidParameter, match="Intel RDT is not enabled"):
        resctrl.find(str(mountinfo))


@pytest.mark.parametrize("name", [".", "..", "a/b"])
def test_names_that_are_none(name: str) -> None:
    with pytest.raises(InvalidParameter, match=r"invalid intelRdt\.ClosID"):
        resctrl.check(IntelRdt(name))
    resctrl.check(IntelRdt("/"))


def test_a_group_of_its_own_goes_with_the_container(root: Path) -> None:
    wanted = IntelRdt(l3_cache_schema="L3:0=f\nMB:0=99", mem_bw_schema="MB:0=50", schemata=["L2:0=3"])
    groups = resctrl.enter(str(root), wanted, "box", 7)
    assert written() == {"box/schemata": "L3:0=f\nMB:0=50\nL2:0=3\n", "box/tasks": "7"}
    resctrl.join(groups, 8)
    assert written()["box/tasks"] == "8"
    resctrl.leave(groups)
    assert not (root / "box").exists()


def test_a_named_group_stays(root: Path) -> None:
    groups = resctrl.enter(str(root), IntelRdt("gold", ["L3:0=f"]), "box", 7)
    assert written() == {"gold/schemata": "L3:0=f\n", "gold/tasks": "7"}
    resctrl.leave(groups)
    assert (root / "gold").is_dir()


def test_without_a_schema_a_named_group_has_to_be_there(root: Path) -> None:
    with pytest.raises(KnarrError, match=r"gold: no such file"):
        resctrl.enter(str(root), IntelRdt("gold"), "box", 7)
    (root / "gold").mkdir()
    resctrl.enter(str(root), IntelRdt("gold"), "box", 7)
    assert written() == {"gold/tasks": "7"}


def test_what_it_uses_is_told_apart(root: Path) -> None:
    groups = resctrl.enter(str(root), IntelRdt("/", enable_monitoring=True), "box", 7)
    assert written() == {"tasks": "7", "mon_groups/box/tasks": "7"}
    resctrl.leave(groups)
    assert list((root / "mon_groups").iterdir()) == []


def test_nothing_is_left_of_what_the_kernel_refuses(root: Path) -> None:
    (root / "info/last_cmd_status").write_text("mask out of range\n")
    with pytest.raises(KnarrError, match="mask out of range"):
        resctrl.enter(str(root), IntelRdt(enable_monitoring=True), "box", 7)  # box/mon_groups is missing
    assert not (root / "box").exists()
