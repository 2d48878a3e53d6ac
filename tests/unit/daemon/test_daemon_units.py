"""Option values as texts."""

from __future__ import annotations

import pytest

from knarr.daemon import units


@pytest.mark.parametrize(
    ("text", "size"),
    [("0", 0), ("64m", 64 << 20), ("1.5g", 3 << 29), ("10 KiB", 10240), ("7b", 7), ("2TB", 2 << 40), (5, 5)],
)
def test_sizes_count_in_1024s(text: str | int, size: int) -> None:
    assert units.size(text) == size


@pytest.mark.parametrize("text", ["", "m", "-1", "1x", "1mm", "0x10"])
def test_sizes_that_are_none(text: str) -> None:
    with pytest.raises(ValueError, match="invalid size"):
        units.size(text)


def test_a_hard_limit_left_out_is_the_soft_one() -> None:
    assert units.ulimit("nofile=1024") == ("nofile", {"Name": "nofile", "Soft": 1024, "Hard": 1024})
    assert units.ulimit("nofile=1:-1") == ("nofile", {"Name": "nofile", "Soft": 1, "Hard": -1})


def test_a_pool_needs_base_and_size() -> None:
    assert units.pool("base=10.5.0.0/16,size=24") == {"base": "10.5.0.0/16", "size": 24}
    with pytest.raises(ValueError, match="invalid default address pool"):
        units.pool("base=10.5.0.0/16")


def test_a_value_may_hold_equals_signs() -> None:
    assert units.pair("a=b=c") == ("a", "b=c")
    with pytest.raises(ValueError, match="invalid key/value pair: ="):
        units.pair("=b")
