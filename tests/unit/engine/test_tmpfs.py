from __future__ import annotations

import pytest

from knarr.engine import tmpfs
from knarr.engine.config import Mount, TmpfsOptions
from knarr.errors import InvalidParameter


@pytest.mark.parametrize(
    ("text", "options"),
    [
        ("", ["noexec", "nosuid", "nodev", "rprivate"]),
        ("size=1m,exec,uid=5", ["nosuid", "nodev", "rprivate", "size=1m", "exec", "uid=5"]),
        ("ro,rw", ["noexec", "nosuid", "nodev", "rprivate", "rw"]),
        ("size=1m,size=2m", ["noexec", "nosuid", "nodev", "rprivate", "size=2m"]),
        ("rshared,defaults", ["noexec", "nosuid", "nodev", "rshared"]),
    ],
)
def test_options(text: str, options: list[str]) -> None:
    assert tmpfs.options(text) == options


@pytest.mark.parametrize("text", ["foo=bar", "foo", "size=", "size=1m x", "bind"])
def test_unknown_options(text: str) -> None:
    with pytest.raises(InvalidParameter, match="invalid tmpfs option"):
        tmpfs.options(text)


@pytest.mark.parametrize(("size", "word"), [(1 << 30, "size=1g"), (3 << 10, "size=3k"), (1001, "size=1001")])
def test_sizes(size: int, word: str) -> None:
    mount = Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(size_bytes=size), read_only=True)
    assert tmpfs.mount_options(mount)[-2:] == [word, "ro"]


def test_a_size_is_not_negative() -> None:
    with pytest.raises(InvalidParameter, match="must not be negative"):
        tmpfs.mount_options(Mount(type="tmpfs", target="/x", tmpfs_options=TmpfsOptions(size_bytes=-5)))
