from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from knarr.compute.spec import IdMapping
from knarr.engine.id_mapping import EVERYBODY, handed_over, host_id

SPACE = [IdMapping(0, 100_000, 65_536)]
IDS = st.integers(0, 70_000)


def test_the_owners_files_are_somebody_elses() -> None:
    assert handed_over(EVERYBODY, 1000, 0) == [
        IdMapping(1000, 0, 1),
        IdMapping(1, 1, 999),
        IdMapping(1001, 1001, 2**32 - 1002),
    ]


def test_in_a_user_namespace() -> None:
    assert handed_over(SPACE, 0, 5) == [
        IdMapping(0, 100_005, 1),
        IdMapping(1, 100_001, 4),
        IdMapping(6, 100_006, 65_530),
    ]


@given(owner=IDS, inside=st.integers(0, 65_535))
def test_no_two_owners_become_one(owner: int, inside: int) -> None:
    taken = sorted((extent.host_id, extent.host_id + extent.size) for extent in handed_over(SPACE, owner, inside))
    assert all(end <= first for (_, end), (first, _) in itertools.pairwise(taken))
    assert host_id(handed_over(SPACE, owner, inside), owner) == 100_000 + inside


def test_an_id_beyond_the_range() -> None:
    with pytest.raises(KeyError):
        host_id(SPACE, 65_536)
