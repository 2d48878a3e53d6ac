from __future__ import annotations

import pytest

from knarr.kernel import capabilities


def test_a_mask_and_back() -> None:
    assert capabilities.mask(["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]) == 1 | 1 << 40
    assert capabilities.names(1 | 1 << 40) == ["CAP_CHOWN", "CAP_CHECKPOINT_RESTORE"]


def test_an_unknown_name_is_an_error() -> None:
    with pytest.raises(KeyError):
        capabilities.mask(["CAP_NOTHING"])


def test_own_sets_are_within_the_kernels() -> None:
    assert capabilities.own_bounding() < 2 << capabilities.last_cap()
    assert capabilities.own_permitted() & ~capabilities.own_bounding() == 0
