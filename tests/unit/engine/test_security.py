from __future__ import annotations

import pytest

from knarr.engine import security
from knarr.errors import InvalidParameter
from knarr.kernel import capabilities

ALL = (1 << 41) - 1


def bounding(add: list[str], drop: list[str], *, privileged: bool = False, own: int = ALL) -> list[str]:
    return security.bounding_set(add, drop, privileged=privileged, own=own)


def test_the_default_is_dockers() -> None:
    assert bounding([], []) == list(security.DEFAULT_CAPABILITIES)
    assert len(security.DEFAULT_CAPABILITIES) == 14


def test_adding_and_dropping() -> None:
    found = bounding(["net_admin", "CAP_CHOWN"], ["cap_chown", "mknod"])
    assert "CAP_NET_ADMIN" in found
    assert "CAP_MKNOD" not in found
    assert found.count("CAP_CHOWN") == 1


def test_all() -> None:
    assert bounding(["ALL"], ["NET_RAW"]) == [name for name in capabilities.NAMES if name != "CAP_NET_RAW"]
    assert bounding(["SYS_TIME"], ["all"]) == ["CAP_SYS_TIME"]
    assert bounding([], ["ALL"]) == []


def test_no_more_than_the_engine_has() -> None:
    without = ALL & ~capabilities.mask(["CAP_SYS_RESOURCE"])
    assert "CAP_SYS_RESOURCE" not in bounding(["ALL"], [], own=without)
    assert len(bounding([], [], privileged=True, own=without)) == 40
    with pytest.raises(InvalidParameter, match="does not have CAP_SYS_RESOURCE itself"):
        bounding(["SYS_RESOURCE"], [], own=without)


def test_unknown_names() -> None:
    with pytest.raises(InvalidParameter, match='invalid CapAdd: unknown capability: "CAP_FOO"'):
        bounding(["foo"], [])
    with pytest.raises(InvalidParameter, match='invalid CapDrop: unknown capability: "CAP_FOO"'):
        bounding([], ["foo"])


def test_a_program_of_another_user_starts_with_nothing() -> None:
    sets = security.sets(["CAP_KILL"], 1000)
    assert (sets.bounding, sets.effective, sets.permitted) == (["CAP_KILL"], [], [])
    assert security.sets(["CAP_KILL"], 0).effective == ["CAP_KILL"]


def test_options() -> None:
    given = ["no-new-privileges", "seccomp=unconfined", "label=disable", "apparmor:unconfined"]
    assert security.parse_options(given) == security.SecurityOptions("unconfined", "unconfined", "", True)
    assert security.parse_options(["no-new-privileges:false"]).no_new_privileges is False
    assert security.parse_options(['seccomp={"a": "b"}']).seccomp == '{"a": "b"}'
    assert security.parse_options(["seccomp=builtin"]).seccomp == ""


@pytest.mark.parametrize(
    ("option", "words"),
    [
        ("foo", 'invalid --security-opt 1: "foo"'),
        ("foo=bar", 'invalid --security-opt 2: "foo=bar"'),
        ("no-new-privileges=maybe", 'invalid --security-opt 2: "no-new-privileges=maybe"'),
    ],
)
def test_wrong_options(option: str, words: str) -> None:
    with pytest.raises(InvalidParameter, match=words):
        security.parse_options([option])


def test_options_of_security_modules() -> None:
    assert security.parse_options(["apparmor=mine", "label=type:x"]) == security.SecurityOptions(
        apparmor="mine", label="type:x"
    )
